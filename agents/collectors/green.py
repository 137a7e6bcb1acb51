"""Green supply from a file: a typical day by local hour, or a forecast by time stamp."""

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError, Span
from scheduler.domain.series import Quantile, Series

# A column of a quantile, in percent.
_QUANTILE = re.compile(r"p([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class _Row:
    """``kw`` are the supply and its quantiles, in the order of the columns."""

    line: int
    when: str
    kw: tuple[float, ...]


class GreenFile:
    """Reads the file anew at every reading, so that a new forecast counts at once.

    The columns ``hour,kw`` give each local hour 0 to 23 of every day; ``at,kw`` gives time stamps
    in ISO 8601 (local time unless they carry an offset), each value holding until the next stamp.
    Outside of what the file knows, supply is 0: green power is never promised on a guess. Columns
    ``p10``, ``p90`` and the like tell how sure a forecast is: what it stays below in so many of 100
    cases.
    """

    def __init__(self, file: Path, *, time_zone: str) -> None:
        self.name = f"green supply (file {file.name})"
        self._file = file
        self._zone = ZoneInfo(time_zone)

    def read(self, span: Span) -> Series:
        """Green supply for this cluster in kW per step."""
        key, columns, rows = self._rows()
        supply_kw = self._by_hour(rows) if key == "hour" else self._by_stamp(rows, span)
        values, *sure = zip(*(supply_kw(at) for at in span.times()), strict=True)
        quantiles = [Quantile(int(c[1:]) / 100, kw) for c, kw in zip(columns, sure, strict=True)]
        return Series(
            span.start_at,
            span.step_s,
            values,
            f"file {self._file.name}",
            tuple(sorted(quantiles, key=lambda quantile: quantile.q)),
        )

    def _rows(self) -> tuple[str, list[str], list[_Row]]:
        """The column of times, those of quantiles, and the rows."""
        try:
            with self._file.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                key = next((key for key in ("hour", "at") if {key, "kw"} <= columns), None)
                if key is None:
                    raise CollectorError(f"{self._file}:1: the columns must be hour,kw or at,kw")
                quantiles = sorted(filter(_QUANTILE.fullmatch, columns))
                if "p50" in quantiles:
                    raise CollectorError(f"{self._file}:1: leave p50 out: kw is the median")
                names = ["kw", *quantiles]
                lines = [
                    (reader.line_num, row[key] or "", [(n, row[n] or "") for n in names])
                    for row in reader
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CollectorError(f"{self._file}: cannot be read: {error}") from error
        if not lines:
            raise CollectorError(f"{self._file}: holds no values")
        rows = [
            _Row(line, when, tuple(self._kw(line, name, text) for name, text in figures))
            for line, when, figures in lines
        ]
        return key, quantiles, rows

    def _kw(self, line: int, name: str, text: str) -> float:
        try:
            kw = float(text)
        except ValueError as error:
            raise CollectorError(f"{self._file}:{line}: {name} {text!r} is not a number") from error
        if not (math.isfinite(kw) and kw >= 0):
            raise CollectorError(f"{self._file}:{line}: {name} {text!r} is not 0 or more")
        return kw

    def _by_hour(self, rows: list[_Row]) -> Callable[[datetime], tuple[float, ...]]:
        supply_kw: dict[int, tuple[float, ...]] = {}
        for row in rows:
            hour = int(row.when) if row.when.isdecimal() else -1
            if not 0 <= hour <= 23 or hour in supply_kw:
                raise CollectorError(
                    f"{self._file}:{row.line}: hour {row.when!r} is repeated or not within 0 to 23"
                )
            supply_kw[hour] = row.kw
        missing = sorted(set(range(24)) - supply_kw.keys())
        if missing:
            raise CollectorError(f"{self._file}: the hours {missing} are missing")
        return lambda at: supply_kw[at.astimezone(self._zone).hour]

    def _by_stamp(self, rows: list[_Row], span: Span) -> Callable[[datetime], tuple[float, ...]]:
        stamps = [self._stamp(row) for row in rows]
        for before, after, row in zip(stamps, stamps[1:], rows[1:], strict=False):
            if after <= before:
                raise CollectorError(f"{self._file}:{row.line}: time stamps must grow")
        # The last value holds as long as the one before it did; an only value holds an hour.
        length = stamps[-1] - stamps[-2] if len(stamps) > 1 else timedelta(hours=1)
        end = stamps[-1] + length
        if not stamps[0].timestamp() - span.reach_s <= span.now_at.timestamp() < end.timestamp():
            raise CollectorError(
                f"{self._file}: covers {stamps[0].isoformat()} to {end.isoformat()}, "
                f"nothing of the time after {span.now_at.isoformat()}"
            )

        nothing = (0.0,) * len(rows[0].kw)

        def supply_kw(at: datetime) -> tuple[float, ...]:
            index = bisect_right(stamps, at) - 1
            return rows[index].kw if index >= 0 and at < end else nothing

        return supply_kw

    def _stamp(self, row: _Row) -> datetime:
        try:
            stamp = datetime.fromisoformat(row.when)
        except ValueError as error:
            raise CollectorError(
                f"{self._file}:{row.line}: {row.when!r} is not a time like 2026-06-01T12:15"
            ) from error
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=self._zone)).astimezone(UTC)
