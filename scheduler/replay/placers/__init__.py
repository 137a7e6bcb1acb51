"""The policies that a replay compares, by name."""

from collections.abc import Callable, Mapping

from scheduler.replay.case import CaseError
from scheduler.replay.fleet import Fleet
from scheduler.replay.placers.base import Decision, Placer
from scheduler.replay.placers.cheapest import Cheapest, price_now, price_over_the_run
from scheduler.replay.placers.fifo import Fifo
from scheduler.replay.placers.kube import Kube
from scheduler.replay.placers.room import Options
from scheduler.replay.placers.skypilot import SkyPilot
from scheduler.replay.placers.westward import Westward

__all__ = ["PLACERS", "Decision", "Placer", "placer_of"]

PLACERS: dict[str, Callable[[Fleet], Placer]] = {
    "westward": lambda _: Westward(),
    "fifo": lambda fleet: Fifo(Options(fleet)),
    "least-allocated": lambda fleet: Kube(Options(fleet), most=False),
    "most-allocated": lambda fleet: Kube(Options(fleet), most=True),
    "cheapest-now": lambda fleet: Cheapest(Options(fleet), price_now),
    "cheapest-window": lambda fleet: Cheapest(Options(fleet), price_over_the_run),
    "skypilot": lambda fleet: SkyPilot(Options(fleet)),
}


def placer_of(
    name: str, fleet: Fleet, placers: Mapping[str, Callable[[Fleet], Placer]] = PLACERS
) -> Placer:
    """A fresh placer of a name.

    Raises:
        CaseError: there is none of that name.
    """
    if name not in placers:
        raise CaseError(f"policy {name!r} is not known; choose from {', '.join(placers)}")
    return placers[name](fleet)
