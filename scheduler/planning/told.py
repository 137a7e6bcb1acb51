"""Which explanations of pending jobs are worth storing anew.

What the last round thought is kept in memory; the store holds it for after a restart. Figures
drift with every round, so only what a reader would call another answer is written again.
"""

from collections.abc import Iterable

from scheduler.domain.explanation import Explanation

# Of one round, so that none holds up the commits of others; the rest follows with the next rounds.
NEWS_MOST = 2000

# Outcome, reason, and of each candidate: whether it is chosen, when it would start, and why.
Gist = tuple[object, ...]


class Told:
    """The gist of what is stored of each pending job."""

    def __init__(self) -> None:
        self._gists: dict[str, Gist] = {}

    def news(self, explanations: Iterable[Explanation]) -> dict[str, Gist]:
        """Those that say something else than what is stored, by job; ``NEWS_MOST`` at most."""
        found: dict[str, Gist] = {}
        # Alike jobs of a round share their candidates.
        shared: dict[int, Gist] = {}
        for explanation in explanations:
            candidates = shared.get(id(explanation.candidates))
            if candidates is None:
                candidates = _of_candidates(explanation)
                shared[id(explanation.candidates)] = candidates
            gist = (explanation.outcome, explanation.reason.code, candidates)
            if self._gists.get(explanation.job_id) != gist:
                found[explanation.job_id] = gist
                if len(found) == NEWS_MOST:
                    break
        return found

    def stored(self, news: dict[str, Gist]) -> None:
        """Takes note of what has been written."""
        self._gists |= news

    def forget(self, job_id: str) -> None:
        """Drops a job that waits no longer."""
        self._gists.pop(job_id, None)


def _of_candidates(explanation: Explanation) -> Gist:
    return tuple(
        (c.cluster, c.accelerator, c.start_at if c.chosen else None, c.reason.code)
        for c in explanation.candidates
    )
