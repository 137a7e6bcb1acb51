"""What every collector is: a name, and a reading at a moment."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class CollectorError(Exception):
    """A source could not be read or does not make sense; the message names source and cause."""


@dataclass(frozen=True, slots=True)
class Span:
    """What the scheduler plans over: from ``now_at``, in slots of ``slot_s``, for ``reach_s``
    seconds of the power clock.
    """

    now_at: datetime
    slot_s: float
    reach_s: float

    @property
    def step_s(self) -> float:
        """Step of series over this span: the slot, but never so long that it hides an hour."""
        return min(self.slot_s, 3600.0)

    @property
    def start_at(self) -> datetime:
        """Beginning of the step that holds ``now_at``; steps begin at multiples since the epoch."""
        start_s = self.now_at.timestamp() // self.step_s * self.step_s
        return datetime.fromtimestamp(start_s, UTC)

    def times(self) -> list[datetime]:
        """Beginning of every step, so that the last reaches the end of the span."""
        first_s = self.start_at.timestamp()
        end_s = self.now_at.timestamp() + self.reach_s
        count = max(1, -int(-(end_s - first_s) // self.step_s))
        return [datetime.fromtimestamp(first_s + i * self.step_s, UTC) for i in range(count)]


class Collector(Protocol[T_co]):
    """One source of facts. ``read`` may block; it is called in a thread of its own."""

    @property
    def name(self) -> str:
        """For people and logs: what is read, and where."""
        ...

    def read(self, span: Span) -> T_co:
        """The facts now; series over the span, in the power clock.

        Raises:
            CollectorError: the source cannot be read or does not make sense.
        """
        ...
