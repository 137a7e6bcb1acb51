"""Green supply from a file: a typical day by local hour, or a forecast by time stamp."""

import csv
import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError, Span
from scheduler.domain.series import Series


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    when: str
    kw: float


class GreenFile:
    """Reads the file anew at every reading, so that a new forecast counts at once.

    The columns ``hour,kw`` give each local hour 0 to 23 of every day; ``at,kw`` gives time stamps
    in ISO 8601 (local time unless they carry an offset), each value holding until the next stamp.
    Outside of what the file knows, supply is 0: green power is never promised on a guess.
    """

    def __init__(self, file: Path, *, time_zone: str) -> None:
        self.name = f"green supply (file {file.name})"
        self._file = file
        self._zone = ZoneInfo(time_zone)

    def read(self, span: Span) -> Series:
        """Green supply for this cluster in kW per step."""
        key, rows = self._rows()
        supply_kw = self._by_hour(rows) if key == "hour" else self._by_stamp(rows, span)
        values = tuple(supply_kw(at) for at in span.times())
        return Series(span.start_at, span.step_s, values, f"file {self._file.name}")

    def _rows(self) -> tuple[str, list[_Row]]:
        try:
            with self._file.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                key = next((key for key in ("hour", "at") if {key, "kw"} <= columns), None)
                if key is None:
                    raise CollectorError(f"{self._file}:1: the columns must be hour,kw or at,kw")
                lines = [(reader.line_num, row[key] or "", row["kw"] or "") for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CollectorError(f"{self._file}: cannot be read: {error}") from error
        if not lines:
            raise CollectorError(f"{self._file}: holds no values")
        return key, [_Row(line, when, self._kw(line, kw)) for line, when, kw in lines]

    def _kw(self, line: int, text: str) -> float:
        try:
            kw = float(text)
        except ValueError as error:
            raise CollectorError(f"{self._file}:{line}: kw {text!r} is not a number") from error
        if not (math.isfinite(kw) and kw >= 0):
            raise CollectorError(f"{self._file}:{line}: kw {text!r} is not 0 or more")
        return kw

    def _by_hour(self, rows: list[_Row]) -> Callable[[datetime], float]:
        supply_kw: dict[int, float] = {}
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

    def _by_stamp(self, rows: list[_Row], span: Span) -> Callable[[datetime], float]:
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

        def supply_kw(at: datetime) -> float:
            index = bisect_right(stamps, at) - 1
            return rows[index].kw if index >= 0 and at < end else 0.0

        return supply_kw

    def _stamp(self, row: _Row) -> datetime:
        try:
            stamp = datetime.fromisoformat(row.when)
        except ValueError as error:
            raise CollectorError(
                f"{self._file}:{row.line}: {row.when!r} is not a time like 2026-06-01T12:15"
            ) from error
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=self._zone)).astimezone(UTC)
