"""What agents say, also newer or broken ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from scheduler.domain.fleet import SickAccelerator, Site
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.series import Quantile
from scheduler.rpc import convert_nodes
from scheduler.rpc.convert_nodes import GarbledError
from tests.fakes.clock import ManualClock
from westward.v1 import job_pb2, node_pb2


def test_what_only_newer_agents_say_of_an_attempt_ends_nothing() -> None:
    message = node_pb2.ObservedAttempt(attempt_id="j-1", state=99)  # type: ignore[arg-type]
    message.reason.code = "EATEN"
    message.reason.message = "by a grue\0"
    seen = convert_nodes.seen(message)
    assert seen.state is AttemptState.STARTING
    assert seen.reason is not None
    assert (seen.reason.code, seen.reason.message) == (ReasonCode.WORKER_LOST, "by a grue")


@pytest.mark.parametrize("seconds", [-(2**62), 2**62])
def test_a_time_that_is_none_is_garbled(seconds: int) -> None:
    message = node_pb2.ObservedAttempt(attempt_id="j-1", state=job_pb2.ATTEMPT_STATE_RUNNING)
    message.started_at.seconds = seconds
    with pytest.raises(GarbledError, match="started_at"):
        convert_nodes.seen(message)
    facts = node_pb2.SiteFacts(pue=node_pb2.Series(start_at=Timestamp(seconds=seconds)))
    with pytest.raises(GarbledError, match=r"site\.pue\.start_at"):
        convert_nodes.site_facts(facts)


def test_names_lose_what_no_terminal_and_no_database_takes() -> None:
    facts = convert_nodes.node_facts(node_pb2.NodeFacts(accelerator="A\x1b[31m\0800"))
    assert facts["accelerator"] == "A[31m800"


def test_what_a_node_tells_for_its_operator_is_kept_as_far_as_it_makes_sense() -> None:
    facts = node_pb2.NodeFacts(pflops=float("nan"), disk_free_gb=-1, gpu_source="NVML\0")
    facts.sick.add(id="GPU-1\x1b", reason="XID 79", attempt_ids=["j-1"])
    health = convert_nodes.node_health(facts)
    assert (health.pflops, health.disk_free_gb, health.gpu_draw_kw) == (0.0, 0.0, None)
    assert health.gpu_source == "NVML"
    assert health.sick == (SickAccelerator("GPU-1", "XID 79", ("j-1",)),)
    facts.sick.extend([facts.sick[0]] * 1000)
    assert len(convert_nodes.node_health(facts).sick) == convert_nodes.SICK_MOST


def told_series(start_at: datetime, **more: Any) -> node_pb2.Series:
    series = node_pb2.Series(step_s=900, values=[5, 6], source="wind farm", **more)
    series.start_at.FromDatetime(start_at)
    return series


@pytest.mark.parametrize(
    ("passed_s", "trouble", "stale"),
    [
        (60.0, "", ""),
        (60.0, "answers 503", "answers 503"),
        (3600.0, "", "it ended 0.5 h ago"),
    ],
)
def test_where_series_come_from_and_whether_they_are_stale(
    passed_s: float, trouble: str, stale: str
) -> None:
    clock = ManualClock()
    green = told_series(clock.now(), trouble=trouble, measured=1, from_share=True)
    green.read_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=120))
    constant = told_series(clock.now())
    del constant.values[1:]
    facts = node_pb2.SiteFacts(price_yuan_per_kwh=constant, green_supply_kw=green, pue=constant)
    site = Site(cluster="qy", **convert_nodes.site_facts(facts))
    clock.pass_s(passed_s)
    price, supply, pue = convert_nodes.series_states(site, clock)
    assert (supply.name, supply.source, supply.stale) == ("green supply", "wind farm", stale)
    assert (supply.measured, supply.from_share) == (passed_s < 900, True)
    assert supply.age_s == pytest.approx(120, abs=5)
    # One value holds for as long as it is told.
    assert [(one.stale, one.HasField("age_s")) for one in (price, pue)] == [("", False)] * 2


def test_series_keep_their_quantiles_and_carbon_may_be_one() -> None:
    series = node_pb2.Series(
        start_at=Timestamp(seconds=1_700_000_000),
        step_s=900,
        values=[5, 6],
        quantiles=[node_pb2.Quantile(q=0.1, values=[1, 2])],
    )
    facts = node_pb2.SiteFacts(green_supply_kw=series, grid_carbon_g_per_kwh=477)
    told = convert_nodes.site_facts(facts)
    assert told["green_supply_kw"].quantiles == (Quantile(0.1, (1.0, 2.0)),)
    assert told["grid_carbon_g_per_kwh"] == 477
    facts.grid_carbon.CopyFrom(series)
    assert convert_nodes.site_facts(facts)["grid_carbon_g_per_kwh"].values == (5.0, 6.0)
