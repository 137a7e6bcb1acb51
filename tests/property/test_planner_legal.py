"""Whatever the snapshot, the plan is legal by the checker, repeats exactly, and is bounded."""

import math
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.rules import Rules
from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.explanation import Outcome
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import LIVE_STATES, DataInput, GreenMatching, JobState
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan, plan_round
from scheduler.planner.snapshot import Claim
from tests.scenario.world import NOON, World, link

CHEAP = Budget(dual_passes=25, sweeps=2, exact_options=400, exact_work=0.05)
HUBS = ("qingyang", "horinger", "zhongwei")
LIVE = sorted(LIVE_STATES)


def _mostly(usual: list[Any], *odd: Any) -> st.SearchStrategy[Any]:
    """One of the usual values, but for one in twenty: with every fifth, hardly a world in which so
    many are drawn would have a job that can run."""
    return st.integers(0, 19).flatmap(lambda n: st.sampled_from(list(odd) if n == 19 else usual))


def _forecast(low: float, high: float) -> st.SearchStrategy[Any]:
    value = st.one_of(
        st.floats(low, high), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, low, high])
    )
    return st.one_of(value, st.lists(value, min_size=0, max_size=10))


@st.composite
def _hubs(draw: st.DrawFn, world: World) -> None:
    for name in HUBS[: draw(_mostly([1, 2, 3], 0))]:
        for model in draw(_mostly([("A800",), ("A800", "910B")], ("",))):
            world.hub(
                name,
                nodes=draw(st.integers(1, 3)),
                gpus=draw(_mostly([3, 4, 8], 0, 1)) if model else 0,
                model=model,
                cpus=draw(_mostly([8.0, 64.0], 0.0, 2.5)),
                memory_gb=draw(_mostly([64.0, 512.0], 0.0, 1.5)),
                price=draw(_forecast(-0.2, 1.5)),
                green_kw=draw(_forecast(-1.0, 6.0)),
                pue=draw(_forecast(1.0, 1.5)),
                rtt_ms=draw(_mostly([5.0, 20.0], None, math.nan)),
                samples=draw(_mostly([100], 0, 4)),
                province=draw(st.sampled_from(["gansu", "ningxia"])),
                lifecycle=draw(_mostly([NodeLifecycle.READY], NodeLifecycle.LOST)),
                power_cap_kw=draw(_mostly([None, 1.1, 5.0], 0.0)),
                reachable=draw(_mostly([True], False)),
                links=draw(_mostly([(link("shanghai", 1.0),)], (), (link("shanghai", 0.0),))),
            )


def _spec(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "minutes": draw(st.sampled_from([0.1, 7.0, 15.0, 40.0, 200.0, 6000.0])),
        "gpus": draw(_mostly([0, 1, 1, 2], 3, 4, 8, 64)),
        "workers": draw(_mostly([1], 2, 3, 50)),
        "cpus": draw(_mostly([0.5, 1.0, 2.0], 7.3)),
        "memory_gb": draw(st.sampled_from([0.1, 1.0, 30.0])),
        "models": draw(_mostly([None, {"A800": 1.0}], {"910B": 0.3, "A800": 2.0})),
        "region": draw(st.sampled_from(["shanghai", "beijing", "atlantis"])),
        "priority": draw(_mostly([0], -1000, 7, 1000)),
        "min_green_share": draw(_mostly([None, 0.5], 0.0, 1.0)),
        "green_matching": draw(_mostly([GreenMatching.SLOT], GreenMatching.RUN)),
    }


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(
        slots=draw(st.sampled_from([1, 2, 8])), slot_s=draw(st.sampled_from([60.0, 900.0, 7.3]))
    )
    draw(_hubs(world))
    for _ in range(draw(st.integers(0, 3)) if world.nodes else 0):
        node = draw(st.sampled_from(world.nodes))
        spec = {k: v for k, v in _spec(draw).items() if k not in ("workers", "minutes", "models")}
        world.busy(
            node.id,
            minutes=draw(st.sampled_from([-30.0, 0.0, 5.0, 15.0, 90.0, 900.0])),
            ran_minutes=draw(st.sampled_from([0.0, 60.0])),
            state=draw(_mostly([JobState.RUNNING], *LIVE)),
            interruptible=draw(st.booleans()),
            restart_s=draw(_mostly([0.0], 600.0)),
            stop_grace_s=draw(_mostly([5.0], 0.0, 1200.0)),
            checkpoint_interval_s=draw(_mostly([0.0], 77.0)),
            **spec,
        )
    # Where stopping costs nothing, much moves, and many jobs are planned in several runs.
    stop_yuan = draw(_mostly([0.0, 1.0], 1e-3))
    world.rules = Rules(weights=Weights(lost_yuan_per_gpu_hour=stop_yuan, moving_yuan=stop_yuan))
    if world.nodes and draw(_mostly([False], True)):
        cluster, accelerator = HUBS[0], world.nodes[0].accelerator
        world.claims.append(Claim("job0", 7, cluster, accelerator, NOON + timedelta(minutes=1)))
    for n in range(draw(st.integers(0, 5))):
        world.job(
            f"job{n}",
            count=draw(st.integers(1, 3)),
            done_minutes=draw(_mostly([0.0], 5.0, 100.0)),
            **_spec(draw),
            delay_minutes=draw(st.sampled_from([0.0, 0.0, 20.0, 600.0])),
            deadline_minutes=draw(_mostly([None, 61.0], -5.0, 10.0)),
            earliest_minutes=draw(_mostly([None], -10.0, 3.0, 31.0)),
            max_rtt_ms=draw(_mostly([None], 10.0)),
            must_be_in=draw(_mostly([()], ("gansu",), ("horinger", "ningxia"))),
            must_not_be_in=draw(_mostly([()], ("gansu",), ("qingyang",))),
            data=draw(_mostly([(), (DataInput(30.0, "shanghai"),)], (DataInput(1.0, "horinger"),))),
            interruptible=draw(st.booleans()),
            restart_s=draw(_mostly([0.0, 60.0], 900.0)),
            stop_grace_s=draw(_mostly([5.0], 0.0, 1200.0)),
        )
    return world


@pytest.mark.timeout(300)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_arbitrary_snapshots_give_legal_plans(world: World) -> None:
    snapshot = world.snapshot()
    made = plan(snapshot, CHEAP)
    assert check(snapshot, made) == []
    assert made.bound_yuan <= made.objective_yuan
    assert math.isfinite(made.objective_yuan)
    for explanation in made.explanations:
        for candidate in explanation.candidates:
            terms = sum(yuan for _, yuan in candidate.terms)
            assert terms == pytest.approx(candidate.total_yuan, abs=1e-9)
            assert candidate.reason.message.endswith(".")


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_the_same_snapshot_gives_the_same_plan(world: World) -> None:
    snapshot = world.snapshot()
    assert plan(snapshot, CHEAP) == plan(snapshot, CHEAP)


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_what_is_told_in_short_agrees_with_what_is_told_closely(world: World) -> None:
    snapshot = world.snapshot()
    closely = plan_round(snapshot, CHEAP)
    short = plan(snapshot, replace(CHEAP, explained=-1000))
    assert short.placements == closely.plan.placements
    for told, brief in zip(closely.plan.explanations, short.explanations, strict=True):
        assert not brief.candidates
        assert (brief.job_id, brief.outcome) == (told.job_id, told.outcome)
        if told.outcome is Outcome.UNPLACED:
            assert brief.reason.code is told.reason.code, (brief.reason, told.reason)
        assert brief.reason.message.endswith(".")
        if told.outcome is Outcome.PLACED and told.saving is not None:
            assert brief.saving is not None
            assert asdict(brief.saving) == pytest.approx(asdict(told.saving))
        again = closely.explain(told.job_id)
        assert again is not None
        assert (again.candidates, again.outcome) == (told.candidates, told.outcome)
    assert closely.explain("nobody") is None
