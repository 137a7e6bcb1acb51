"""Each source: what it reads when it is sound, and what it says when it is not."""

import math
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import wire
from agents.collectors.accelerators import AcceleratorFacts, DeclaredAccelerators
from agents.collectors.base import CollectorError, Span
from agents.collectors.green import GreenSupply
from agents.collectors.host import PsutilHost
from agents.collectors.reading import Reading
from agents.collectors.site import Declared
from agents.collectors.tariff import TariffTable
from agents.config import Accelerators, Host
from agents.source_keys import Green
from scheduler.domain.series import Series

# 06:07 in Gansu, where clocks show Beijing's time.
NOW = datetime(2026, 5, 31, 22, 7, tzinfo=UTC)
DAY = Span(NOW, 900.0, 86400.0)
HEADER = "province,season,effective,band,hours_local_start_inclusive,multiplier_on_flat,trust\n"
# Gansu's bands as its notice of 2020 states them, in force since 2021-01-01; facts, no licence.
GANSU = (
    HEADER
    + 'Gansu,all,2021-01-01,peak,"7,8,18,19,20,21,22,23",1.5,text of the notice\n'
    + 'Gansu,all,2021-01-01,valley,"2,3,11,12,13,14,15,16",0.5,\n'
    + 'Gansu,all,2021-01-01,flat,"0,1,4,5,6,9,10,17",1.0,\n'
    + 'Shanghai,other,unstated,peak,"8,9,10",,\n'
)


def gansu(folder: Path, text: str = GANSU, province: str = "Gansu") -> TariffTable:
    table = folder / "tou.csv"
    table.write_text(text, encoding="utf-8")
    return TariffTable(table, province=province, flat_yuan_per_kwh=0.4, time_zone="Asia/Shanghai")


def green(folder: Path, text: str) -> GreenSupply:
    file = folder / "green.csv"
    file.write_text(text, encoding="utf-8")
    return GreenSupply(Green(file=file))


def test_price_follows_the_bands_of_local_time(tmp_path: Path) -> None:
    series = gansu(tmp_path).read(DAY)
    assert series.start_at == datetime(2026, 5, 31, 22, 0, tzinfo=UTC)
    assert series.at(NOW) == 0.4
    assert series.at(datetime(2026, 5, 31, 23, 0, tzinfo=UTC)) == 0.6  # 07:00
    assert series.at(datetime(2026, 6, 1, 3, 59, tzinfo=UTC)) == 0.2  # 11:59
    assert series.source == "tariff table tou.csv"
    hours = series.values[:96]
    assert (hours.count(0.6), hours.count(0.2), hours.count(0.4)) == (32, 32, 32)


@given(
    st.integers(946_684_800, 4_102_444_800).map(lambda s: datetime.fromtimestamp(s, UTC)),
    st.floats(1, 1e5),
    st.floats(1, 1e6),
)
def test_a_series_reaches_from_now_to_the_end_of_the_span(
    now_at: datetime, slot_s: float, reach_s: float
) -> None:
    span = Span(now_at, slot_s, min(reach_s, slot_s * 500))
    times = span.times()
    assert times[0] <= now_at
    assert times[0].timestamp() > now_at.timestamp() - span.step_s - 1e-3
    end_s = times[-1].timestamp() + span.step_s
    assert end_s >= now_at.timestamp() + span.reach_s - 1e-3
    assert span.step_s <= 3600


@pytest.mark.parametrize(
    ("text", "province", "told"),
    [
        ("a,b\n1,2\n", "Gansu", "lacks the columns"),
        (GANSU, "Ningxia", "no rows of province 'Ningxia'; it has Gansu, Shanghai"),
        (GANSU, "Shanghai", "multiplier_on_flat '' is not a number"),
        (GANSU.replace("Gansu,all", "Gansu,Spring"), "Gansu", "season 'Spring'; use all, months"),
        (GANSU.replace('"0,1,4', '"1,4'), "Gansu", "holds the hours \\[0\\]"),
        (GANSU.replace('"0,1,4', '"0,1,2,4'), "Gansu", "hour 2 of Gansu is in two bands"),
        (GANSU.replace('"0,1,4', '"24,1,4'), "Gansu", "not within 0 to 23"),
        (GANSU.replace('"0,1,4', '"x,1,4'), "Gansu", ":4: hours 'x,1,4.*not whole"),
        (GANSU.replace(",1.5,", ",-3,"), "Gansu", "multiplier_on_flat '-3' is not 0 or more"),
        (GANSU.replace(",1.5,", ",nan,"), "Gansu", "'nan' is not 0 or more"),
        (GANSU.replace(",1.5,", ",dear,"), "Gansu", "'dear' is not a number"),
    ],
)
def test_a_bad_table_says_what_is_wrong(
    tmp_path: Path, text: str, province: str, told: str
) -> None:
    with pytest.raises(CollectorError, match=told):
        gansu(tmp_path, text, province).read(DAY)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    table = gansu(tmp_path)
    (tmp_path / "tou.csv").unlink()
    with pytest.raises(CollectorError, match=r"tou.csv: cannot be read"):
        table.read(DAY)


def test_green_supply_of_a_typical_day(tmp_path: Path) -> None:
    rows = "".join(f"{hour},{hour * 10}\n" for hour in range(24))
    series = green(tmp_path, "hour,kw\n" + rows).read(DAY)
    assert series.at(NOW) == 60.0
    assert series.at(datetime(2026, 6, 1, 15, 30, tzinfo=UTC)) == 230.0
    assert max(series.values) == 230.0


def test_green_supply_of_a_forecast_is_nothing_beyond_its_end(tmp_path: Path) -> None:
    text = "at,kw\n2026-06-01T06:00,50\n2026-06-01T06:30+08:00,70\n2026-06-01T07:00,90\n"
    series = green(tmp_path, text).read(DAY)
    assert series.values[:7] == (50.0, 50.0, 70.0, 70.0, 90.0, 90.0, 0.0)
    assert set(series.values[6:]) == {0.0}


def test_green_supply_says_how_sure_it_is(tmp_path: Path) -> None:
    text = "p90,at,kw,p10,note\n80,2026-06-01T06:00,50,20,x\n90,2026-06-01T06:15,70,40,y\n"
    series = green(tmp_path, text).read(DAY)
    low, high = series.quantiles
    assert (low.q, low.values[:3]) == (0.1, (20.0, 40.0, 0.0))
    assert (high.q, high.values[:3]) == (0.9, (80.0, 90.0, 0.0))
    assert len(low.values) == len(high.values) == len(series.values)
    assert list(wire.series(series).quantiles[1].values[:2]) == [80.0, 90.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hour,kw,p50\n0,1,1\n", "leave p50 out"),
        ("hour,kw,p10\n0,1,-2\n", ":2: p10 '-2' is not 0 or more"),
        ("hour,mw\n1,2\n", "columns must be hour,kw or at,kw"),
        ("hour,kw\n", "holds no values"),
        ("hour,kw\n0,1\n", "hours \\[1, 2, .* are missing"),
        ("hour,kw\n0,1\n0,1\n", ":3: hour '0' is repeated"),
        ("hour,kw\n24,1\n", "hour '24' is repeated or not within 0 to 23"),
        ("hour,kw\n0,-1\n", ":2: kw '-1' is not 0 or more"),
        ("hour,kw\n0,much\n", "kw 'much' is not a number"),
        ("hour,kw\n0\n", "kw '' is not a number"),
        ("at,kw\nnoon,1\n", "'noon' is not a time like"),
        ("at,kw\n2026-06-02,1\n2026-06-01,1\n", ":3: time stamps must grow"),
        ("at,kw\n2020-06-01,1\n2020-06-02,1\n", "nothing of the time after 2026-05-31"),
    ],
)
def test_a_bad_green_file_says_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CollectorError, match=told):
        green(tmp_path, text).read(DAY)


@given(st.binary(max_size=300))
def test_any_bytes_are_either_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("green") / "green.csv"
    for start in (b"", b"hour,kw\n", b"at,kw\n"):
        file.write_bytes(start + content)
        try:
            series = GreenSupply(Green(file=file)).read(DAY)
        except CollectorError:
            continue
        assert all(math.isfinite(value) and value >= 0 for value in series.values)


def test_declared_accelerators_host_and_pue(tmp_path: Path) -> None:
    declared = Accelerators(model="A800", count=8, gpu_power_kw=0.65)
    facts = AcceleratorFacts("A800", 8, 0.65, pflops=2.496)
    assert DeclaredAccelerators(declared).read(DAY) == facts
    assert DeclaredAccelerators(None).read(DAY) == AcceleratorFacts("", 0, 0.0)
    assert Declared("PUE", 1.15).read(DAY).at(NOW) == 1.15
    host = PsutilHost(Host(), tmp_path / "not" / "yet").read(DAY)
    assert host.cpus == psutil.cpu_count()
    assert host.memory_gb == pytest.approx(psutil.virtual_memory().total / 1e9)
    assert 0 <= host.cpu_load <= 1
    free_gb = psutil.disk_usage(str(tmp_path)).free / 1e9
    assert host.disk_free_gb == pytest.approx(free_gb, abs=1.0)
    assert PsutilHost(Host(cpus=4, memory_gb=16), tmp_path).read(DAY).cpus == 4


class Moody:
    """A source that answers what the test put there."""

    name = "moody"

    def __init__(self) -> None:
        self.answers: list[Series | Exception] = []

    def read(self, span: Span) -> Series:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_reading_keeps_the_last_good_value_and_says_why_it_is_old() -> None:
    moody, good = Moody(), Series(NOW, 900.0, (1.0,))
    moody.answers = [CollectorError("file gone"), good, ValueError("a bug"), good]
    reading: Reading[Series] = Reading(moody)
    await reading.refresh(DAY)
    assert (reading.value, reading.error) == (None, "file gone")
    await reading.refresh(DAY)
    assert (reading.value, reading.error) == (good, None)
    await reading.refresh(DAY)
    assert (reading.value, reading.error) == (good, "ValueError: a bug")
    await reading.refresh(DAY)
    assert reading.error is None
