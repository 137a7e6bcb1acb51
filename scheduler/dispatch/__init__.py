"""What each cluster should run, for how long it may, and what became of it."""
