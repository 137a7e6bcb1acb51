"""Power price from a time-of-use table: bands by local hour, each a multiple of a flat price."""

import csv
import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError, Span
from scheduler.domain.series import Series

COLUMNS = ("province", "season", "hours_local_start_inclusive", "multiplier_on_flat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ALL, OTHER, HOLIDAY = "all", "other", "holiday"

# Multiple of the flat price by local hour.
Hours = dict[int, float]


@dataclass(slots=True)
class _Edition:
    """What holds from one day on: hours by season, as the table names it."""

    seasons: dict[str, Hours]

    def hours(self, day: date, holidays: Collection[date]) -> tuple[str, Hours]:
        """The season of a day and its hours: a holiday's, its month's, the other months', or those
        of all days, whichever the table has."""
        if HOLIDAY in self.seasons and day in holidays:
            return HOLIDAY, self.seasons[HOLIDAY]
        for season, hours in self.seasons.items():
            if day.month in _months(season):
                return season, hours
        season = OTHER if OTHER in self.seasons else ALL
        return season, self.seasons.get(season, {})


class TariffTable:
    """Reads the rows of one province anew at every reading, so that a new table counts at once.

    Hour ``h`` stands for h:00 to h+1:00 local time. A ``season`` is ``all``, months (``Jul-Sep``,
    ``Jan,Dec``), ``other`` (the months that no other row names) or ``holiday`` (``holidays``). Rows
    with a day in the column ``effective`` hold from that day on, until those with a later one do;
    the first also before.
    """

    def __init__(
        self,
        table: Path,
        *,
        province: str,
        flat_yuan_per_kwh: float,
        time_zone: str,
        holidays: Collection[date] = (),
    ) -> None:
        self.name = f"price (tariff table {table.name}, {province})"
        self._table = table
        self._province = province
        self._flat_yuan_per_kwh = flat_yuan_per_kwh
        self._zone = ZoneInfo(time_zone)
        self._holidays = frozenset(holidays)

    def read(self, span: Span) -> Series:
        """Price to the door in yuan/kWh per step."""
        editions = self._editions()
        by_day: dict[date, Hours] = {}
        values = []
        for at in span.times():
            local = at.astimezone(self._zone)
            day = local.date()
            if day not in by_day:
                by_day[day] = self._of_day(editions, day)
            values.append(round(self._flat_yuan_per_kwh * by_day[day][local.hour], 6))
        read_at = datetime.fromtimestamp(int(self._table.stat().st_mtime), UTC)
        source = f"tariff table {self._table.name}"
        told = tuple(values)
        return Series(span.start_at, span.step_s, told, source, read_at=read_at, standing=True)

    def _of_day(self, editions: dict[date, _Edition], day: date) -> Hours:
        in_force = max((start for start in editions if start <= day), default=min(editions))
        season, hours = editions[in_force].hours(day, self._holidays)
        missing = sorted(set(range(24)) - hours.keys())
        if missing:
            raise CollectorError(
                f"{self._table}: no band of {self._province!r} holds the hours {missing} "
                f"on {day.isoformat()} (season {season!r})"
            )
        return hours

    def _editions(self) -> dict[date, _Edition]:
        """What the table says of the province, by the day from which it holds."""
        editions: dict[date, _Edition] = {}
        for line, row in self._rows():
            where = f"{self._table}:{line}"
            season = (row["season"] or "").strip().lower()
            if season not in (ALL, OTHER, HOLIDAY) and not _months(season):
                raise CollectorError(
                    f"{where}: season {row['season']!r}; use all, months like Jul-Sep, other or "
                    f"holiday"
                )
            seasons = editions.setdefault(_effective(row), _Edition({})).seasons
            hours = seasons.setdefault(season, {})
            multiplier = _multiplier(row, where)
            for hour in _hours(row, where):
                if hour in hours:
                    raise CollectorError(
                        f"{where}: hour {hour} of {self._province} is in two bands"
                    )
                hours[hour] = multiplier
        return editions

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


def _effective(row: dict[str, str]) -> date:
    """The day from which a row holds; any words, such as "unstated", stand for since ever."""
    try:
        return date.fromisoformat((row.get("effective") or "").strip())
    except ValueError:
        return date.min


def _months(season: str) -> frozenset[int]:
    """The months that ``jul-sep`` or ``jan,nov-dec`` names; none if it names none."""
    months: set[int] = set()
    for part in season.split(","):
        first, _, last = (word.strip()[:3] for word in part.partition("-"))
        if first not in MONTHS or (last or first) not in MONTHS:
            return frozenset()
        begin, end = MONTHS.index(first), MONTHS.index(last or first)
        months |= {1 + (begin + i) % 12 for i in range((end - begin) % 12 + 1)}
    return frozenset(months)


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
