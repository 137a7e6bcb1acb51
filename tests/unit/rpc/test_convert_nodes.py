"""What agents say, also newer or broken ones."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.series import Quantile
from scheduler.rpc import convert_nodes
from scheduler.rpc.convert_nodes import GarbledError
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
