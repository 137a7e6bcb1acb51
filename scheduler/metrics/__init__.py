"""Figures for Prometheus: what is known anyway, told when somebody asks for it."""
