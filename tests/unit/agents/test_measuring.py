"""Percentiles of round trips, and what of a report has to be sent."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from agents.latency import RttStatistics, statistics
from agents.report import REMEMBERED_REPORTS, Ledger
from westward.v1 import node_pb2


def test_percentiles_are_by_nearest_rank() -> None:
    window = deque[float | None](float(ms) for ms in range(100, 0, -1))
    assert statistics(window) == RttStatistics(50.0, 95.0, 99.0, 0.0, 100, 1.0, 100)


def test_lost_probes_count_as_loss_and_not_as_time() -> None:
    assert statistics([10.0, None, 30.0, None]) == RttStatistics(10.0, 30.0, 30.0, 0.5, 2, 20.0, 4)
    assert statistics([None, None]) is None
    assert statistics([]) is None


@given(st.lists(st.none() | st.floats(0, 1e4), min_size=1))
def test_percentiles_never_fall_and_were_measured(window: list[float | None]) -> None:
    measured = statistics(window)
    if measured is None:
        assert set(window) == {None}
        return
    assert measured.p50_ms <= measured.p95_ms <= measured.p99_ms
    assert measured.p99_ms in {round(ms, 3) for ms in window if ms is not None}
    assert 0 <= measured.loss < 1


def node(load: float) -> node_pb2.NodeFacts:
    return node_pb2.NodeFacts(accelerator="A800", gpus=8, cpu_load=load)


def test_a_part_is_sent_until_it_is_acknowledged_and_then_when_it_changes() -> None:
    ledger = Ledger()
    parts = {"node": node(0.1), "site": node_pb2.SiteFacts(province="Gansu")}
    assert ledger.changed(parts) == parts
    ledger.sent(2, parts)
    assert ledger.changed(parts) == parts
    ledger.acknowledge(7)
    assert ledger.changed(parts) == parts
    ledger.acknowledge(2)
    assert ledger.changed(parts) == {}
    assert ledger.changed(parts | {"node": node(0.2)}) == {"node": node(0.2)}


def test_an_old_acknowledgement_does_not_hide_a_newer_value() -> None:
    ledger = Ledger()
    ledger.sent(1, {"node": node(0.1)})
    ledger.sent(2, {"node": node(0.2)})
    ledger.acknowledge(2)
    ledger.acknowledge(1)
    assert ledger.changed({"node": node(0.2)}) == {}
    assert ledger.changed({"node": node(0.1)}) == {"node": node(0.1)}


def test_reports_that_are_never_acknowledged_are_not_kept_for_ever() -> None:
    ledger = Ledger()
    for seq in range(REMEMBERED_REPORTS + 10):
        ledger.sent(seq, {"node": node(seq / 100)})
    ledger.acknowledge(0)
    assert ledger.changed({"node": node(0.0)}) == {"node": node(0.0)}
    ledger.acknowledge(REMEMBERED_REPORTS + 9)
    assert ledger.changed({"node": node((REMEMBERED_REPORTS + 9) / 100)}) == {}
