"""What the rounds so far think of the jobs that still wait, and what of it is not stored yet."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from scheduler.domain.explanation import Explanation
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.round import PlacementRecord
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.calendar import Calendar
from scheduler.planning.messages import Part

# Of one round, so that none holds up the commits of others; the rest follows with the next rounds.
STORED_MOST = 2000


class Standing:
    """Explanations and planned starts by job."""

    def __init__(self, active: Mapping[str, Job]) -> None:
        """``active``: all jobs that are not final, a live view."""
        self._active = active
        self._explained: dict[str, Explanation] = {}
        # How many of them have which reason.
        self.codes: Counter[ReasonCode] = Counter()
        self._planned: dict[str, PlacementRecord] = {}
        self._starts: Calendar[datetime] = Calendar()
        self._unstored: dict[str, None] = {}

    @property
    def next_start_at(self) -> datetime | None:
        """The earliest of the planned starts."""
        return self._starts.first()

    def planned(self) -> Sequence[PlacementRecord]:
        """All that is planned and not committed."""
        return list(self._planned.values())

    def planned_start(self, job_id: str) -> PlannedStart | None:
        """Where and when a job is planned to start."""
        record = self._planned.get(job_id)
        return PlannedStart(record.cluster, record.accelerator, record.start_at) if record else None

    def explanation(self, job_id: str) -> Explanation | None:
        """What was thought of a job."""
        return self._explained.get(job_id)

    def take(self, part: Part) -> None:
        """Takes in what a round thinks of the jobs that still wait."""
        for job_id in part.unplanned:
            self._plan(job_id, None)
        for record in part.planned:
            if self._waits(record.job_id):
                self._plan(record.job_id, record)
        for explanation in part.news:
            if self._waits(explanation.job_id):
                self._explain(explanation.job_id, explanation)
        self._unstored |= dict.fromkeys(e.job_id for e in part.news if self._waits(e.job_id))

    def expect(self, record: PlacementRecord) -> None:
        """A job that no round has seen yet stands planned, as it was told when it came."""
        if self._waits(record.job_id):
            self._plan(record.job_id, record)

    def doubt(self, explanation: Explanation) -> None:
        """A job cannot be planned at present."""
        self._plan(explanation.job_id, None)
        self._explain(explanation.job_id, explanation)

    def forget(self, job_id: str) -> None:
        """The job waits no longer."""
        self._explain(job_id, None)
        self._unstored.pop(job_id, None)
        self._plan(job_id, None)

    def unstored(self) -> list[Explanation]:
        """What is new and not stored yet, the oldest news first; ``STORED_MOST`` at most."""
        jobs = zip(self._unstored, range(STORED_MOST), strict=False)
        return [self._explained[job_id] for job_id, _ in jobs]

    def stored(self, explanations: Iterable[Explanation]) -> None:
        """Takes note of what has been written."""
        for explanation in explanations:
            if self._explained.get(explanation.job_id) is explanation:
                self._unstored.pop(explanation.job_id, None)

    def _explain(self, job_id: str, explanation: Explanation | None) -> None:
        before = self._explained.pop(job_id, None)
        if before is not None:
            self.codes[before.reason.code] -= 1
        if explanation is not None:
            self._explained[job_id] = explanation
            self.codes[explanation.reason.code] += 1

    def _plan(self, job_id: str, record: PlacementRecord | None) -> None:
        if record is None:
            self._planned.pop(job_id, None)
        else:
            self._planned[job_id] = record
        self._starts.put(job_id, record.start_at if record else None)

    def _waits(self, job_id: str) -> bool:
        job = self._active.get(job_id)
        return job is not None and job.state is JobState.PENDING


def closer(told: Explanation | None, closely: Explanation | None) -> Explanation | None:
    """Of what stands and a close look at it, what to tell: the look, unless it is of an older
    round than what stands."""
    if told is None or closely is None or closely.round_id < told.round_id:
        return told
    return closely
