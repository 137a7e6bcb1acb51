"""Which verdicts on pending jobs say something new.

Figures drift with every round, so only what a reader would call another answer is told again, and
stored again: another outcome, another reason, another planned start.
"""

from scheduler.domain.explanation import Outcome
from scheduler.domain.reason import ReasonCode
from scheduler.planner.plan import Verdict
from scheduler.planner.snapshot import PlannedStart

Gist = tuple[Outcome, ReasonCode, PlannedStart | None]


class Told:
    """The gist of what has been told of each pending job."""

    def __init__(self) -> None:
        self._gists: dict[str, Gist] = {}

    def is_news(self, verdict: Verdict, start: PlannedStart | None) -> bool:
        """Whether it says something else than what was told of the job; it counts as told."""
        gist = (verdict.outcome, verdict.code, start)
        if self._gists.get(verdict.job_id) == gist:
            return False
        self._gists[verdict.job_id] = gist
        return True

    def code(self, job_id: str) -> ReasonCode | None:
        """Why a job waits, as it was told; None if nothing was."""
        known = self._gists.get(job_id)
        return known[1] if known else None

    def forget(self, job_id: str) -> None:
        """Drops a job that waits no longer, or that has to be told anew."""
        self._gists.pop(job_id, None)
