"""Which pending jobs a round plans, so that none that breaks the planner holds up the others.

The jobs of a round that failed are planned again in halves, each in a round of its own after a
growing pause, and so on down to single jobs. A half that passes is above suspicion again; a job
that fails all by itself is tried again ever more rarely. In between, all others are planned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PAUSE_FIRST_S = 0.1
PAUSE_MOST_S = 3600.0
PAUSE_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that are planned apart from ``due_s`` of the monotonic clock on, ``pause_s`` after the
    round that failed with them. ``alone``: its one job has failed by itself."""

    job_ids: tuple[str, ...]
    due_s: float
    pause_s: float
    alone: bool


class Suspects:
    """The jobs of rounds that failed, by group; all others are above suspicion."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._chosen: Group | None = None

    @property
    def due_s(self) -> float:
        """When the next group is to be planned, on the monotonic clock; infinite if none is."""
        return min((group.due_s for group in self._groups), default=float("inf"))

    @property
    def apart(self) -> bool:
        """Whether the chosen jobs are suspected, and planned apart from all others."""
        return self._chosen is not None

    def choose(self, job_ids: Sequence[str], now_s: float) -> list[str]:
        """The jobs of the next round, of all that are pending: groups that are due and all that
        are above suspicion take turns."""
        self._keep(frozenset(job_ids))
        suspected = {job_id for group in self._groups for job_id in group.job_ids}
        sound = [job_id for job_id in job_ids if job_id not in suspected]
        due = [group for group in self._groups if group.due_s <= now_s]
        groups_turn = self._chosen is None or not sound
        self._chosen = min(due, key=lambda group: group.due_s) if due and groups_turn else None
        return list(self._chosen.job_ids) if self._chosen else sound

    def passed(self) -> bool:
        """The round of the chosen jobs came to its end; returns whether that clears all others."""
        if self._chosen is None:
            return False
        self._groups.remove(self._chosen)
        if not self._chosen.alone:
            return False
        # It had failed by itself and does no longer: the fault was not the jobs'.
        self._groups.clear()
        return True

    def failed(self, planned: Sequence[str], now_s: float) -> float:
        """The round of the chosen jobs failed; returns in how many seconds they come again."""
        before_s = 0.0
        if self._chosen is not None:
            self._groups.remove(self._chosen)
            before_s = self._chosen.pause_s
        pause_s = min(max(PAUSE_FIRST_S, before_s * PAUSE_GROWTH), PAUSE_MOST_S)
        middle = len(planned) // 2
        for half in (planned[:middle], planned[middle:]):
            if half:
                alone = len(planned) == 1
                self._groups.append(Group(tuple(half), now_s + pause_s, pause_s, alone))
        return pause_s

    def _keep(self, pending: frozenset[str]) -> None:
        """Drops the jobs that no longer wait."""
        kept = []
        for group in self._groups:
            job_ids = tuple(job_id for job_id in group.job_ids if job_id in pending)
            if job_ids:
                kept.append(Group(job_ids, group.due_s, group.pause_s, group.alone))
        self._groups = kept
