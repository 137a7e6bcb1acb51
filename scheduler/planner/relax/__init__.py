"""What would give a waiting job a place: the smallest change of one wish of it, or of two."""
