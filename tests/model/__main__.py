"""Explores with bounds of your own: ``python -m tests.model --faults 2 --wishes 2``."""

import argparse
import sys
import time

from scheduler.domain.job import OnUnreachable
from tests.model.explorer import Bounds, explore


def main() -> int:
    """Prints the progress, the figures, and the path to what was found; 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    least = Bounds()
    for name in ("attempts", "messages", "faults", "wishes", "drifts_s", "forces"):
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, dest=name, type=int, default=getattr(least, name))
    parser.add_argument("--wait", action="store_true", help="the job asks to wait for its cluster")
    given = vars(parser.parse_args())
    waits = OnUnreachable.WAIT if given.pop("wait") else OnUnreachable.RETRY
    began_s = time.process_time()
    found = explore(Bounds(**given, on_unreachable=waits), say=print)
    took_s = time.process_time() - began_s
    print(f"{found.states:,} states, {found.transitions:,} transitions, {took_s:.1f} s")
    if found.violation is not None:
        print(f"\n{found.violation}; the shortest way there:", *found.path, sep="\n  ")
    return 0 if found.violation is None else 1


if __name__ == "__main__":
    sys.exit(main())
