"""Why a job waits or has ended, what would change it, and when it should start."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.domain.job import JobState
from scheduler.domain.reason import Reason


@dataclass(frozen=True, slots=True)
class Change:
    """One wish of a job, by its name in job files, and how it would have to read."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The smallest change of one wish, or of two, that gives a job a place beside all others that
    keep theirs; and the cheapest such place. ``note`` says what was assumed, empty for nothing.

    ``size`` orders relaxations: how much of the wish is given up, 1 where that is no number.
    """

    changes: tuple[Change, ...]
    cluster: str
    accelerator: str
    start_at: datetime
    now: bool
    size: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Applies:
    """A reason, and in how many pools it alone leaves the job no start."""

    reason: Reason
    pools: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """What a round's planner says of a waiting job. Plans look ahead to ``until_at``.

    ``pools`` is how many there are; ``sooner``: the relaxations are for a start now, since the job
    has a place later; ``fits``: its wishes leave it such a start as they are; ``making_room``:
    attempts of others are being stopped for it.
    """

    reason: Reason
    evidence: tuple[Reason, ...]
    others: tuple[Applies, ...]
    relaxations: tuple[Relaxation, ...]
    pools: int
    sooner: bool
    fits: bool
    making_room: bool
    decided_at: datetime
    until_at: datetime
    round_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStarts:
    """What a start in each slot would cost a job in one pool; None where it has no room, or a rule
    forbids it. ``reason`` says why, where no slot is left. ``chosen`` is the plan's own slot."""

    cluster: str
    accelerator: str
    yuan: tuple[float | None, ...]
    chosen: int | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Starts:
    """All starts of a job beside the others of its round, from slot 0 on."""

    start_at: datetime
    slot_s: float
    pools: tuple[PoolStarts, ...]


class Sureness(StrEnum):
    """What an expected start is."""

    PLANNED = "PLANNED"  # the plan has a place for it
    NOT_BEFORE = "NOT_BEFORE"  # no place as far as plans look; they end then
    NEVER_AS_IT_IS = "NEVER_AS_IT_IS"  # time alone will not help
    MAKING_ROOM = "MAKING_ROOM"  # others are being stopped for it
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Moved:
    """How far real starts lay from the first plans of their jobs, in seconds of the power clock:
    half of them no farther than ``p50_s``, nine of ten than ``p90_s``."""

    p50_s: float
    p90_s: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """When a waiting job should start; ``moved`` is None where too few starts were seen to say.
    ``first_planned_at`` is what its first plan said."""

    sureness: Sureness
    start_at: datetime | None = None
    cluster: str = ""
    accelerator: str = ""
    moved: Moved | None = None
    first_planned_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The one dominant reason for where a job is, and what goes with it. ``obstacles`` and
    ``expected`` are there while it waits."""

    job_id: str
    state: JobState
    reason: Reason
    obstacles: Obstacles | None = None
    expected: Expected | None = None
