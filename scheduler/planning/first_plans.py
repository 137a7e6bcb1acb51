"""What users were told first of when their jobs would start, and how far that was off."""

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from scheduler.domain.job import Job, JobState
from scheduler.domain.round import PlacementRecord
from scheduler.domain.why import Moved

# Of fewer starts nothing can be said; what is long ago says little of today.
STARTS_LEAST = 20
STARTS_MOST = 1000


class FirstPlans:
    """The first plan of each job that waits and was planned ahead, and of the newest starts how far
    they lay from it. Jobs that started at once count for nothing: they would flatter."""

    def __init__(self) -> None:
        self._first: dict[str, datetime] = {}
        self._moved_s: deque[float] = deque(maxlen=STARTS_MOST)

    def take(self, planned: Iterable[PlacementRecord]) -> None:
        """Takes in starts that lie ahead."""
        for record in planned:
            self._first.setdefault(record.job_id, record.start_at)

    def of(self, job_id: str) -> datetime | None:
        """When the first plan of a job that waits would have started it."""
        return self._first.get(job_id)

    def left(self, job: Job) -> None:
        """A job waits no longer; if it was given an attempt, it starts now."""
        first_at = self._first.pop(job.id, None)
        if first_at is not None and job.state is JobState.ASSIGNED and job.attempt is not None:
            self._moved_s.append(abs((job.attempt.assigned_at - first_at).total_seconds()))

    def moved(self) -> Moved | None:
        """How far starts lay from first plans; None where too few were seen."""
        ordered = sorted(self._moved_s)
        if len(ordered) < STARTS_LEAST:
            return None
        p50_s, p90_s = (ordered[-(-len(ordered) * part // 10) - 1] for part in (5, 9))
        return Moved(p50_s, p90_s, len(ordered))
