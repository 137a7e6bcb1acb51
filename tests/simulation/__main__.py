"""Replays one seed and tells what happened: ``python -m tests.simulation SEED``."""

import sys

from tests.simulation.world import simulate


def main() -> int:
    """Prints the log, the faults, and what the checkers found; 1 if they found anything."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        print("usage: python -m tests.simulation SEED", file=sys.stderr)
        return 2
    story = simulate(int(sys.argv[1]), say=print)
    print("\nfaults:", *story.faults, sep="\n  ")
    print("\nlives:", *story.lives, sep="\n  ")
    print("\nends:", *story.ends.items(), sep="\n  ")
    print("\nviolations:", *(story.violations or ["none"]), sep="\n  ")
    return 1 if story.violations else 0


if __name__ == "__main__":
    sys.exit(main())
