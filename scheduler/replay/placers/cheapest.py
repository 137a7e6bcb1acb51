"""Where power is cheapest and there is room now; nothing ever waits for a better hour."""

from collections.abc import Callable

from scheduler.planner.snapshot import Snapshot
from scheduler.replay.placers.base import Decision
from scheduler.replay.placers.room import Options, Room, Start, tightest

Rating = Callable[[Room, Start], float]


class Cheapest:
    """Every job, the oldest first, at the site with the lowest rating that has room now; in that
    site's fastest pool."""

    interrupts = False

    def __init__(self, options: Options, rating: Rating) -> None:
        self._options = options
        self._rating = rating

    def place(self, snapshot: Snapshot) -> Decision:
        room, placements = Room(self._options, snapshot), []
        for job in room.ready():
            starts = list(room.starts(job))
            if starts:
                best = min(starts, key=lambda start: (self._rating(room, start), start.run_s))
                rows = tightest(best, job.spec.workers, room.free)
                placements.append(room.take(job, best, rows))
        return Decision(placements=tuple(placements))


def price_now(room: Room, start: Start) -> float:
    """Yuan per kWh at this moment."""
    return room.price(start.option.pool.cluster)


def price_over_the_run(room: Room, start: Start) -> float:
    """Mean yuan per kWh from now to the run's expected end."""
    return room.window_yuan(start)
