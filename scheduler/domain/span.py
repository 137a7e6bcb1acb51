"""Stretches of time."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    start_at: datetime
    end_at: datetime

    @property
    def seconds(self) -> float:
        return (self.end_at - self.start_at).total_seconds()


def runs_between(
    start_at: datetime, end_at: datetime, pauses: tuple[Span, ...]
) -> tuple[Span, ...]:
    """What pauses leave of a stretch, in order."""
    starts = [start_at, *(pause.end_at for pause in pauses)]
    ends = [*(pause.start_at for pause in pauses), end_at]
    return tuple(Span(start, end) for start, end in zip(starts, ends, strict=True))
