"""Philly-derived jobs with measured speeds on five western hubs: policies side by side."""
