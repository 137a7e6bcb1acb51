"""The job book: the one owner of every change of every job."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import MappingProxyType

import structlog

from scheduler.clock import Clock
from scheduler.domain import arrays
from scheduler.domain.explanation import Explanation
from scheduler.domain.job import Attempt, Job, JobEvent, JobSpec, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord
from scheduler.domain.transitions import Effect, Event, IllegalTransitionError, Step, advance
from scheduler.state.feed import Feed
from scheduler.state.ids import JobIds, array_id, is_array_id
from scheduler.state.live import LiveJobs
from scheduler.state.progress import ArrayProgress
from scheduler.store.errors import StaleVersionError
from scheduler.store.jobs import StepRecord
from scheduler.store.store import Store
from scheduler.store.writer import Done, Outcome

log = structlog.get_logger(__name__)
NOT_PLANNED_YET = Reason(ReasonCode.NOT_PLANNED_YET, "no planning round has seen it yet")
SHOWN_MOST = 80


class UnknownJobError(Exception):
    """No job, or no array, has this id."""

    def __init__(self, job_id: str, kind: str = "job") -> None:
        told = f"no {kind} {job_id!r} is known"
        if kind == "job" and is_array_id(job_id):
            told += "; if that is an array, this is for one of its chunks"
        super().__init__(told)
        self.job_id = job_id


class AlreadyEndedError(Exception):
    """A wish came after the job's end."""

    def __init__(self, job: Job, wish: str = "cancel") -> None:
        super().__init__(f"job {job.id} is already {job.state}; there is nothing to {wish}")
        self.job = job


class KeyConflictError(Exception):
    """An idempotency key was used before, for another spec."""

    def __init__(self, job: Job, spec: JobSpec) -> None:
        differs = _difference(job.spec.without_times(), spec.without_times())
        super().__init__(
            f"idempotency key {job.idempotency_key!r} belongs to job {job.id}, whose spec differs: "
            f"{differs}; use a new key for a new job"
        )
        self.job = job


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event for one job, as decided.

    ``attempt`` is the newest attempt as it is after the event; ``placement`` and ``explanation``
    are stored with it, in the same transaction. ``expect_version`` is the job's version that the
    decision was made on, where it was made on an older look at the job.
    """

    job_id: str
    event: Event
    actor: str
    reason: Reason
    attempt: Attempt | None = None
    not_before_at: datetime | None = None
    expect_version: int | None = None
    placement: PlacementRecord | None = None
    explanation: Explanation | None = None


Refusal = IllegalTransitionError | StaleVersionError | UnknownJobError


class JobBook:
    """Jobs in memory, always as durable as the database. Lives on one event loop.

    Memory changes and listeners hear only after a change is durable, in the order of the
    commits. A change is decided on the newest state, even one that is still being written: if
    that write fails, the version check of the database refuses what was decided on it.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ids = JobIds(clock)
        self._active: dict[str, Job] = {}
        self._live = LiveJobs()
        self._ahead: dict[str, Job] = {}
        self._listeners: list[Callable[[Step], None]] = []
        self.feed = Feed()
        self.progress = ArrayProgress()
        self.on_step(self.progress.on_step)

    async def load(self) -> None:
        """Reads all jobs that are not final; once, at start."""
        self._active = {job.id: job for job in await self._store.jobs.active()}
        self._live = LiveJobs(self._active.values())
        self._ids = JobIds(self._clock, await self._store.jobs.newest_id())

    def on_step(self, listener: Callable[[Step], None]) -> None:
        """Calls ``listener`` after every durable change, in order, on the event loop."""
        self._listeners.append(listener)

    def active(self) -> Mapping[str, Job]:
        """All jobs that are not final, by id: a live view."""
        return MappingProxyType(self._active)

    @property
    def live(self) -> LiveJobs:
        """Those of them that have an attempt somewhere, by its cluster."""
        return self._live

    async def get(self, job_id: str) -> Job:
        """Any job.

        Raises:
            UnknownJobError: there is none.
        """
        job = self._active.get(job_id) or await self._store.jobs.find(job_id)
        if job is None:
            raise UnknownJobError(job_id)
        return job

    async def chunks(self, of_array_id: str) -> list[Job]:
        """The jobs that an array was cut into, in the order of their tasks.

        Raises:
            UnknownJobError: there is no such array.
        """
        found = await self._store.jobs.chunks(of_array_id)
        if not found:
            raise UnknownJobError(of_array_id, "array")
        return [self._active.get(job.id, job) for job in found]

    async def submit(
        self, spec: JobSpec, key: str | None = None, actor: str = "user"
    ) -> tuple[Job, bool]:
        """Stores a valid spec as a new job.

        Returns:
            The job, and True when the tenant had submitted the same under the same key before.

        Raises:
            KeyConflictError: the key belongs to a job with another spec.
            StoreError: nothing was stored.
        """
        [result] = await self.submit_many([(spec, key)], actor)
        if isinstance(result, KeyConflictError):
            raise result
        return result

    async def submit_many(
        self, wishes: Sequence[tuple[JobSpec, str | None]], actor: str = "user"
    ) -> list[tuple[Job, bool] | KeyConflictError]:
        """Stores many in one transaction; see ``submit``. One result per wish, in order."""
        born = [self._born(spec, key, actor) for spec, key in wishes]
        results: list[tuple[Job, bool] | KeyConflictError] = []
        for (spec, _), (job, event) in zip(
            wishes, await self._store.jobs.insert(born, self._installer()), strict=True
        ):
            if event is None and not is_repeat([job], spec):
                results.append(KeyConflictError(job, spec))
            else:
                results.append((job, event is None))
        return results

    async def submit_array(
        self, spec: JobSpec, key: str | None = None, actor: str = "user"
    ) -> tuple[list[Job], bool]:
        """Stores the chunks of a valid array, all or none; see ``submit``.

        Returns:
            The chunks in the order of their tasks, and whether they were there before.
        """
        first, *rest = arrays.chunks(spec)
        born = [self._born(first, key, actor), *(self._born(part, None, actor) for part in rest)]
        known_as = array_id(born[0][0].id)
        born = [(replace(job, array_id=known_as), event) for job, event in born]
        stored = await self._store.jobs.insert_array(born, self._installer())
        jobs = [job for job, _ in stored]
        existed = stored[0][1] is None
        if existed and not is_repeat(jobs, spec):
            raise KeyConflictError(arrays.as_one(jobs) if jobs[0].array_id else jobs[0], spec)
        return jobs, existed

    async def apply(self, change: Change) -> Step:
        """Changes a job; returns once it is durable.

        Raises:
            IllegalTransitionError: the job's state does not allow it; tells its story.
            StaleVersionError: the job changed since the decision.
            UnknownJobError: there is no such job.
            StoreError: nothing was stored.
        """
        [result] = await self.apply_many([change])
        if isinstance(result, Exception):
            raise result
        return result

    async def apply_many(self, changes: Sequence[Change]) -> list[Step | Refusal]:
        """Changes many jobs in one transaction. What is refused does not hinder the rest.

        Raises:
            StoreError: nothing was stored.
        """
        results: dict[int, Step | Refusal | None] = {}
        records: dict[int, StepRecord] = {}
        for at, change in enumerate(changes):
            try:
                step = self._advance(change)
            except (IllegalTransitionError, StaleVersionError) as refusal:
                results[at] = refusal
            except UnknownJobError:
                results[at] = None  # perhaps it has ended: only the database knows
            else:
                self._ahead[change.job_id] = step.job
                records[at] = StepRecord(
                    step=step,
                    attempt_changed=change.attempt is not None,
                    placement=change.placement,
                    explanation=change.explanation,
                )
        if records:
            written = list(records.values())
            saved = await self._store.jobs.save(written, self._settler(written))
            results.update(zip(records, saved, strict=True))
        return [await self._told(change, results[at]) for at, change in enumerate(changes)]

    async def cancel(self, job_id: str, reason: str = "", actor: str = "user") -> Job:
        """Cancels a job; again is no error.

        Raises:
            AlreadyEndedError: it had succeeded or failed before.
            UnknownJobError: there is no such job.
            StoreError: nothing was stored.
        """
        told = f"cancelled by {actor}" + (f": {reason}" if reason else "")
        why = Reason(ReasonCode.CANCELLED, told)
        try:
            change = Change(job_id=job_id, event=Event.CANCEL, actor=actor, reason=why)
            return (await self.apply(change)).job
        except IllegalTransitionError:
            # Decided on what may still be being written: answer only what is durable.
            await self._store.database.write(lambda _: None)
            job = await self.get(job_id)
            if job.state in (JobState.CANCELLING, JobState.CANCELLED):
                return job
            if job.state.final:
                raise AlreadyEndedError(job) from None
            raise

    def _born(self, spec: JobSpec, key: str | None, actor: str) -> tuple[Job, JobEvent]:
        now_at = self._clock.now()
        job = Job(
            id=self._ids.new(),
            spec=spec,
            state=JobState.PENDING,
            reason=NOT_PLANNED_YET,
            version=1,
            created_at=now_at,
            updated_at=now_at,
            idempotency_key=key,
        )
        event = JobEvent(
            id=0,
            job_id=job.id,
            at=now_at,
            actor=actor,
            event=Event.SUBMIT.value,
            from_state=JobState.PENDING,
            to_state=JobState.PENDING,
            reason=Reason(ReasonCode.NOT_PLANNED_YET, "submitted"),
        )
        return job, event

    def _advance(self, change: Change) -> Step:
        job = self._ahead.get(change.job_id) or self._active.get(change.job_id)
        if job is None:
            raise UnknownJobError(change.job_id)
        if change.expect_version not in (None, job.version):
            raise StaleVersionError(job.id, change.expect_version or 0, job.version)
        attempt = change.attempt
        if attempt is not None:
            attempt = self.progress.settled(job, attempt)
        return advance(
            job,
            change.event,
            at=self._clock.now(),
            actor=change.actor,
            reason=change.reason,
            attempt=attempt,
            not_before_at=change.not_before_at,
        )

    def _installer(self) -> Done[list[tuple[Job, JobEvent | None]]]:
        """What follows the commit of new jobs."""

        def done(outcome: Outcome[list[tuple[Job, JobEvent | None]]]) -> None:
            for job, event in outcome.value or ():
                if event is not None:
                    self._install(Step(job, event, frozenset({Effect.REPLAN})))

        return done

    def _settler(self, records: Sequence[StepRecord]) -> Done[list[Step | StaleVersionError]]:
        """What follows the commit of records, or its failure, on the event loop."""

        def done(outcome: Outcome[list[Step | StaleVersionError]]) -> None:
            for at, record in enumerate(records):
                job = record.step.job
                result = outcome.value[at] if outcome.value is not None else None
                # A refused change takes along what was decided on it.
                if not isinstance(result, Step) or self._ahead.get(job.id) is job:
                    self._ahead.pop(job.id, None)
                if isinstance(result, Step):
                    self._install(result)

        return done

    def _install(self, step: Step) -> None:
        if step.job.state.final:
            self._active.pop(step.job.id, None)
        else:
            self._active[step.job.id] = step.job
        self._live.follow(step.job)
        self.feed.publish(step.job, step.event)
        for listener in self._listeners:
            try:
                listener(step)
            except Exception:  # the change is durable: the others must hear of it
                log.exception("jobs.listener_broke", job=step.job.id, listener=repr(listener))

    async def _told(self, change: Change, result: Step | Refusal | None) -> Step | Refusal:
        """A result with what only the database knows: ended jobs, and a refused job's story."""
        if result is None:
            job = await self._store.jobs.find(change.job_id)
            if job is None:
                return UnknownJobError(change.job_id)
            result = IllegalTransitionError(job, change.event, ())
        if isinstance(result, IllegalTransitionError):
            story = await self._store.jobs.events(result.job.id)
            return IllegalTransitionError(result.job, result.event, story)
        return result


def is_repeat(known: Sequence[Job], spec: JobSpec) -> bool:
    """Whether a spec is the one that led to a job, or to all chunks of an array. Its absolute
    times are not compared: those of a file that says ``+4h`` are others at each submission."""
    plain, before = spec.without_times(), [job.spec.without_times() for job in known]
    if spec.array is None or arrays.chunk_count(spec) != len(known):
        return before == [plain]
    return before == arrays.chunks(plain)


def _difference(before: JobSpec, after: JobSpec) -> str:
    parts = []
    for field in fields(JobSpec):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if field.name == "env":  # its values may be secrets
            names = {k for k in {*old, *new} if old.get(k) != new.get(k)}
            parts.append(f"env ({', '.join(sorted(names))})")
        else:
            parts.append(f"{field.name} was {_shown(old)}, now {_shown(new)}")
    return ", ".join(parts)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_MOST else text[:SHOWN_MOST] + "…"
