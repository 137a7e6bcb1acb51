"""What the planner sees: one immutable picture of jobs, pools and forecasts."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from policies.rules import Rules
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import STOPPING_STATES, JobSpec, JobState
from scheduler.domain.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingJob:
    """A job that wants a placement.

    ``done_s`` is the work that its ended attempts have kept, in seconds at relative speed 1;
    ``stopped`` says why the last of them was stopped, where it gave way or was moved.
    """

    id: str
    spec: JobSpec
    submitted_at: datetime
    not_before_at: datetime | None = None
    attempts: int = 0
    done_s: float = 0.0
    stopped: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAttempt:
    """An attempt that holds resources on ``nodes[rank]`` until it ends.

    ``expected_end_at`` may lie in the past; it still holds its nodes. For a job that has run
    ``overruns_s`` longer than expected, it is when it is taken to end now; one that is to pause
    then has ``rest_s`` more to run. ``done_s`` is what earlier attempts have kept, in seconds at
    relative speed 1; ``state`` is the job's.
    """

    attempt_id: str
    job_id: str
    spec: JobSpec
    cluster: str
    accelerator: str
    nodes: tuple[str, ...]
    started_at: datetime
    expected_end_at: datetime
    state: JobState = JobState.RUNNING
    done_s: float = 0.0
    submitted_at: datetime | None = None
    overruns_s: float = 0.0
    rest_s: float = 0.0

    @property
    def unbroken_end_at(self) -> datetime:
        """When it would end without a pause."""
        return self.expected_end_at + timedelta(seconds=self.rest_s)

    @property
    def leaving(self) -> bool:
        """It is being stopped; its end is that of its grace at the latest."""
        return self.state in STOPPING_STATES

    @property
    def stoppable(self) -> bool:
        """The planner may ask it to stop and go on later."""
        return self.spec.interruptible and self.state in (JobState.ASSIGNED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class PlannedStart:
    """Where the round before meant to start a job that is still pending."""

    cluster: str
    accelerator: str
    start_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A job for which attempts were stopped in a pool: until it starts, or time is up, jobs of
    lower priority start nothing there in the current slot."""

    job_id: str
    priority: int
    cluster: str
    accelerator: str
    until_at: datetime


@dataclass(frozen=True, slots=True)
class RowPrices:
    """What a unit of one row was worth in each slot, in yuan; the row is a rule's for a group."""

    rule: str
    group: str
    yuan: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Prices:
    """The shadow prices of the round before, from its slot 0 on; only rows that had any. ``worth``
    are (rule, yuan): what a unit of the rule's rows is about worth."""

    start_at: datetime
    slot_s: float
    rows: tuple[RowPrices, ...]
    worth: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a round may know. Slot 0 is the one that holds ``now_at``; slots begin at whole
    multiples of ``slot_s`` of the power clock's epoch time.

    ``previous`` and ``prices`` are what the round before had planned and found; a round without
    them starts from nothing.
    """

    now_at: datetime
    slot_s: float
    slots: int
    jobs: tuple[PendingJob, ...]
    running: tuple[RunningAttempt, ...]
    nodes: tuple[Node, ...]
    sites: dict[str, Site]
    regions: dict[str, Region]
    previous: dict[str, PlannedStart] = field(default_factory=dict)
    prices: Prices | None = None
    claims: tuple[Claim, ...] = ()
    rules: Rules = field(default_factory=Rules)

    @property
    def start_at(self) -> datetime:
        """Beginning of slot 0."""
        epoch_s = self.now_at.timestamp() // self.slot_s * self.slot_s
        return datetime.fromtimestamp(epoch_s, self.now_at.tzinfo)

    def slot_at(self, slot: int) -> datetime:
        """Beginning of a slot."""
        return self.start_at + timedelta(seconds=slot * self.slot_s)
