"""Sources that are asked over HTTP, by a server in this process: JSON, and Prometheus's API."""

import json
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.collectors import remote
from agents.collectors import site as site_sources
from agents.collectors.base import CollectorError, Span
from agents.collectors.green import GreenSupply
from agents.collectors.price import FedPrice
from agents.source_keys import Feed, Green, Http, MeteredPue, Price, Prometheus
from tests.fakes.web import Web, served

NOW = datetime(2026, 6, 1, 4, 7, tzinfo=UTC)
SPAN = Span(NOW, 900.0, 2 * 86400.0)
DAY_STEPS = 96


@pytest.fixture
def web() -> Iterator[Web]:
    with served() as web:
        yield web


def day_ahead(start_at: datetime, values: list[float]) -> dict[str, Any]:
    rows = [
        {"at": (start_at + timedelta(hours=hour)).isoformat(), "price": value}
        for hour, value in enumerate(values)
    ]
    return {"data": rows}


def day_ahead_price(web: Web, **more: Any) -> FedPrice:
    http = Http(url=web.url, values="$.data[*].price", times="$.data[*].at", **more)
    return FedPrice(Price(http=http, scale=0.001))


def test_day_ahead_prices_over_http_are_repeated_for_the_day_not_told_yet(web: Web) -> None:
    told = [300.0 + hour for hour in range(24)]
    web.answer = day_ahead(datetime(2026, 6, 1, tzinfo=UTC), told)
    series = day_ahead_price(web).read(SPAN)
    assert (series.start_at, len(series.values)) == (
        NOW.replace(minute=0),
        2 * DAY_STEPS + 1,
    )
    assert series.at(NOW) == pytest.approx(0.304)
    for hours, expected in ((1, 0.305), (19, 0.323), (20, 0.300), (30, 0.310), (47, 0.303)):
        assert series.at(NOW + timedelta(hours=hours)) == pytest.approx(expected)
    assert series.source == f"http {web.url.removeprefix('http://')}"
    assert series.measured == 0
    assert series.read_at is not None
    assert abs((datetime.now(UTC) - series.read_at).total_seconds()) < 5


def test_a_service_is_asked_at_its_interval_with_its_token(web: Web, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open sesame\n")
    web.answer = day_ahead(NOW.replace(minute=0), [300.0])
    often = day_ahead_price(web, token_file=token, every_s=1e-9)
    seldom = day_ahead_price(web)
    for _ in range(3):
        often.read(SPAN)
        seldom.read(SPAN)
    assert len(web.asked) == 4
    assert set(web.tokens) == {"Bearer open sesame", None}


def test_a_service_that_falls_silent_is_told_with_its_trouble_and_not_for_ever() -> None:
    clock_s, answers = 0.0, [remote.Told((NOW,), (7.0,), now=True)]

    def ask(now_at: datetime) -> remote.Told:
        if not answers:
            raise CollectorError("http meter: cannot be reached")
        return answers.pop()

    polled = remote.Polled(ask, "http meter", 60.0, clock_s=lambda: clock_s)
    assert polled.known(NOW).trouble == ""
    clock_s = 90.0
    later = NOW + timedelta(seconds=90)
    known = polled.known(later)
    assert (known.at(later), known.trouble) == ((7.0,), "http meter: cannot be reached")
    answers.append(remote.Told((later,), (8.0,), now=True))
    clock_s += remote.AGAIN_S - 1
    assert polled.known(later).at(later) == (7.0,), "it is not pestered"
    clock_s += 1
    recovered = polled.known(later)
    assert (recovered.at(later), recovered.trouble) == ((8.0,), "")
    clock_s += remote.FRESH_S + 1
    with pytest.raises(CollectorError, match="cannot be reached"):
        polled.known(later)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"data": []}, "finds 0 values"),
        ({"data": [{"price": 1, "at": "noon"}]}, "'noon' is not a time"),
        ({"data": [{"price": "dear", "at": 1}]}, "'dear' is not a number"),
        ({"data": [{"price": True, "at": 1}]}, "'True' is not a number"),
        ({"data": [{"price": 1}]}, "1 values at 0 times"),
        ({"data": [{"price": 1, "at": 9}, {"price": 1, "at": 9}]}, "times must grow"),
        ({"data": [{"price": 99e3, "at": NOW.isoformat()}]}, "99 is not within -1 to 10"),
        ({"data": [{"price": 1, "at": "2020-01-01"}]}, "nothing of the time after 2026-06-01"),
        (b"<html>", "does not answer with JSON"),
        (b"[" * 100_000, "does not answer with JSON"),
    ],
)
def test_an_answer_that_makes_no_sense_says_so(web: Web, answer: Any, told: str) -> None:
    web.answer = answer
    with pytest.raises(CollectorError, match=told):
        day_ahead_price(web).read(SPAN)


def test_errors_of_the_way_say_so(web: Web) -> None:
    web.status = 503
    web.answer = {"error": "overloaded"}
    with pytest.raises(CollectorError, match=r'answers 503 .*"overloaded"'):
        day_ahead_price(web).read(SPAN)
    gone = Price(http=Http(url="http://127.0.0.1:1/x", values="$.x"))
    with pytest.raises(CollectorError, match="cannot be reached"):
        FedPrice(gone).read(SPAN)


def matrix(*samples: tuple[float, str]) -> dict[str, Any]:
    """As Prometheus answers a query over a range."""
    series = {"metric": {"site": "qy"}, "values": [[at, value] for at, value in samples]}
    return {"status": "success", "data": {"resultType": "matrix", "result": [series]}}


def two_at(at: float) -> list[dict[str, Any]]:
    return [*matrix((at, "1"))["data"]["result"], *matrix((at, "2"))["data"]["result"]]


def test_a_series_that_ended_within_the_day_is_no_other_value(web: Web) -> None:
    ended, going = two_at(time.time())
    ended["values"] = [[time.time() - 7200, "1"]]
    web.answer = {"data": {"result": [ended, going]}}
    assert FedPrice(Price(prometheus=Prometheus(url=web.url, query="kw"))).read(SPAN).at(NOW) == 2


def prometheus(web: Web, query: str = "kw") -> Feed:
    return Feed(prometheus=Prometheus(url=f"{web.url}/", query=query))


def test_prometheus_is_asked_for_the_last_day_and_now(web: Web) -> None:
    now_s = time.time()
    steps = [now_s - 900 * step for step in range(DAY_STEPS, -1, -1)]
    web.answer = matrix(*((at, f"{0.2 + index / 1000}") for index, at in enumerate(steps)))
    keys = Price(prometheus=Prometheus(url=web.url, query='yuan{site="qy"}'))
    series = FedPrice(keys).read(SPAN)
    assert web.asked[0].startswith("/api/v1/query_range?query=yuan%7Bsite%3D%22qy%22%7D&start=")
    # The last step that began before now; then the day before, a step of 15 minutes each.
    assert series.at(NOW) == pytest.approx(0.2 + 95 / 1000)
    assert series.at(NOW + timedelta(hours=1)) == pytest.approx(0.2 + 3 / 1000)
    assert series.at(NOW + timedelta(hours=25)) == pytest.approx(0.2 + 3 / 1000)
    assert series.measured == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda _: {"data": {"result": []}}, "gives 0 values now, not one"),
        (lambda _: {"status": "error"}, "not an answer of Prometheus"),
        (lambda now_s: matrix((now_s - 7200, "1")), "gives 0 values now"),
        (lambda now_s: matrix((now_s, "NaN")), "gives 0 values now"),
        (lambda now_s: {"data": {"result": two_at(now_s)}}, "gives 2 values now, not one"),
        (lambda now_s: matrix((now_s + 9, "1"), (now_s, "1")), "times must grow"),
    ],
)
def test_what_prometheus_does_not_know_is_no_reading(
    web: Web, answer: Callable[[float], Any], told: str
) -> None:
    web.answer = answer(time.time())
    with pytest.raises(CollectorError, match=told):
        FedPrice(Price(prometheus=Prometheus(url=web.url, query="kw"))).read(SPAN)


def test_green_supply_metered_now_overrides_the_forecast_of_now_alone(
    web: Web, tmp_path: Path
) -> None:
    file = tmp_path / "green.csv"
    file.write_text("hour,kw,p10\n" + "".join(f"{hour},50,20\n" for hour in range(24)))
    web.answer = matrix((time.time(), "33"))
    green = GreenSupply(Green(file=file, actual=prometheus(web)))
    series = green.read(SPAN)
    assert series.values[:3] == (33.0, 50.0, 50.0)
    assert series.quantiles[0].values[:2] == (33.0, 20.0)
    assert (series.measured, series.trouble) == (1, "")
    web.status = 500
    broken = GreenSupply(Green(file=file, actual=prometheus(web))).read(SPAN)
    assert (broken.values[0], broken.measured) == (50.0, 0)
    assert "answers 500" in broken.trouble


def test_a_value_of_now_promises_no_green_power_for_later(web: Web) -> None:
    web.answer = {"supply": 40}
    series = GreenSupply(Green(http=Http(url=web.url, values="$.supply"))).read(SPAN)
    assert (series.values[0], set(series.values[1:])) == (40.0, {0.0})


def test_a_share_becomes_kw_of_the_metered_load_and_says_so(web: Web, tmp_path: Path) -> None:
    file = tmp_path / "share.csv"
    file.write_text("hour,share\n" + "".join(f"{hour},0.{hour % 10}\n" for hour in range(24)))
    web.answer = matrix((time.time(), "2000"))
    series = GreenSupply(Green(file=file, unit="share", load=prometheus(web))).read(SPAN)
    assert series.at(NOW) == pytest.approx(0.2 * 2000)  # 12 o'clock in Shanghai
    assert series.at(NOW + timedelta(hours=6)) == pytest.approx(0.8 * 2000)
    assert series.from_share
    assert "× load prometheus" in series.source
    file.write_text("hour,share\n" + "".join(f"{hour},1.7\n" for hour in range(24)))
    with pytest.raises(CollectorError, match=r"share 1\.7 is not within 0 to 1"):
        GreenSupply(Green(file=file, unit="share", load=prometheus(web))).read(SPAN)


def test_pue_is_metered_and_declared_while_the_meter_is_silent(web: Web) -> None:
    meters = MeteredPue(
        facility=Feed(http=Http(url=web.url, values="$.door", every_s=1e-9)),
        it=Feed(http=Http(url=web.url, values="$.it", every_s=1e-9)),
    )
    metered = site_sources.pue(meters, 1.3)
    web.answer = {"door": 1150, "it": 1000}
    series = metered.read(SPAN)
    assert (series.values, series.measured, series.trouble) == ((1.15,), 1, "")
    web.answer = {"door": 1000, "it": 1150}
    series = metered.read(SPAN)
    assert series.values == (1.3,)
    assert "are the meters the right way round?" in series.trouble
    web.answer = {"pue": 1.2}
    feed = Feed(http=Http(url=web.url, values="$.pue"))
    assert set(site_sources.pue(MeteredPue(pue=feed), 1.3).read(SPAN).values) == {1.2}


def test_carbon_over_time_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "carbon.csv"
    file.write_text("at,g_per_kwh\n2026-06-01T12:00,500\n2026-06-01T12:30,400\n")
    carbon = site_sources.carbon(Feed(file=file), 480)
    series = carbon.read(SPAN)
    assert series.values[:5] == (500.0, 500.0, 400.0, 400.0, 400.0)
    file.unlink()
    series = carbon.read(SPAN)
    assert series.values == (480,)
    assert "cannot be read" in series.trouble


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=60)
    | json_values.map(lambda told: json.dumps(told).encode())
    | json_values.map(lambda told: json.dumps({"data": {"result": [told]}}).encode())
    | st.lists(st.lists(json_values, max_size=3), max_size=3).map(
        lambda told: json.dumps({"data": {"result": [{"values": told}]}}).encode()
    )
    | st.lists(st.fixed_dictionaries({"price": json_values, "at": json_values}), max_size=3).map(
        lambda told: json.dumps({"data": told}).encode()
    )
)
def test_whatever_a_service_answers_is_a_series_or_a_reason(web: Web, body: bytes) -> None:
    web.answer = body
    asked = (
        day_ahead_price(web),
        FedPrice(Price(prometheus=Prometheus(url=web.url, query="kw"))),
    )
    for source in asked:
        try:
            series = source.read(SPAN)
        except CollectorError:
            continue
        assert len(series.values) == 2 * DAY_STEPS + 1
        assert all(math.isfinite(value) and -1 <= value <= 10 for value in series.values)
