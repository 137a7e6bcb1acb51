"""Turns the messages of the wire into what people read: pure, no I/O, no clock."""
