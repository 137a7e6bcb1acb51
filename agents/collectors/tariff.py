"""Power price from a time-of-use table: bands by local hour, each a multiple of a flat price."""

import csv
import math
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError, Span
from scheduler.domain.series import Series

COLUMNS = ("province", "season", "hours_local_start_inclusive", "multiplier_on_flat")


class TariffTable:
    """Reads the rows of one province anew at every reading, so that a new table counts at once.

    Hour ``h`` stands for h:00 to h+1:00 local time. Only tables that hold all year
    (season "all") are understood.
    """

    def __init__(
        self, table: Path, *, province: str, flat_yuan_per_kwh: float, time_zone: str
    ) -> None:
        self.name = f"price (tariff table {table.name}, {province})"
        self._table = table
        self._province = province
        self._flat_yuan_per_kwh = flat_yuan_per_kwh
        self._zone = ZoneInfo(time_zone)

    def read(self, span: Span) -> Series:
        """Price to the door in yuan/kWh per step."""
        multipliers = self._multipliers()
        values = tuple(
            round(self._flat_yuan_per_kwh * multipliers[at.astimezone(self._zone).hour], 6)
            for at in span.times()
        )
        return Series(span.start_at, span.step_s, values, f"tariff table {self._table.name}")

    def _multipliers(self) -> dict[int, float]:
        """Multiple of the flat price by local hour, for all 24."""
        found: dict[int, float] = {}
        for line, row in self._rows():
            if row["season"] != "all":
                raise CollectorError(
                    f"{self._table}:{line}: season {row['season']!r}; only 'all' is understood"
                )
            multiplier = _multiplier(row, f"{self._table}:{line}")
            for hour in _hours(row, f"{self._table}:{line}"):
                if hour in found:
                    raise CollectorError(
                        f"{self._table}:{line}: hour {hour} of {self._province} is in two bands"
                    )
                found[hour] = multiplier
        missing = sorted(set(range(24)) - found.keys())
        if missing:
            raise CollectorError(
                f"{self._table}: no band of {self._province!r} holds the hours {missing}"
            )
        return found

    def _rows(self) -> list[tuple[int, dict[str, str]]]:
        try:
            with self._table.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                lacking = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
                if lacking:
                    raise CollectorError(f"{self._table}:1: lacks the columns {lacking}")
                rows = [(reader.line_num, row) for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CollectorError(f"{self._table}: cannot be read: {error}") from error
        mine = [(line, row) for line, row in rows if row["province"] == self._province]
        if not mine:
            known = ", ".join(sorted({row["province"] or "" for _, row in rows}))
            raise CollectorError(
                f"{self._table}: no rows of province {self._province!r}; it has {known}"
            )
        return mine


def _multiplier(row: dict[str, str], where: str) -> float:
    text = row["multiplier_on_flat"] or ""
    try:
        multiplier = float(text)
    except ValueError as error:
        raise CollectorError(f"{where}: multiplier_on_flat {text!r} is not a number") from error
    if not (math.isfinite(multiplier) and multiplier >= 0):
        raise CollectorError(f"{where}: multiplier_on_flat {text!r} is not 0 or more")
    return multiplier


def _hours(row: dict[str, str], where: str) -> list[int]:
    text = row["hours_local_start_inclusive"] or ""
    try:
        hours = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise CollectorError(f"{where}: hours {text!r} are not whole, like '7,8,18'") from error
    if not all(0 <= hour <= 23 for hour in hours):
        raise CollectorError(f"{where}: hours {text!r} are not within 0 to 23")
    return hours
