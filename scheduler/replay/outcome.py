"""What a replay leaves behind: every run, every job's end, every round."""

from dataclasses import dataclass, field
from datetime import datetime

from scheduler.domain.job import JobState
from scheduler.replay.case import ReplayCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt, from its start to its real end. ``it_kw`` is the draw of its gang on the very
    nodes it ran on; ``stopped``: the scheduler ended it and its job went on later."""

    job_id: str
    attempt_id: str
    cluster: str
    accelerator: str
    nodes: tuple[str, ...]
    started_at: datetime
    expected_end_at: datetime
    ended_at: datetime
    it_kw: float
    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundNote:
    """One round. ``gap`` is None for placers that prove nothing. Of the ``kept`` plans for later
    starts of the round before, whose time had not passed, it ``moved`` some; see ``stability``."""

    at: datetime
    jobs: int
    started: int
    planned: int
    stopped: int
    wall_ms: float
    gap: float | None
    kept: int
    moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A case under one policy. ``states`` are final, or PENDING for what never found a place;
    ``clock_at`` is where the simulated clock stopped."""

    policy: str
    case: ReplayCase
    runs: tuple[Run, ...]
    states: dict[str, JobState]
    rounds: tuple[RoundNote, ...]
    clock_at: datetime
    wall_s: float = field(compare=False)
