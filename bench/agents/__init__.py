"""How many agents one scheduler carries, and what one agent costs its host."""
