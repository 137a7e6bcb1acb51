"""SkyPilot's way: the cheapest site by price × time, chosen at submission, whoever is there.

Its optimizer takes the argmin of cost over the places that can run a task, without looking at
what is free there (Yang et al., SkyPilot: An Intercloud Broker for Sky Computing, NSDI 2023, §4).
Where a cloud would say "no capacity" our clusters have a queue: the job waits at that site for
the first of its pools with room, the cheaper first.
"""

from scheduler.domain.remaining import run_s
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay.fleet import Option
from scheduler.replay.placers.base import Decision
from scheduler.replay.placers.room import Options, Room, tightest


class SkyPilot:
    """Remembers the pools of the chosen site for each job until it starts there."""

    interrupts = False

    def __init__(self, options: Options) -> None:
        self._options = options
        self._chosen: dict[str, tuple[Option, ...]] = {}
        self._same: dict[tuple[Option, ...], tuple[Option, ...]] = {}

    def place(self, snapshot: Snapshot) -> Decision:
        room, placements = Room(self._options, snapshot), []
        for job in room.ready():
            if job.id not in self._chosen:
                self._chosen[job.id] = self._choose(job, snapshot)
            start = next(room.starts(job, self._chosen[job.id]), None)
            if start is not None:
                rows = tightest(start, job.spec.workers, room.free)
                placements.append(room.take(job, start, rows))
                del self._chosen[job.id]
        return Decision(placements=tuple(placements))

    def _choose(self, job: PendingJob, snapshot: Snapshot) -> tuple[Option, ...]:
        """The pools of the site where the run would cost least, were it to start at once."""
        now_s = snapshot.now_at.timestamp()

        def yuan(option: Option) -> float:
            takes_s = option.stage_s + run_s(job.spec, job.done_s, option.speed)
            curve = self._options.fleet.curves[option.pool.cluster].yuan
            return option.pool.it_kw(job.spec) * curve.integral(now_s, now_s + takes_s)

        cheapest_first = sorted(self._options.of(job), key=yuan)
        pools = tuple(
            option
            for option in cheapest_first
            if option.pool.cluster == cheapest_first[0].pool.cluster
        )
        return self._same.setdefault(pools, pools)
