"""One small file per rule: its hard constraint, its cost, its explanation."""
