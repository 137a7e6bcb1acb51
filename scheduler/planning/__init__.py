"""The planning loop and what it decides: when a round is due, over which jobs, and what is told."""
