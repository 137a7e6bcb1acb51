"""The clock that is injected: real, or running faster for a demo.

Plans, prices and deadlines are in the *power clock*; leases, staleness and back-off run on the
monotonic clock of the machine, which nobody can step.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the rest of the system may know of time."""

    @property
    def speedup(self) -> float:
        """Seconds of the power clock per second of real time."""
        ...

    def now(self) -> datetime:
        """The power clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of real time since some moment; never steps."""
        ...


@dataclass(frozen=True, slots=True)
class PowerClock:
    """``clock_at + (real now - real_at) * speedup``; real time when speedup is 1 and both agree."""

    speedup: float
    real_at: datetime
    clock_at: datetime

    def now(self) -> datetime:
        elapsed_s = (datetime.now(UTC) - self.real_at).total_seconds()
        return self.clock_at + timedelta(seconds=elapsed_s * self.speedup)

    def monotonic(self) -> float:
        return time.monotonic()
