"""How far the live chunks of arrays have come."""

from scheduler.domain import arrays
from scheduler.domain.arrays import Progress, TaskCounts
from scheduler.domain.job import Attempt, Job
from scheduler.domain.transitions import Step


class ArrayProgress:
    """What agents last told of the live attempts of chunks; kept in memory, for as long as those
    live. What is told before a restart of the scheduler is told again after it."""

    def __init__(self) -> None:
        self._heard: dict[str, Progress] = {}

    def heard(self, job: Job, attempt_id: str, told: Progress | None) -> None:
        """Takes in what was told of a job's attempt; of an older one, or of no chunk, nothing."""
        attempt, array = job.attempt, job.spec.array
        if told is None or array is None or attempt is None or attempt.id != attempt_id:
            return
        before = self._heard.get(attempt_id, Progress())
        self._heard[attempt_id] = Progress(
            arrays.union((before.succeeded, arrays.fitted(told.succeeded, array.tasks))),
            arrays.fitted(told.failed, array.tasks),
            min(told.running, array.tasks),
        )

    def of(self, job: Job) -> Progress | None:
        """That of a job's newest attempt."""
        return self._heard.get(job.attempt.id) if job.attempt is not None else None

    def counts(self, job: Job) -> TaskCounts:
        """How many tasks of a chunk are in which state."""
        return arrays.counts(job, self.of(job))

    def settled(self, job: Job, attempt: Attempt) -> Attempt:
        """The attempt that a change leaves behind, with its tasks where it has ended."""
        if job.spec.array is None or not attempt.state.final:
            return attempt
        return arrays.settled(job, attempt, self._heard.get(attempt.id))

    def on_step(self, step: Step) -> None:
        """Listens to the job book: an attempt that has ended keeps its tasks itself."""
        attempt = step.job.attempt
        if attempt is not None and attempt.state.final:
            self._heard.pop(attempt.id, None)
