"""Sources of what an agent reports, each a small class behind one interface."""
