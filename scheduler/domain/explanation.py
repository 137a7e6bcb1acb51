"""Why a job is where it is: stored with the decision, shown to the operator."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.domain.reason import Reason


class Outcome(StrEnum):
    """What a round decided for a job."""

    PLACED = "PLACED"
    PLANNED = "PLANNED"
    UNPLACED = "UNPLACED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The best that a cluster's pool could offer the job in the round.

    ``terms`` are (policy name, yuan); they sum to ``total_yuan``. Energy is at the door.
    For an infeasible candidate ``start_at`` may be None and the figures zero.
    """

    cluster: str
    accelerator: str
    feasible: bool
    chosen: bool
    start_at: datetime | None
    end_at: datetime | None
    rtt_p95_ms: float | None
    green_share: float
    energy_kwh: float
    carbon_kg: float
    terms: tuple[tuple[str, float], ...]
    total_yuan: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class BindingConstraint:
    """A full coupling constraint that touched the job; its price in yuan per unit."""

    name: str
    shadow_price_yuan: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Against running in the origin region at once: energy, its cost and its carbon."""

    origin_yuan: float
    yuan: float
    origin_carbon_kg: float
    carbon_kg: float
    origin_kwh: float
    kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One job in one round. ``round_id`` is 0 until the loop has numbered the round.

    ``waited`` is, for a job that starts after it had waited, why it had, as the round before told;
    ``first_planned_at`` the start that its first plan said, if that lay ahead.
    """

    job_id: str
    decided_at: datetime
    outcome: Outcome
    reason: Reason
    candidates: tuple[Candidate, ...]
    binding: tuple[BindingConstraint, ...] = ()
    saving: Saving | None = None
    round_id: int = 0
    round_objective_yuan: float = 0.0
    round_bound_yuan: float = 0.0
    round_gap: float = 0.0
    waited: Reason | None = None
    first_planned_at: datetime | None = None
