"""What a placer is: the only thing in which the replayed policies differ."""

from dataclasses import dataclass
from typing import Protocol

from scheduler.planner.plan import Interruption, Placement
from scheduler.planner.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A placer's answer to a snapshot. ``gap`` is the certified one, None without a proof."""

    placements: tuple[Placement, ...]
    interruptions: tuple[Interruption, ...] = ()
    gap: float | None = None


class Placer(Protocol):
    """Says what starts now and what later. It may remember what it saw, so each replay has its
    own; the same snapshots in the same order give the same decisions."""

    # Whether it may stop what runs: then it is asked once per slot even when nothing waits.
    interrupts: bool

    def place(self, snapshot: Snapshot) -> Decision: ...
