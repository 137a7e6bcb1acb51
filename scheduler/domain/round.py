"""Planning rounds and placements as they are remembered."""

from dataclasses import dataclass, field
from datetime import datetime

from scheduler.domain.explanation import Saving
from scheduler.domain.span import Span, runs_between


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One planning pass. ``jobs`` is the number it saw; ``stages`` are (name, ms of real time);
    ``reasons`` counts the jobs that were not placed by reason code, ``interruptions`` the attempts
    that it wants stopped by kind. Beside the jobs it saw ``running`` attempts, ``nodes`` and
    ``clusters``. Of the later starts that the round before had planned for its jobs, and whose time
    had not passed, it ``moved`` some and ``kept`` the others. ``quick``: it planned only the front
    of the line.
    """

    id: int
    at: datetime
    trigger: str
    jobs: int
    placed: int
    planned: int
    unplaced: int
    objective_yuan: float
    bound_yuan: float
    gap: float
    wall_ms: float
    stages: tuple[tuple[str, float], ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    interruptions: dict[str, int] = field(default_factory=dict)
    running: int = 0
    nodes: int = 0
    clusters: int = 0
    moved: int = 0
    kept: int = 0
    quick: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRecord:
    """Where and when a job runs, or is planned to run while it has no attempt yet.

    ``nodes[rank]`` runs worker ``rank``. Energy is at the door (PUE included); ``green_share``
    is the part of it that is green, 0 to 1. ``pauses`` are those of a run that is only planned: of
    a committed one, what comes after its first run is planned anew.
    """

    job_id: str
    attempt_id: str | None
    cluster: str
    accelerator: str
    nodes: tuple[str, ...]
    start_at: datetime
    end_at: datetime
    energy_kwh: float
    green_share: float
    cost_yuan: float
    carbon_kg: float
    saving: Saving | None
    round_id: int
    pauses: tuple[Span, ...] = ()

    @property
    def runs(self) -> tuple[Span, ...]:
        """When it runs, in order."""
        return runs_between(self.start_at, self.end_at, self.pauses)

    @property
    def committed(self) -> bool:
        """An attempt exists; else the next round may still decide otherwise."""
        return self.attempt_id is not None
