"""First come, first fit: every job, the oldest first, in the first cluster that has room now."""

from scheduler.planner.snapshot import Snapshot
from scheduler.replay.placers.base import Decision
from scheduler.replay.placers.room import Options, Room, in_order


class Fifo:
    """A job that fits nowhere does not hold up those behind it."""

    interrupts = False

    def __init__(self, options: Options) -> None:
        self._options = options

    def place(self, snapshot: Snapshot) -> Decision:
        room, placements = Room(self._options, snapshot), []
        for job in room.ready():
            start = next(room.starts(job), None)
            if start is not None:
                rows = in_order(start, job.spec.workers)
                placements.append(room.take(job, start, rows))
        return Decision(placements=tuple(placements))
