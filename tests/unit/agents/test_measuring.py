"""Percentiles of round trips, and what of a report has to be sent."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from agents.latency import RttStatistics, statistics
from agents.report import REMEMBERED_REPORTS, Ledger, _assembled
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


def test_a_report_of_an_unchanged_node_with_eight_gpus_is_small() -> None:
    """Its load and its draw are never the same twice; nothing else has changed."""
    facts = node_pb2.NodeFacts(
        accelerator="NVIDIA H800 80GB HBM3",
        gpus=8,
        cpus=192,
        memory_gb=2163.7,
        gpu_power_kw=0.7,
        cpu_power_kw=0.01,
        cpu_load=0.37,
        pflops=7.912,
        gpu_draw_kw=4.183,
        gpu_memory_gb=85.52,
        disk_free_gb=28391.7,
        gpu_source="nvidia (NVML 570.86.15)",
    )
    ledger = Ledger()
    ledger.sent(1, {"node": facts})
    ledger.acknowledge(1)
    now = node_pb2.NodeFacts()
    now.CopyFrom(facts)
    now.cpu_load, now.gpu_draw_kw = 0.41, 4.207
    changed = ledger.changed({"node": now})
    report = node_pb2.ConnectRequest(seq=10**6, report=_assembled(changed))
    report.sent_at.GetCurrentTime()
    assert changed and report.ByteSize() < 1024
    empty = node_pb2.ConnectRequest(seq=10**6, report=_assembled(ledger.changed({"node": facts})))
    assert empty.ByteSize() < 64


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
