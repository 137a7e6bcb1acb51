"""Quotas bind; shares decide who goes first, and lend what nobody else asks for."""

from dataclasses import replace
from typing import Any

import pytest

from policies.share import SPARED_MOST
from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.reason import ReasonCode
from scheduler.domain.rules import TenantRule
from scheduler.planner.pipeline import plan
from scheduler.planner.scene import build_scene
from tests.scenario.world import NOON, World


def _with(world: World, **tenants: TenantRule) -> World:
    world.rules = replace(world.rules, tenants=tenants)
    return world


def test_a_quota_holds_over_all_clusters_and_counts_what_runs() -> None:
    world = World().hub("qingyang").hub("horinger", nodes=2, price=0.5)
    world.busy("qingyang-0", gpus=3, minutes=30, tenant="lab")
    world.job("job", count=3, gpus=2, minutes=60, tenant="lab").job("other", gpus=8, tenant="firm")
    planned = _with(world, lab=TenantRule(quota_gpus=5)).plan()
    jobs = sorted(at.split()[1] for job, at in planned.where().items() if job != "other")
    assert jobs == ["12:00", "12:30", "13:00"]
    assert planned.placed("other").now
    codes = {planned.why(f"job-{n}").reason.code for n in range(3)}
    assert codes == {ReasonCode.CHOSEN, ReasonCode.QUOTA}


def test_a_job_above_its_tenants_quota_is_told_the_figures() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=1, minutes=300, tenant="lab")
    why = _with(world.job("job", gpus=4, tenant="lab"), lab=TenantRule(quota_gpus=4)).plan()
    reason = why.why("job").reason
    assert reason.code is ReasonCode.QUOTA
    assert "4 accelerators > 3 left of the 4 that lab may hold" in reason.message
    assert "running jobs hold 1 at 12:00 UTC" in reason.message


def test_a_tenant_that_runs_more_than_its_quota_starts_nothing() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=4, minutes=45, tenant="lab")
    planned = _with(world.job("job", tenant="lab"), lab=TenantRule(quota_gpus=2)).plan()
    assert planned.where() == {"job": "qingyang 12:45"}
    assert planned.plan.interruptions == ()


def test_jobs_without_accelerators_have_no_quota() -> None:
    world = World().hub("qingyang").job("job", gpus=0, cpus=4.0, tenant="lab")
    assert _with(world, lab=TenantRule(quota_gpus=0)).plan().placed("job").now


def test_the_checker_counts_a_tenants_accelerators_too() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=3, minutes=30, tenant="lab")
    made = plan(world.job("job", gpus=2, tenant="lab").snapshot())
    [first, second] = check(_with(world, lab=TenantRule(quota_gpus=4)).snapshot(), made)
    assert first == "lab at 2026-11-20 12:00:00+00:00: 3.0 + 2.0 accelerators > its quota of 4"
    assert "12:15" in second


def test_who_holds_less_than_its_share_goes_first() -> None:
    world = World().hub("qingyang", nodes=2).busy("qingyang-0", gpus=8, minutes=600, tenant="lab")
    # By itself the shorter run goes first: the other waits less for it.
    world.job("more", gpus=8, minutes=45, tenant="lab").job("first", gpus=8, tenant="firm")
    unruled = world.plan()
    assert unruled.placed("more").start_at < unruled.placed("first").start_at
    planned = _with(world, lab=TenantRule()).plan()
    assert planned.placed("first").now
    assert planned.placed("more").start_at > NOON
    [chosen, *_] = planned.why("more").candidates
    terms = dict(chosen.terms)
    assert terms["share"] == pytest.approx(-0.5 * terms["waiting"])


def test_what_nobody_else_asks_for_is_lent() -> None:
    world = World().hub("qingyang", nodes=2).busy("qingyang-0", gpus=8, minutes=600, tenant="lab")
    world.job("more", gpus=7, tenant="lab").job("small", gpus=1, tenant="firm")
    planned = _with(world, lab=TenantRule(), firm=TenantRule(weight=9.0)).plan()
    assert planned.placed("more").now
    assert planned.placed("small").now


def _above(world: World) -> dict[str, int]:
    """How many jobs of each tenant lie above its share."""
    snapshot, found = world.snapshot(), dict[str, int]()
    for klass in build_scene(snapshot).classes:
        if klass.above_share:
            tenant = klass.spec.tenant
            found[tenant] = found.get(tenant, 0) + len(klass.jobs)
    return found


def test_shares_follow_weights_and_the_dominant_resource() -> None:
    world = World().hub("qingyang", nodes=2, cpus=64.0)  # 16 accelerators, 128 cores
    world.job("gpu", count=9, gpus=2, tenant="lab").job("cpu", count=9, gpus=0, cpus=16.0)
    assert _above(world) == {}  # nobody is declared
    # lab 3/4: six jobs fill 12 of 16; tenant 1/4: two fill 32 of 128 cores.
    assert _above(_with(world, lab=TenantRule(weight=3.0))) == {"lab": 3, "tenant": 7}


def test_within_a_tenant_the_urgent_come_first() -> None:
    world = World().hub("qingyang").job("other", tenant="firm")
    world.job("calm", count=4, tenant="lab").job("urgent", count=3, priority=5, tenant="lab")
    scene = build_scene(_with(world, lab=TenantRule()).snapshot())
    above = [c.spec.priority for c in scene.classes if c.above_share for _ in c.jobs]
    assert above == [0, 0, 0]  # four of eight are lab's: the urgent three and one more


@pytest.mark.parametrize(
    "never",
    [
        {"models": {"910B": 1.0}},
        {"earliest_minutes": 60 * 24 * 200},
        {"must_be_in": ("atlantis",)},
        {"max_rtt_ms": 1.0},
        {"gpus": 9},
    ],
)
def test_what_cannot_start_takes_nothing_of_its_tenants_share(never: dict[str, Any]) -> None:
    world = World().hub("qingyang").job("never", tenant="lab", priority=5, **{"gpus": 8, **never})
    world.job("job", gpus=8, tenant="lab").job("other", gpus=8, tenant="firm")
    assert _above(_with(world, lab=TenantRule())) == {}


def test_a_tenant_with_nothing_that_can_start_shares_with_nobody() -> None:
    world = World().hub("qingyang").job("job", count=2, gpus=8, tenant="lab")
    world.job("never", gpus=8, tenant="firm", models={"910B": 1.0})
    assert _above(_with(world, lab=TenantRule())) == {}


def test_alone_nobody_is_above_its_share() -> None:
    world = World().hub("qingyang").job("job", count=9, gpus=8, tenant="lab")
    assert _above(_with(world, lab=TenantRule())) == {}


def test_a_share_never_takes_all_of_what_lateness_costs() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=8, minutes=60, tenant="lab")
    world.job("more", tenant="lab").job("first", tenant="firm")
    weights = Weights(above_share_yuan_per_gpu_hour=1000.0)
    planned = _with(world, lab=TenantRule()).plan(weights=weights)
    [chosen, *_] = planned.why("more").candidates
    terms = dict(chosen.terms)
    assert terms["share"] == pytest.approx(-SPARED_MOST * terms["waiting"])


def test_classes_are_told_apart_by_tenant_only_where_a_rule_asks_for_it() -> None:
    world = World().hub("qingyang").job("a", tenant="a").job("b", tenant="b").job("c", tenant="c")
    assert len(build_scene(world.snapshot()).classes) == 1
    ruled = _with(world, c=TenantRule(quota_gpus=1))
    assert len(build_scene(ruled.snapshot()).classes) == 2
