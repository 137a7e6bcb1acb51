"""Time-of-use tables with seasons, holidays and editions."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agents.collectors.base import CollectorError, Span
from agents.collectors.price import price
from agents.source_keys import Price
from scheduler.domain.series import Series

HEADER = "province,season,effective,band,hours_local_start_inclusive,multiplier_on_flat\n"
DAY = ",".join(map(str, range(24)))
NIGHT = "0,1,2,3,4,5,22,23"
REST = ",".join(str(hour) for hour in range(6, 22))
# The real table that the demo uses as well: Gansu's of 2021.
GANSU = Path(__file__).resolve().parents[3] / "examples" / "demo" / "data" / "tariffs.csv"


def rows(season: str, effective: str, valley: float) -> str:
    return (
        f'X,{season},{effective},valley,"{NIGHT}",{valley}\n'
        f'X,{season},{effective},flat,"{REST}",1.0\n'
    )


def read(folder: Path, text: str, at: datetime, **more: object) -> Series:
    table = folder / "tou.csv"
    table.write_text(HEADER + text)
    keys = Price.model_validate({"table": table, "flat_yuan_per_kwh": 1.0, **more})
    return price(keys, "X").read(Span(at, 900.0, 2 * 86400.0))


def china(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)


def test_gansus_real_table_over_two_days() -> None:
    keys = Price(table=GANSU, flat_yuan_per_kwh=0.398)
    series = price(keys, "Gansu").read(Span(china(2026, 6, 1), 900.0, 2 * 86400.0))
    assert len(series.values) == 192
    assert [round(series.values.count(v) / 8) for v in (0.597, 0.398, 0.199)] == [8, 8, 8]
    assert series.at(china(2026, 6, 2, 13)) == 0.199
    assert series.read_at is not None


def test_seasons_change_at_midnight_of_their_own_time_zone(tmp_path: Path) -> None:
    text = rows("Jul-Sep", "unstated", 0.3) + rows("other", "unstated", 0.5)
    series = read(tmp_path, text, china(2026, 6, 30))
    assert series.at(china(2026, 6, 30, 23)) == 0.5
    assert series.at(china(2026, 7, 1, 0)) == 0.3
    assert read(tmp_path, text, china(2026, 9, 30)).at(china(2026, 10, 1, 1)) == 0.5
    winter = rows("Nov-Feb", "unstated", 0.7) + rows("Mar-Oct", "unstated", 0.6)
    assert read(tmp_path, winter, china(2026, 12, 31)).at(china(2027, 1, 1)) == 0.7
    utc = read(tmp_path, text, datetime(2026, 6, 30, 12, tzinfo=UTC), time_zone="UTC")
    assert utc.at(datetime(2026, 7, 1, tzinfo=UTC) - timedelta(minutes=1)) == 0.5


def test_holidays_have_their_own_rows(tmp_path: Path) -> None:
    text = rows("all", "unstated", 0.5) + f'X,holiday,unstated,deep,"{DAY}",0.2\n'
    on = date(2026, 10, 1)
    series = read(tmp_path, text, china(2026, 9, 30), holidays=[on])
    assert series.at(china(2026, 9, 30, 12)) == 1.0
    assert series.at(china(2026, 10, 1, 12)) == 0.2
    assert read(tmp_path, text, china(2026, 10, 1)).at(china(2026, 10, 1, 12)) == 1.0


def test_a_new_edition_counts_from_its_day_on(tmp_path: Path) -> None:
    text = rows("all", "2024-01-01", 0.5) + rows("all", "2026-07-01", 0.4)
    series = read(tmp_path, text, china(2026, 6, 30))
    assert (series.at(china(2026, 6, 30, 23)), series.at(china(2026, 7, 1))) == (0.5, 0.4)
    assert read(tmp_path, text, china(2019, 6, 30)).at(china(2019, 6, 30)) == 0.5


def test_a_season_without_all_hours_is_named_with_its_day(tmp_path: Path) -> None:
    text = rows("Jul-Sep", "unstated", 0.3) + f'X,other,unstated,valley,"{NIGHT}",0.5\n'
    assert read(tmp_path, text, china(2026, 7, 10)).at(china(2026, 7, 10)) == 0.3
    with pytest.raises(CollectorError, match=r"hours \[6, .*21\] on 2026-10-01 \(season 'other'"):
        read(tmp_path, text, china(2026, 9, 30))
    with pytest.raises(CollectorError, match=r"season 'all'"):
        read(tmp_path, rows("Jul", "unstated", 0.3), china(2026, 1, 1))
