"""What the loop tells the planner of the world, what it asks, and what it is answered.

All of it may cross to another process, so all of it comes in pages: a page is made, sent and taken
in within about a millisecond, and between two the event loop answers calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from policies.rules import Rules
from scheduler.domain.explanation import Explanation
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.round import PlacementRecord
from scheduler.domain.why import Obstacles, Starts
from scheduler.planner.plan import Interruption, Placement, StageTime
from scheduler.planner.snapshot import Claim, PendingJob, PlannedStart, RunningAttempt
from scheduler.planning.front import Front
from scheduler.planning.preview_question import Question

Answer = TypeVar("Answer")

# Jobs, or nodes, of a page; starts are fewer, for each is committed.
PAGE_MOST = 128
STARTS_MOST = 32


@dataclass(frozen=True, slots=True)
class JobNews:
    """A job as it is now. ``seen`` is what the planner sees of it: None for one that neither waits
    nor holds anything; ``planned`` is where it stands planned while it waits."""

    job_id: str
    version: int
    seen: PendingJob | RunningAttempt | None
    planned: PlannedStart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A page of what has changed. ``anew``: forget all that was told before. ``rules`` and
    ``regions`` are None where they have not changed."""

    anew: bool
    jobs: tuple[JobNews, ...] = ()
    jobs_gone: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    nodes_gone: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()
    sites_gone: tuple[str, ...] = ()
    regions: dict[str, Region] | None = None
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """What has been told, in sum: equal on both sides, or one of them has missed something.
    ``digest`` is of the ids and versions of all jobs."""

    pages: int = 0
    jobs: int = 0
    digest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One round that is wanted, with the last page of changes before it.

    Attributes:
        stamp: what has been told, this page included.
        only: plan these jobs; None for all that wait, but for those in ``without``.
        quick: what earlier rounds thought of the jobs stands; news are told of others alone.
    """

    round_id: int
    now_at: datetime
    slot_s: float
    slots: int
    changes: Changes
    stamp: Stamp
    claims: tuple[Claim, ...]
    only: tuple[str, ...] | None = None
    without: frozenset[str] = frozenset()
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Asked(Generic[Answer]):
    """A question about the plan of a whole round that would be asked for now."""

    ask: Ask
    question: Question[Answer]


@dataclass(frozen=True, slots=True)
class Start:
    """A job that starts now, and why."""

    placement: Placement
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A page of what a round has decided, as far as it is new to the loop.

    Attributes:
        planned: starts that lie ahead, where they differ from what was planned before.
        unplanned: jobs that have such a start no longer.
        news: explanations that a reader would call another answer than the one before.
    """

    starts: Sequence[Start] = ()
    planned: Sequence[PlacementRecord] = ()
    unplanned: Sequence[str] = ()
    news: Sequence[Explanation] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A round's figures and the first of its ``parts``. ``planned`` jobs start later, ``reasons``
    counts the ``unplaced``. Beside the jobs it saw ``running`` attempts, ``nodes`` and
    ``clusters``. Of the later starts that the round before had planned it ``moved`` some and
    ``kept`` the others; see ``stability``."""

    round_id: int
    jobs: int
    planned: int
    unplaced: int
    reasons: dict[str, int]
    objective_yuan: float
    bound_yuan: float
    gap: float
    stages: tuple[StageTime, ...]
    interruptions: tuple[Interruption, ...]
    running: int
    nodes: int
    clusters: int
    moved: int
    kept: int
    parts: int
    first: Part


class DriftedError(Exception):
    """What the planner knows is not what it should have been told: it has to be told anew."""


class IllegalPlanError(Exception):
    """The checker objects to a plan."""


class Planner(Protocol):
    """Plans off the event loop, from what it has been told."""

    async def tell(self, changes: Changes) -> None:
        """Takes in a page of changes."""

    async def front(self, ask: Ask) -> Front | None:
        """Takes in the last page; the front of the line, None where that is all who wait.

        Raises:
            DriftedError: it has to be told anew.
        """

    async def plan(self, ask: Ask) -> Decided:
        """A round.

        Raises:
            DriftedError: it has to be told anew.
            IllegalPlanError: the checker objects to the plan; the round counts for nothing.
            Exception: what the planner raised.
        """

    async def part(self, number: int) -> Part:
        """A later part of what the last round has decided, from 1."""

    async def explain(self, job_id: str) -> Explanation | None:
        """What the last rounds thought of a job, with all candidates; None if it cannot tell."""

    async def obstacles(self, job_id: str) -> Obstacles | None:
        """What kept a job from a start in the last rounds; None if it cannot tell."""

    async def starts(self, job_id: str) -> Starts | None:
        """What every start would have cost a job; None if it cannot tell."""

    async def answer(self, asked: Asked[Answer]) -> Answer:
        """What would be planned now; nothing of it is kept.

        Raises:
            DriftedError: it has to be told anew.
            Exception: what the question raised.
        """
