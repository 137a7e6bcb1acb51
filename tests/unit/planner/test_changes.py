"""A snapshot as it would be: each change does what it says, and nothing else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.series import Quantile, Series
from scheduler.planner.changes import (
    AddedNodes,
    Change,
    ChangeError,
    Drain,
    ForecastChange,
    Operation,
    Quantity,
    RttChange,
    changed,
)
from scheduler.planner.sites import _sample
from scheduler.planner.snapshot import Snapshot
from tests.scenario.world import NOON, World


def hubs() -> World:
    return World().hub("qingyang", nodes=2, green_kw=[8.0, 4.0]).hub("horinger", price=[0.3, 0.6])


def forecast(value: float, operation: Operation, **more: Any) -> ForecastChange:
    made = ForecastChange(
        cluster="horinger", quantity=Quantity.PRICE, operation=operation, value=value
    )
    return replace(made, **more)


def prices(snapshot: Snapshot) -> list[float]:
    """By slot, as the planner reads them."""
    series = snapshot.sites["horinger"].price_yuan_per_kwh
    return [round(v, 9) for v in _sample(series, snapshot, 6, 0.0, "max").tolist()]


def test_no_change_is_the_same_snapshot() -> None:
    snapshot = hubs().snapshot()
    assert changed(snapshot, ()) is snapshot


@pytest.mark.parametrize(
    ("operation", "value", "seen"),
    [
        (Operation.MULTIPLY, 2.0, [0.6, 1.2, 1.2, 1.2, 1.2, 1.2]),
        (Operation.SET, 0.5, [0.5] * 6),
        (Operation.ADD, -0.1, [0.2, 0.5, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_a_forecast_changes_for_ever(operation: Operation, value: float, seen: list[float]) -> None:
    before = hubs().snapshot()
    after = changed(before, [forecast(value, operation)])
    assert prices(after) == pytest.approx(seen)
    site = replace(
        after.sites["horinger"], price_yuan_per_kwh=before.sites["horinger"].price_yuan_per_kwh
    )
    assert replace(after, sites={**after.sites, "horinger": site}) == before


def test_a_forecast_changes_in_the_slots_that_begin_within_hours() -> None:
    hours = {
        "from_at": NOON + timedelta(minutes=20),
        "until_at": NOON + timedelta(minutes=60),
    }
    after = changed(hubs().snapshot(), [forecast(2.0, Operation.MULTIPLY, **hours)])
    assert prices(after) == pytest.approx([0.3, 0.6, 1.2, 1.2, 0.6, 0.6])


def test_green_supply_falls_to_nothing_and_not_below_in_every_quantile() -> None:
    world = hubs()
    unsure = Series(NOON, 900.0, (8.0, 4.0), quantiles=(Quantile(0.1, (6.0, 1.0)),))
    world.sites["horinger"] = replace(world.sites["horinger"], green_supply_kw=unsure)
    less = forecast(-5.0, Operation.ADD, quantity=Quantity.GREEN)
    after = changed(world.snapshot(), [less]).sites["horinger"].green_supply_kw
    assert (after.values, after.quantiles[0].values) == ((3.0, 0.0), (1.0, 0.0))


def test_changes_add_up_in_their_order() -> None:
    twice = [forecast(1.0, Operation.SET), forecast(0.5, Operation.MULTIPLY)]
    assert prices(changed(hubs().snapshot(), twice)) == [0.5] * 6


def test_a_drained_cluster_keeps_what_cannot_be_stopped_and_gives_back_the_rest() -> None:
    world = hubs().busy("qingyang-0", minutes=60, name="stays").job("waits")
    more = {"interruptible": True, "stop_grace_s": 30.0}
    world.busy("qingyang-1", minutes=120, ran_minutes=60, name="goes", **more)
    after = changed(world.snapshot(), [Drain("qingyang")])
    assert [attempt.job_id for attempt in after.running] == ["stays"]
    [rest, _] = after.jobs
    assert (rest.id, rest.done_s) == ("goes", 3600.0)
    assert rest.not_before_at == NOON + timedelta(seconds=30)
    draining = {node.id for node in after.nodes if node.lifecycle is NodeLifecycle.DRAINING}
    assert draining == {"qingyang-0", "qingyang-1"}


def test_a_gang_leaves_as_a_whole_when_one_of_its_nodes_is_drained() -> None:
    world = hubs().busy("qingyang-0", "qingyang-1", name="gang", interruptible=True)
    after = changed(world.snapshot(), [Drain("qingyang-1")])
    assert not after.running
    assert [job.id for job in after.jobs] == ["gang"]
    open_nodes = [n.id for n in after.nodes if n.lifecycle is NodeLifecycle.READY]
    assert open_nodes == ["qingyang-0", "horinger-0"]


def test_a_round_trip_that_was_never_measured_can_be_thought_of() -> None:
    world = World().hub("qingyang", rtt_ms=None).job("near", max_rtt_ms=20.0)
    after = changed(world.snapshot(), [RttChange("shanghai", "qingyang", 12.0)])
    world.sites = after.sites
    assert world.plan().placed("near").now


def test_nodes_are_added_like_those_that_are_there_and_take_work() -> None:
    world = World().hub("qingyang", lifecycle=NodeLifecycle.LOST).job("big", gpus=8, count=3)
    after = changed(world.snapshot(), [AddedNodes("qingyang", 3, "A800")])
    assert len({node.id for node in after.nodes}) == 4
    world.nodes = [*after.nodes]
    assert sum(placement.now for placement in world.plan().plan.placements) == 3
    again = changed(after, [AddedNodes("qingyang", 2, "A800")])
    assert len({node.id for node in again.nodes}) == 6


@pytest.mark.parametrize(
    ("change", "field", "told"),
    [
        (
            Drain("nowhere"),
            "drain",
            "'nowhere' is no cluster and no node; known clusters: horinger,",
        ),
        (forecast(1.0, Operation.SET, cluster="x"), "price.cluster", "'x' is no cluster; known"),
        (forecast(float("nan"), Operation.SET), "price.value", "nan is no figure"),
        (forecast(-1.0, Operation.MULTIPLY), "price.value", "-1 times would turn its sign"),
        (
            forecast(1.0, Operation.SET, from_at=NOON, until_at=NOON),
            "price.until_at",
            "12:00 is not after 12:00",
        ),
        (RttChange("mars", "qingyang", 1.0), "rtt.region", "'mars' is no region; known regions:"),
        (RttChange("shanghai", "qingyang", 0.0), "rtt.ms", "0 is not above 0"),
        (AddedNodes("qingyang", 0, "A800"), "add_nodes.count", "0 is not 1 to 10000 nodes"),
        (AddedNodes("qingyang", 1, "910B"), "add_nodes.accelerator", "known accelerators: A800"),
    ],
)
def test_what_cannot_be_made_is_told_by_field_value_and_fix(
    change: Change, field: str, told: str
) -> None:
    with pytest.raises(ChangeError) as raised:
        changed(hubs().snapshot(), [Drain("qingyang-0"), change])
    assert raised.value.field == f"changes[1].{field}"
    assert told in raised.value.description
