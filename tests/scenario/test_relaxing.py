"""What `westward why` tells of a waiting job, in worlds small enough to see that it is right."""

from datetime import timedelta

import pytest

from scheduler.domain.explanation import Outcome
from scheduler.domain.reason import ReasonCode
from scheduler.domain.why import Change, Obstacles, Starts
from scheduler.planner.pipeline import plan_round
from scheduler.planner.relax.obstacles import obstacles, starts
from tests.scenario.world import NOON, World


def asked(world: World, job_id: str) -> tuple[Obstacles, Starts]:
    made = plan_round(world.snapshot())
    told = made.explain(job_id)
    assert told is not None
    given = (made.snapshot, made.decision, made.plan, told)
    return obstacles(*given), starts(*given)


def test_a_round_trip_a_green_share_and_a_deadline_are_relaxed_as_little_as_will_do() -> None:
    world = World().hub("qingyang", rtt_ms=14.0, green_kw=[0.3] * 4 + [0.43] * 40)
    world.hub("zhongwei", rtt_ms=24.03, green_kw=9.0)
    world.job("quotes", max_rtt_ms=20.0, min_green_share=0.8, minutes=30)
    found, _ = asked(world, "quotes")
    assert found.reason.code is ReasonCode.GREEN
    assert [(o.reason.code, o.pools) for o in found.others] == [(ReasonCode.LATENCY, 1)]
    green, rtt = found.relaxations
    # 0.43 kW of green supply for 0.5 kW × PUE 1.2.
    assert green.changes == (Change("min_green_share", "80%", "71%"),)
    assert (green.cluster, green.start_at) == ("qingyang", NOON + timedelta(hours=1))
    assert rtt.changes == (Change("max_rtt_ms", "20", "24.1"),)
    assert (rtt.cluster, rtt.now) == ("zhongwei", True)
    assert not found.fits and not found.sooner


def test_two_wishes_together_where_neither_alone_will_do() -> None:
    world = World().hub("qingyang", rtt_ms=30.0, province="gansu")
    world.job("far", max_rtt_ms=20.0, must_be_in=("ningxia",))
    [both] = asked(world, "far")[0].relaxations
    assert both.changes == (
        Change("max_rtt_ms", "20", "30"),
        Change("must_be_in", "ningxia", "ningxia, qingyang"),
    )


def test_a_higher_priority_is_told_where_others_would_be_stopped_for_it() -> None:
    world = World().hub("qingyang").job("urgent", gpus=8, minutes=120)
    world.busy("qingyang-0", gpus=8, minutes=3000, interruptible=True, priority=3, name="low")
    found, _ = asked(world, "urgent")
    raised = found.relaxations[-1]
    assert found.reason.code is ReasonCode.CAPACITY
    assert raised.changes == (Change("priority", "0", "4"),)
    assert raised.note == "stops low-1 there"
    assert raised.start_at == NOON + timedelta(seconds=5)
    world.jobs.clear()
    world.job("urgent", gpus=8, minutes=120, priority=4)
    found, _ = asked(world, "urgent")
    assert found.making_room


def test_who_waits_for_a_cheaper_hour_could_start_as_it_is() -> None:
    world = World().hub("qingyang", price=[1.0] * 4 + [0.1] * 40)
    world.job("patient", delay_minutes=600.0)
    found, every = asked(world, "patient")
    assert found.reason.code is ReasonCode.WAITING_FOR_CHEAPER
    assert found.fits and found.relaxations == ()
    [pool] = every.pools
    assert every.start_at == NOON and every.slot_s == 900
    assert len(pool.yuan) == 24 and None not in pool.yuan
    cheapest = min(yuan for yuan in pool.yuan if yuan is not None)
    assert pool.chosen is not None and pool.yuan[pool.chosen] == pytest.approx(cheapest)


def test_what_would_let_a_job_start_now_that_has_a_place_later() -> None:
    world = World().hub("qingyang", nodes=2, gpus=8)
    world.busy("qingyang-0", gpus=8, minutes=60).job("pair", workers=2, gpus=8)
    found, every = asked(world, "pair")
    assert found.sooner and not found.fits
    assert found.reason.code is ReasonCode.CAPACITY
    assert [one.changes for one in found.relaxations if one.now] == [
        (Change("workers", "2", "1"),),
        (Change("per_worker.gpus", "8", "4"),),
    ]
    [pool] = every.pools
    assert pool.yuan[:4] == (None,) * 4 and pool.chosen == 4


def test_a_job_that_no_change_would_place() -> None:
    world = World().hub("qingyang", reachable=False).job("stranded", max_rtt_ms=1.0)
    found, every = asked(world, "stranded")
    assert (found.reason.code, found.relaxations) == (ReasonCode.LATENCY, ())
    assert [o.reason.code for o in found.others] == [ReasonCode.CLUSTER_UNREACHABLE]
    assert every.pools[0].reason is not None


def test_others_of_the_round_keep_what_they_have() -> None:
    world = World(slots=4).hub("qingyang", gpus=8)
    world.job("first", gpus=8, minutes=600, priority=9).job("second", gpus=4, minutes=60)
    made = plan_round(world.snapshot())
    told = made.explain("second")
    assert told is not None and told.outcome is Outcome.UNPLACED
    found = obstacles(made.snapshot, made.decision, made.plan, told)
    assert found.relaxations == (), "whatever is smaller finds no accelerator either"
