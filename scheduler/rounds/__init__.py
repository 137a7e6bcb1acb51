"""Rounds in files: all that one was planned from, and what came of it, to plan it again."""
