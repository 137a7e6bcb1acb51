"""A job: what the user asks for, its attempts, and its state."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from scheduler.domain.reason import Reason


class JobState(StrEnum):
    """States of a job; what leads from one to the next is in ``transitions``."""

    PENDING = "PENDING"
    ASSIGNED = "ASSIGNED"
    RUNNING = "RUNNING"
    UNREACHABLE = "UNREACHABLE"
    PREEMPTING = "PREEMPTING"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        return self in FINAL_STATES

    @property
    def live(self) -> bool:
        """An attempt may exist somewhere."""
        return self in LIVE_STATES


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
# Those in which the attempt is being stopped because we asked.
STOPPING_STATES = frozenset({JobState.PREEMPTING, JobState.SUSPENDING, JobState.CANCELLING})
LIVE_STATES = STOPPING_STATES | {JobState.ASSIGNED, JobState.RUNNING, JobState.UNREACHABLE}


class AttemptState(StrEnum):
    """States of one execution."""

    ASSIGNED = "ASSIGNED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    LOST = "LOST"

    @property
    def final(self) -> bool:
        return self not in (AttemptState.ASSIGNED, AttemptState.STARTING, AttemptState.RUNNING)


class OnUnreachable(StrEnum):
    """What becomes of an attempt while its cluster is silent."""

    RETRY = "RETRY"  # it ends with its lease, and the next one starts elsewhere
    WAIT = "WAIT"  # it goes on, and nothing starts elsewhere until the cluster is back


class GreenMatching(StrEnum):
    """Over which time a job's minimum green share holds."""

    SLOT = "SLOT"  # in every slot that its run touches
    RUN = "RUN"  # over the run as a whole, the green energy first


@dataclass(frozen=True, slots=True)
class AcceleratorOption:
    """A model the job accepts and its speed on it, relative to the expected duration."""

    model: str
    relative_speed: float = 1.0


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """What each worker needs on one node."""

    gpus: int = 0
    cpus: float = 1.0
    memory_gb: float = 1.0


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, started once per worker."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RayEntrypoint:
    """A user's own Ray driver, started once through Ray's Jobs API."""

    entrypoint: str


@dataclass(frozen=True, slots=True)
class DataInput:
    """Data the job reads, and the region or cluster where it lies."""

    size_gb: float
    location: str


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Many tasks of one shape; in the spec of a chunk, ``tasks`` are its own."""

    tasks: int
    chunk_tasks: int = 10_000
    task_attempts: int = 1
    first_task: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as submitted. Times are aware datetimes in the power clock; None does not limit.

    ``stop_grace_s``, ``checkpoint_interval_s`` (0: only when told to stop) and ``restart_s`` are
    seconds of the job's own run; ``checkpoint_uri`` None stands for the scheduler's own place.
    """

    name: str
    tenant: str
    region: str
    work: Command | RayEntrypoint
    expected_duration_s: float
    env: dict[str, str] = field(default_factory=dict)
    working_dir_sha256: str | None = None
    workers: int = 1
    per_worker: WorkerShape = WorkerShape()
    accelerators: tuple[AcceleratorOption, ...] = ()
    earliest_start_at: datetime | None = None
    deadline_at: datetime | None = None
    max_delay_s: float = 0.0
    interruptible: bool = False
    max_rtt_ms: float | None = None
    min_green_share: float | None = None
    green_matching: GreenMatching = GreenMatching.SLOT
    data: tuple[DataInput, ...] = ()
    must_be_in: tuple[str, ...] = ()
    must_not_be_in: tuple[str, ...] = ()
    priority: int = 0
    max_attempts: int = 3
    on_unreachable: OnUnreachable = OnUnreachable.RETRY
    stop_grace_s: float = 5.0
    checkpoint_uri: str | None = None
    checkpoint_interval_s: float = 0.0
    restart_s: float = 0.0
    array: ArraySpec | None = None

    @property
    def gpus(self) -> int:
        """Accelerators of the whole gang."""
        return self.workers * self.per_worker.gpus

    def without_times(self) -> "JobSpec":
        """All but its two absolute times: where people give them from the submission on, each
        repeat of the same file has others."""
        return replace(self, earliest_start_at=None, deadline_at=None)

    def speed_on(self, accelerator: str) -> float | None:
        """Relative speed on an accelerator model; None if the job does not accept it.

        A job that needs no accelerator, or names none, runs anywhere at speed 1.
        """
        if self.per_worker.gpus == 0 or not self.accelerators:
            return 1.0
        for option in self.accelerators:
            if option.model == accelerator:
                return option.relative_speed
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution of a job; ``nodes[rank]`` is where worker ``rank`` runs.

    ``energy_kwh`` is the plan's, for the whole run. Once it has ended, ``kept_s`` and ``lost_s``
    (at relative speed 1) and ``lost_kwh`` say what its work was good for; see ``progress``.
    ``tasks_done`` is the bitmap of an array chunk's tasks that have succeeded in it.
    """

    id: str
    job_id: str
    number: int
    epoch: int
    state: AttemptState
    cluster: str
    accelerator: str
    nodes: tuple[str, ...]
    assigned_at: datetime
    expected_end_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: Reason | None = None
    energy_kwh: float = 0.0
    kept_s: float = 0.0
    lost_s: float = 0.0
    lost_kwh: float = 0.0
    tasks_done: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stored job. Values change by ``dataclasses.replace`` in ``transitions`` alone."""

    id: str
    spec: JobSpec
    state: JobState
    reason: Reason
    version: int
    created_at: datetime
    updated_at: datetime
    idempotency_key: str | None = None
    attempts: tuple[Attempt, ...] = ()
    # Not planned before this time: the back-off after a failed attempt.
    not_before_at: datetime | None = None
    # Of a chunk: its array's id.
    array_id: str | None = None

    @property
    def done_s(self) -> float:
        """Work that ended attempts have kept, in seconds at relative speed 1."""
        return sum(attempt.kept_s for attempt in self.attempts)

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One transition of one job, as stored. ``id`` is 0 until the store has numbered it."""

    id: int
    job_id: str
    at: datetime
    actor: str
    event: str
    from_state: JobState
    to_state: JobState
    reason: Reason
    attempt_id: str | None = None
