"""What the authors' simulator gives, stored by them; relative to NoWait without reserved CPUs."""

from dataclasses import dataclass

BASE_CARBON = 562.17126
BASE_COST = 199.17586


@dataclass(frozen=True, slots=True)
class Published:
    """A policy's row; ``wait_h`` None where the authors' figure counts stretches, not jobs."""

    policy: str
    reserved: int
    carbon: float
    cost: float
    wait_h: float | None


PUBLISHED = (
    Published("NoWait", 0, 1.0, 1.0, 0.0),
    Published("Lowest-Slot", 0, 0.780037, 1.0, 5.638),
    Published("Lowest-Window (average length)", 0, 0.683704, 1.0, 6.645),
    Published("Lowest-Window (exact length)", 0, 0.614376, 1.0, 6.605),
    Published("Carbon-Time (average length)", 0, 0.724888, 1.0, 4.729),
    Published("Carbon-Time (exact length)", 0, 0.657892, 1.0, 4.607),
    Published("Ecovisor", 0, 0.639105, 1.0, None),
    Published("Wait AWhile", 0, 0.546196, 1.0, None),
    Published("NoWait", 9, 1.0, 0.775181, 0.0),
    Published("AllWait-Threshold", 9, 0.921652, 0.651822, 9.010),
    Published("Carbon-Time (average length)", 9, 0.724888, 0.910656, 4.729),
    Published("RES-First-Carbon-Time", 6, 0.816472, 0.801893, 3.283),
    Published("RES-First-Carbon-Time", 9, 0.854406, 0.713684, 2.644),
    Published("RES-First-Carbon-Time", 18, 0.961352, 0.534935, 0.983),
)
# Least carbon with exact lengths and without a limit of capacity, in the unit of BASE_CARBON.
BOUND_ANY_TICK = 344.0284
BOUND_QUARTER_HOUR = 345.1300
BOUND_HOUR = 347.2793
BOUND_INTERRUPTIBLE = 307.0558
