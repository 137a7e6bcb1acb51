"""A clock that stands still until it is told to go on, and the one on the wall."""

from datetime import UTC, datetime, timedelta

from scheduler.clock import PowerClock


class ManualClock:
    """Power clock and monotonic clock move together, by ``pass_s`` seconds of real time."""

    def __init__(self, speedup: float = 1.0) -> None:
        self.speedup = speedup
        self._now = datetime(2026, 6, 18, 2, 30, tzinfo=UTC)
        self._monotonic_s = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic_s

    def pass_s(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._now += timedelta(seconds=seconds * self.speedup)


def real_clock() -> PowerClock:
    """The clock on the wall."""
    now = datetime.now(UTC)
    return PowerClock(1.0, now, now)
