"""Readers of job traces, one file per form; each answers ``Trace``."""
