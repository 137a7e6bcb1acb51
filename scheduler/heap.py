"""How often Python looks for garbage that refers to itself."""

import gc

# New objects until the youngest are looked at, and rounds of the younger until the older are.
THRESHOLDS = (20_000, 20, 20)


def collect_rarely() -> None:
    """For processes in which thousands of jobs live: every round makes ten thousands of objects
    that stay, which at Python's own thresholds have the whole heap searched time and again."""
    gc.set_threshold(*THRESHOLDS)
