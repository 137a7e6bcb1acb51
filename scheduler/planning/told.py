"""Which explanations of pending jobs say something new.

Figures drift with every round, so only what a reader would call another answer is told again, and
stored again.
"""

from scheduler.domain.explanation import Explanation
from scheduler.domain.reason import ReasonCode

# Outcome, reason, and of each candidate: whether it is chosen, when it would start, and why.
Gist = tuple[object, ...]


class Told:
    """The gist of what has been told of each pending job."""

    def __init__(self) -> None:
        self._gists: dict[str, tuple[ReasonCode, Gist]] = {}
        # Most jobs are told one of a few things.
        self._alike: dict[Gist, Gist] = {}
        # Alike jobs of a round share their candidates.
        self._candidates: dict[int, Gist] = {}

    def begin(self) -> None:
        """A round's explanations follow; those of the round before need live no longer."""
        self._alike.clear()
        self._candidates.clear()

    def is_news(self, explanation: Explanation) -> bool:
        """Whether it says something else than what was told of the job; it counts as told."""
        gist = self._gist(explanation)
        before = self._gists.get(explanation.job_id)
        if before is not None and before[1] == gist:
            return False
        self._gists[explanation.job_id] = (explanation.reason.code, gist)
        return True

    def code(self, job_id: str) -> ReasonCode | None:
        """Why a job waits, as it was told; None if nothing was."""
        known = self._gists.get(job_id)
        return known[0] if known else None

    def forget(self, job_id: str) -> None:
        """Drops a job that waits no longer, or that has to be told anew."""
        self._gists.pop(job_id, None)

    def _gist(self, explanation: Explanation) -> Gist:
        candidates = self._candidates.get(id(explanation.candidates))
        if candidates is None:
            candidates = _of_candidates(explanation)
            self._candidates[id(explanation.candidates)] = candidates
        gist = (explanation.outcome, explanation.reason.code, candidates)
        return self._alike.setdefault(gist, gist)


def _of_candidates(explanation: Explanation) -> Gist:
    return tuple(
        (c.cluster, c.accelerator, c.start_at if c.chosen else None, c.reason.code)
        for c in explanation.candidates
    )
