"""How far a plan stays with what the round before had planned for later."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PlannedStart


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of the starts that the round before had planned and whose time had not passed,
    ``ahead`` in number, of jobs that still wait: ``moved`` start later at another time or place, or
    not at all any more; ``at_once`` need not wait for it and start now; the rest stands."""

    ahead: int
    moved: int
    at_once: int

    @property
    def moved_share(self) -> float:
        """The part of them that was moved, 0 to 1; 0 of none."""
        return self.moved / self.ahead if self.ahead else 0.0


def changed(
    previous: Mapping[str, PlannedStart], now_at: datetime, placements: Iterable[Placement]
) -> Changed:
    """Compares a plan with the one before.

    Args:
        previous: by job, what the round before had planned for the jobs of this one.
    """
    ahead = {job_id for job_id, start in previous.items() if start.start_at >= now_at}
    moved, at_once = set(ahead), 0
    for placement in placements:
        if placement.job_id not in ahead:
            continue
        start = PlannedStart(placement.cluster, placement.accelerator, placement.start_at)
        if start == previous[placement.job_id]:
            moved.discard(placement.job_id)
        elif placement.nodes:  # only what starts at the time of the snapshot has any
            moved.discard(placement.job_id)
            at_once += 1
    return Changed(len(ahead), len(moved), at_once)
