"""Benchmarks: each prints a table and writes `results/NAME.json`."""
