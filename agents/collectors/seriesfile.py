"""Values over time from a CSV file: a typical day by local hour, or values by time stamp."""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError
from agents.collectors.known import Known, Values, stepwise

# A column of a quantile, in percent.
_QUANTILE = re.compile(r"p([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    when: str
    values: Values


class SeriesFile:
    """Reads the file anew at every reading, so that a new one counts at once.

    The columns ``hour`` and ``column`` give each local hour 0 to 23 of every day; ``at`` and
    ``column`` give time stamps in ISO 8601 (local time unless they carry an offset), each value
    holding until the next stamp, the last as long as the one before it. Columns ``p10``, ``p90``
    and the like tell how sure a forecast is: what it stays below in so many of 100 cases.
    """

    def __init__(
        self, file: Path, column: str, *, time_zone: str, scale: float, negative: bool = False
    ) -> None:
        self.source = f"file {file.name}"
        self._file = file
        self._column = column
        self._zone = ZoneInfo(time_zone)
        self._scale = scale
        self._negative = negative

    def known(self, now_at: datetime) -> Known:
        """What the file tells.

        Raises:
            CollectorError: it cannot be read or does not make sense.
        """
        try:
            read_at = datetime.fromtimestamp(int(self._file.stat().st_mtime), UTC)
        except OSError as error:
            raise CollectorError(f"{self._file}: cannot be read: {error}") from error
        key, columns, rows = self._rows()
        qs = [int(column[1:]) / 100 for column in columns]
        # Columns stand in any order, quantiles ascend.
        order = sorted(range(len(qs)), key=lambda index: qs[index])
        ordered = [
            _Row(row.line, row.when, (row.values[0], *(row.values[1 + index] for index in order)))
            for row in rows
        ]
        sure = tuple(sorted(qs))
        return (
            self._by_hour(ordered, sure, read_at)
            if key == "hour"
            else self._by_stamp(ordered, sure, read_at)
        )

    def _rows(self) -> tuple[str, list[str], list[_Row]]:
        """The column of times, those of quantiles, and the rows."""
        wanted = self._column
        try:
            with self._file.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                columns = set(reader.fieldnames or ())
                key = next((key for key in ("hour", "at") if {key, wanted} <= columns), None)
                if key is None:
                    raise CollectorError(
                        f"{self._file}:1: the columns must be hour,{wanted} or at,{wanted}"
                    )
                quantiles = sorted(filter(_QUANTILE.fullmatch, columns))
                if "p50" in quantiles:
                    raise CollectorError(f"{self._file}:1: leave p50 out: {wanted} is the median")
                names = [wanted, *quantiles]
                lines = [
                    (reader.line_num, row[key] or "", [(n, row[n] or "") for n in names])
                    for row in reader
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CollectorError(f"{self._file}: cannot be read: {error}") from error
        if not lines:
            raise CollectorError(f"{self._file}: holds no values")
        rows = [
            _Row(line, when, tuple(self._value(line, name, text) for name, text in figures))
            for line, when, figures in lines
        ]
        return key, quantiles, rows

    def _value(self, line: int, name: str, text: str) -> float:
        try:
            value = float(text) * self._scale
        except ValueError as error:
            raise CollectorError(f"{self._file}:{line}: {name} {text!r} is not a number") from error
        if not math.isfinite(value) or (value < 0 and not self._negative):
            least = "finite" if self._negative else "0 or more"
            raise CollectorError(f"{self._file}:{line}: {name} {text!r} is not {least}")
        return value

    def _by_hour(self, rows: list[_Row], qs: tuple[float, ...], read_at: datetime) -> Known:
        by_hour: dict[int, Values] = {}
        for row in rows:
            hour = int(row.when) if row.when.isdecimal() else -1
            if not 0 <= hour <= 23 or hour in by_hour:
                raise CollectorError(
                    f"{self._file}:{row.line}: hour {row.when!r} is repeated or not within 0 to 23"
                )
            by_hour[hour] = row.values
        missing = sorted(set(range(24)) - by_hour.keys())
        if missing:
            raise CollectorError(f"{self._file}: the hours {missing} are missing")

        def at(when: datetime) -> Values:
            return by_hour[when.astimezone(self._zone).hour]

        return Known(at, self.source, qs=qs, read_at=read_at)

    def _by_stamp(self, rows: list[_Row], qs: tuple[float, ...], read_at: datetime) -> Known:
        stamps = [self._stamp(row) for row in rows]
        for before, after, row in zip(stamps, stamps[1:], rows[1:], strict=False):
            if after <= before:
                raise CollectorError(f"{self._file}:{row.line}: time stamps must grow")
        end = end_of(stamps)
        at = stepwise(stamps, [row.values for row in rows], end)
        return Known(at, self.source, stamps[0], end, qs, read_at=read_at)

    def _stamp(self, row: _Row) -> datetime:
        try:
            stamp = datetime.fromisoformat(row.when)
            return (stamp if stamp.tzinfo else stamp.replace(tzinfo=self._zone)).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise CollectorError(
                f"{self._file}:{row.line}: {row.when!r} is not a time like 2026-06-01T12:15"
            ) from error


def end_of(stamps: Sequence[datetime]) -> datetime:
    """The last value holds as long as the one before it did; an only value holds an hour.

    Raises:
        CollectorError: that is after the year 9999.
    """
    length = stamps[-1] - stamps[-2] if len(stamps) > 1 else timedelta(hours=1)
    try:
        return stamps[-1] + length
    except OverflowError as error:
        raise CollectorError(f"{stamps[-1].isoformat()} is too far in the future") from error
