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


@dataclass(slots=True, eq=False)
class Group:
    """Jobs that are planned apart from ``due_s`` of the monotonic clock on, ``pause_s`` after the
    round that failed with them. ``alone``: its one job has failed by itself."""

    job_ids: dict[str, None]
    due_s: float
    pause_s: float
    alone: bool


class Suspects:
    """The jobs of rounds that failed, by group; all others are above suspicion."""

    def __init__(self) -> None:
        self._groups: list[Group] = []
        self._group_of: dict[str, Group] = {}
        self._chosen: Group | None = None

    @property
    def due_s(self) -> float:
        """When the next group is to be planned, on the monotonic clock; infinite if none is."""
        return min((group.due_s for group in self._groups), default=float("inf"))

    @property
    def suspected(self) -> frozenset[str]:
        """All jobs that are planned apart."""
        return frozenset(self._group_of)

    @property
    def apart(self) -> bool:
        """Whether the chosen jobs are suspected, and planned apart from all others."""
        return self._chosen is not None

    def choose(self, waiting: int, now_s: float) -> tuple[str, ...] | None:
        """The jobs that the next round plans apart; None for all that are above suspicion. Groups
        that are due and the others take turns.

        Args:
            waiting: how many jobs are pending, the suspected among them.
        """
        due = [group for group in self._groups if group.due_s <= now_s]
        groups_turn = self._chosen is None or waiting == len(self._group_of)
        self._chosen = min(due, key=lambda group: group.due_s) if due and groups_turn else None
        return tuple(self._chosen.job_ids) if self._chosen else None

    def passed(self) -> bool:
        """The round of the chosen jobs came to its end; returns whether that clears all others."""
        if self._chosen is None:
            return False
        self._release(self._chosen)
        if not self._chosen.alone:
            return False
        # It had failed by itself and does no longer: the fault was not the jobs'.
        self._groups.clear()
        self._group_of.clear()
        return True

    def failed(self, planned: Sequence[str], now_s: float) -> float:
        """The round of the chosen jobs failed; returns in how many seconds they come again."""
        before_s = 0.0
        if self._chosen is not None:
            self._release(self._chosen)
            before_s = self._chosen.pause_s
        pause_s = min(max(PAUSE_FIRST_S, before_s * PAUSE_GROWTH), PAUSE_MOST_S)
        middle = len(planned) // 2
        for half in (planned[:middle], planned[middle:]):
            if half:
                alone = len(planned) == 1
                group = Group(dict.fromkeys(half), now_s + pause_s, pause_s, alone)
                self._groups.append(group)
                self._group_of |= dict.fromkeys(half, group)
        return pause_s

    def forget(self, job_id: str) -> None:
        """The job no longer waits."""
        group = self._group_of.pop(job_id, None)
        if group is not None:
            del group.job_ids[job_id]
            if not group.job_ids:
                self._groups.remove(group)

    def _release(self, group: Group) -> None:
        """Its jobs are under suspicion no longer, or come under another; it may have gone."""
        if group in self._groups:
            self._groups.remove(group)
        for job_id in group.job_ids:
            self._group_of.pop(job_id, None)
