"""Values over time: tariffs, green supply, PUE."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Series:
    """Value ``i`` holds from ``start_at + i * step_s`` for ``step_s`` seconds."""

    start_at: datetime
    step_s: float
    values: tuple[float, ...]
    source: str = ""

    def at(self, when: datetime) -> float:
        """The value at a time; the nearest one outside the series' reach.

        Raises:
            ValueError: the series has no values.
        """
        if not self.values:
            raise ValueError(f"series {self.source!r} has no values")
        index = int((when - self.start_at).total_seconds() // self.step_s)
        return self.values[min(max(index, 0), len(self.values) - 1)]

    def sample(self, times: Sequence[datetime]) -> list[float]:
        """The values at several times."""
        return [self.at(when) for when in times]


def constant(value: float, at: datetime, source: str = "constant") -> Series:
    """A series that never changes."""
    return Series(at, 86400.0, (value,), source)
