"""A round decided: what explanations and interruptions look at."""

from dataclasses import dataclass
from datetime import datetime

from policies.scene import Bools
from scheduler.planner.duals import Duals
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Model
from scheduler.planner.places import Places, Residual


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A round decided. ``residual`` and ``ledger`` hold the whole plan; to explain a job, it is
    taken out of them, and put back. ``active`` (K,) says which classes could start if alone.
    """

    model: Model
    places: Places
    active: Bools
    residual: Residual
    duals: Duals
    ledger: Ledger
    decided_at: datetime
    objective_yuan: float
    bound_yuan: float
    gap: float
