"""What a replay is given: the jobs of a trace and the world they met."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import JobSpec


class CaseError(ValueError):
    """A case that cannot be replayed; the message says what to mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayJob:
    """One job of a trace. ``spec.expected_duration_s`` is what the scheduler is told, ``actual_s``
    what it takes (both at relative speed 1); ``submitted_at`` is aware."""

    id: str
    spec: JobSpec
    submitted_at: datetime
    actual_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayWorld:
    """Nodes, sites (with price, green and PUE series over the whole time) and regions."""

    nodes: tuple[Node, ...]
    sites: dict[str, Site]
    regions: dict[str, Region]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCase:
    """A world and its jobs, by ``submitted_at``, then id. The simulated clock begins at
    ``start_at``; a round looks ``horizon_slots`` of ``slot_s`` seconds ahead."""

    name: str
    world: ReplayWorld
    jobs: tuple[ReplayJob, ...]
    start_at: datetime
    slot_s: float = 900.0
    horizon_slots: int = 192
