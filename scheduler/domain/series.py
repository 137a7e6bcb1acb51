"""Values over time: tariffs, green supply, PUE."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Quantile:
    """What a forecast stays below with probability ``q``, 0 to 1: one value per step."""

    q: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Value ``i`` holds from ``start_at + i * step_s`` for ``step_s`` seconds.

    A forecast may tell how sure it is: ``quantiles``, ascending, each as long as ``values``, which
    are its median. The first ``measured`` values were measured; ``from_share`` says that they were
    worked out from a share and a load. ``read_at`` is when the source told them, in real time
    (None: not known), and ``trouble`` why it tells no newer ones. What is ``standing``, as a tariff
    table or a typical day, holds until it is replaced, however old (None: its agent does not say).
    ``doubt`` is why the scheduler takes the values for old, for people; empty while it trusts them.
    """

    start_at: datetime
    step_s: float
    values: tuple[float, ...]
    source: str = ""
    quantiles: tuple[Quantile, ...] = ()
    read_at: datetime | None = None
    trouble: str = ""
    measured: int = 0
    from_share: bool = False
    standing: bool | None = False
    doubt: str = ""

    def stale(self, now: datetime) -> str:
        """Why the series no longer tells of the present (``now`` in its own clock), for people;
        empty while it does. One value that holds for ever never ends."""
        if self.trouble:
            return self.trouble
        end_s = self.start_at.timestamp() + self.step_s * len(self.values)
        if len(self.values) > 1 and now.timestamp() >= end_s:
            return f"it ended {(now.timestamp() - end_s) / 3600:.1f} h ago"
        return ""

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

    def at_quantile(self, q: float) -> "Series":
        """The series with its values at a quantile: on the line between the two nearest that are
        known (the values themselves are 0.5), the outermost one beyond them."""
        if not self.quantiles or q == 0.5:
            return self
        known = sorted([(0.5, self.values), *((one.q, one.values) for one in self.quantiles)])
        below = max((one for one in known if one[0] <= q), default=known[0])
        above = min((one for one in known if one[0] >= q), default=known[-1])
        if below[0] == above[0]:
            return replace(self, values=below[1])
        part = (q - below[0]) / (above[0] - below[0])
        values = tuple(
            low + part * (high - low) for low, high in zip(below[1], above[1], strict=True)
        )
        return replace(self, values=values)


def constant(value: float, at: datetime, source: str = "constant") -> Series:
    """A series that never changes."""
    return Series(at, 86400.0, (value,), source)
