"""What a source told of values over time, and the series over a span that is made of it."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from agents.collectors.base import CollectorError, Span
from scheduler.domain.series import Quantile, Series

DAY = timedelta(days=1)
# A day that is repeated for what comes after it is at most so many days old.
REPEATED_DAYS = 7

# A value and, of a forecast that says how sure it is, its quantiles.
Values = tuple[float, ...]


class Beyond(Enum):
    """What is assumed of the time that a source tells nothing of."""

    NOTHING = auto()  # 0: green power is never promised on a guess
    SAME_HOUR = auto()  # as at the same time of the last day that is known
    HOLD = auto()  # as the nearest value that is known


@dataclass(frozen=True, slots=True)
class Known:
    """``at`` gives the values that hold at a time, None where the source tells nothing; it tells of
    ``first`` to ``end`` (None: of all times). ``qs`` are the quantiles beside the value, ascending.
    ``measured``: what holds now was measured. ``read_at``, in real time, and ``trouble`` are as
    those of ``Series``.
    """

    at: Callable[[datetime], Values | None]
    source: str
    first: datetime | None = None
    end: datetime | None = None
    qs: tuple[float, ...] = ()
    measured: bool = False
    read_at: datetime | None = None
    trouble: str = ""


def stepwise(
    stamps: Sequence[datetime], values: Sequence[Values], end: datetime
) -> Callable[[datetime], Values | None]:
    """Each value from its stamp to the next, the last to ``end``; stamps grow."""

    def at(when: datetime) -> Values | None:
        index = bisect_right(stamps, when) - 1
        return values[index] if index >= 0 and when < end else None

    return at


def project(known: Known, span: Span, beyond: Beyond) -> Series:
    """The values at every step of the span.

    Raises:
        CollectorError: the source tells nothing that could serve, only of another time.
    """
    _refuse_other_times(known, span, beyond)
    rows = [_row(known, at, beyond) for at in span.times()]
    values, *sure = zip(*rows, strict=True)
    quantiles = tuple(Quantile(q, of_q) for q, of_q in zip(known.qs, sure, strict=True))
    return Series(
        span.start_at,
        span.step_s,
        values,
        known.source,
        quantiles,
        read_at=known.read_at,
        trouble=known.trouble,
        measured=int(known.measured),
        standing=known.first is None,
    )


def _refuse_other_times(known: Known, span: Span, beyond: Beyond) -> None:
    if known.first is None or known.end is None or beyond is Beyond.HOLD:
        return
    repeated = DAY * REPEATED_DAYS if beyond is Beyond.SAME_HOUR else timedelta()
    too_old = known.end + repeated <= span.now_at
    if too_old or known.first.timestamp() > span.now_at.timestamp() + span.reach_s:
        raise CollectorError(
            f"{known.source}: covers {known.first.isoformat()} to {known.end.isoformat()}, "
            f"nothing of the time after {span.now_at.isoformat()}"
        )


def _row(known: Known, at: datetime, beyond: Beyond) -> Values:
    if (told := known.at(at)) is not None:
        return told
    if beyond is Beyond.NOTHING:
        return (0.0,) * (1 + len(known.qs))
    if beyond is Beyond.SAME_HOUR:
        for days in range(1, REPEATED_DAYS + 2):
            if (told := known.at(at - days * DAY)) is not None:
                return told
    return _nearest(known, at)


def _nearest(known: Known, at: datetime) -> Values:
    assert known.first is not None and known.end is not None, "what is known of all times has none"
    before_end = known.end - timedelta(microseconds=1)
    told = known.at(min(max(at, known.first), before_end))
    assert told is not None, f"{known.source} tells nothing within its own bounds"
    return told
