"""Runs attempts on a cluster."""
