"""What is declared to be in maintenance is left alone, and said to be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from scheduler.checker import check
from scheduler.domain.reason import ReasonCode
from scheduler.domain.rules import Maintenance
from scheduler.planner.pipeline import plan
from tests.scenario.world import NOON, World


def test_a_run_waits_for_the_end_of_its_only_hubs_maintenance() -> None:
    planned = World().hub("qingyang").job("job").closed("qingyang", -30, 50).plan()
    assert planned.where() == {"job": "qingyang 13:00"}  # whole slots
    reason = planned.why("job").reason
    assert reason.code is ReasonCode.MAINTENANCE
    told = "qingyang is in maintenance from 11:30 UTC to 12:50 UTC: transformer"
    assert told in reason.message


def test_a_run_ends_before_maintenance_or_begins_after_it() -> None:
    world = World().hub("qingyang", gpus=1).closed("qingyang", 60, 120)
    planned = world.job("short", count=2, minutes=30).job("long", minutes=90).plan()
    assert planned.where() == {
        "short-0": "qingyang 12:00",
        "short-1": "qingyang 12:30",
        "long": "qingyang 14:00",
    }


def test_only_the_model_that_is_meant_is_closed() -> None:
    world = World().hub("qingyang", model="A800").hub("qingyang", model="910B", price=0.9)
    world.closed("qingyang", 0, 600, accelerator="A800")
    assert world.job("job").plan().placed("job").accelerator == "910B"


def test_a_run_is_not_put_on_a_node_that_closes_before_its_end() -> None:
    world = World().hub("qingyang", nodes=2, gpus=2).closed("qingyang", 30, 90, node="qingyang-0")
    planned = world.job("long", gpus=2, minutes=60).job("short", gpus=2, minutes=30).plan()
    assert planned.placed("long").nodes == ("qingyang-1",)
    assert planned.placed("short").nodes == ("qingyang-0",)


def test_runs_share_what_the_open_nodes_hold() -> None:
    world = World().hub("qingyang", nodes=2, gpus=2).closed("qingyang", 15, 75, node="qingyang-1")
    planned = world.job("job", count=2, gpus=2, minutes=30).plan()
    assert sorted(planned.where().values()) == ["qingyang 12:00", "qingyang 12:30"]


def test_a_gang_waits_for_a_closed_node_and_says_so() -> None:
    world = World().hub("qingyang", nodes=2).closed("qingyang", -60, 45, node="qingyang-1")
    planned = world.job("gang", workers=2, gpus=8).plan()
    assert planned.where() == {"gang": "qingyang 12:45"}
    reason = planned.why("gang").reason
    assert reason.code is ReasonCode.MAINTENANCE
    assert "1 of 2 workers fit on the nodes that are open at 12:00" in reason.message
    assert "qingyang-1 in qingyang is in maintenance from 11:00 UTC to 12:45 UTC" in reason.message


def test_a_long_run_does_not_reach_into_maintenance_after_the_last_start() -> None:
    world = World(slots=4).hub("qingyang", nodes=2).closed("qingyang", 120, 180, node="qingyang-1")
    planned = world.job("job", count=2, gpus=8, minutes=150).plan()
    assert [p.nodes for p in planned.plan.placements] == [("qingyang-0",)]


def test_what_runs_is_left_running_and_nothing_joins_it() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=1).closed("qingyang", -5, 600)
    planned = world.job("job").plan()
    assert planned.of("job") is None
    assert planned.plan.interruptions == ()


def test_maintenance_that_is_over_or_elsewhere_binds_nobody() -> None:
    world = World().hub("qingyang").hub("horinger", price=0.9)
    world.closed("qingyang", -60, 0).closed("horinger", 0, 600).closed("nowhere", 0, 600)
    assert world.job("job").plan().where() == {"job": "qingyang 12:00"}


@pytest.mark.parametrize("hours", [-8, 8])
def test_maintenance_for_all_the_time_there_is_breaks_nothing(hours: int) -> None:
    # The planner keeps to the zone that it is told the time in: there the calendar ends elsewhere.
    world = World(now_at=NOON.astimezone(timezone(timedelta(hours=hours), "here")))
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    declared = Maintenance(cluster="qingyang", from_at=first, to_at=last, why="sold")
    world.rules = replace(world.rules, maintenance=(declared,))
    planned = world.hub("qingyang", price=0.1).hub("horinger").job("job").plan()
    assert planned.placed("job").cluster == "horinger"
    [closed] = [c for c in planned.why("job").candidates if c.cluster == "qingyang"]
    assert "from 1000-01-01 00:00 here to 9998-12-31 23:59 here: sold" in closed.reason.message


def _objections(world: World, **closed: str) -> list[str]:
    """Of the checker to a plan that knew of no maintenance."""
    made = plan(world.snapshot())
    assert check(world.snapshot(), made) == []
    return check(world.closed("qingyang", 30, 90, **closed).snapshot(), made)


def test_the_checker_sees_runs_in_a_closed_cluster() -> None:
    [told] = _objections(World().hub("qingyang").job("job"))
    assert told == "job: runs at 2026-11-20 12:30:00+00:00 on qingyang, in maintenance"


def test_the_checker_sees_runs_on_a_closed_node() -> None:
    told = _objections(World().hub("qingyang").job("job"), node="qingyang-0")
    assert told[0].endswith("on qingyang-0 in qingyang, in maintenance")


def test_the_checker_sees_that_the_open_nodes_cannot_hold_what_is_planned() -> None:
    world = World().hub("qingyang", nodes=2).busy("qingyang-0", gpus=1, minutes=300)
    world.busy("qingyang-1", gpus=8, minutes=10).job("job", gpus=8)
    told = _objections(world, node="qingyang-1")
    assert "closed at 2026-11-20 12:30:00+00:00: 8.0 accelerators > 7 on the others" in told[0]
