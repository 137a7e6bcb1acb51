"""On tiny instances the optimum is known: bound ≤ optimum ≤ the plan's objective."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.registry import POLICIES
from policies.rules import Rules
from policies.weights import Weights
from scheduler.checker import check
from scheduler.planner.budget import Budget
from scheduler.planner.candidates import find_candidates
from scheduler.planner.model import build_model
from scheduler.planner.pipeline import plan
from scheduler.planner.scene import build_scene
from tests.property.optimum import optimum_yuan
from tests.scenario.world import NOON, World, series

BUDGETS = {
    "everything": Budget(),
    "no CP-SAT": Budget(exact_options=0),
    "neighbourhoods": Budget(exact_options=1),
    "nearly nothing": Budget(dual_passes=2, tries=1, sweeps=1, exact_options=0),
}


def _tight(seed: int) -> World:
    """Four jobs that compete for two small hubs over four slots."""
    dice = random.Random(seed)
    world = World(slots=4)
    for name in ("qingyang", "horinger"):
        world.hub(
            name,
            gpus=dice.choice([2, 4]),
            price=[dice.choice([0.2, 0.4, 0.8]) for _ in range(8)],
            green_kw=[dice.choice([0.0, 0.5, 1.2]) for _ in range(8)],
            power_cap_kw=dice.choice([None, 1.3, 2.0]),
        )
    world.busy("qingyang-0", minutes=dice.choice([10, 20]), gpus=1)
    for n in range(4):
        world.job(
            f"job{n}",
            gpus=dice.choice([1, 2, 2]),
            minutes=dice.choice([10, 15, 25, 30]),
            delay_minutes=dice.choice([0, 30, 60]),
            min_green_share=dice.choice([None, None, 0.4]),
            priority=dice.choice([0, 0, 10]),
        )
    return world


def _pausing(seed: int) -> World:
    """Three jobs, most of which may be stopped, for a hub whose prices go up and down."""
    dice = random.Random(seed)
    cheap = Weights(
        lost_yuan_per_gpu_hour=dice.choice([0.0, 0.01, 0.2]), moving_yuan=dice.choice([0.0, 0.02])
    )
    now_at = NOON + timedelta(minutes=dice.choice([0, 0, 6]))
    world = World(now_at=now_at, slots=6, rules=Rules(weights=cheap))
    for name in ("qingyang", "horinger")[: dice.choice([1, 1, 2])]:
        world.hub(
            name,
            gpus=dice.choice([2, 3]),
            price=[dice.choice([-0.1, 0.1, 0.9, 2.5]) for _ in range(12)],
            green_kw=[dice.choice([0.0, 0.5, 1.2]) for _ in range(12)],
            power_cap_kw=dice.choice([None, 1.3]),
        )
    for n in range(3):
        stoppable = {
            "interruptible": True,
            "restart_s": dice.choice([0.0, 0.0, 200.0, 900.0]),
            "checkpoint_interval_s": dice.choice([0.0, 300.0]),
        }
        world.job(
            f"job{n}",
            gpus=dice.choice([1, 2, 2]),
            minutes=dice.choice([30, 38, 45]),
            delay_minutes=dice.choice([0, 45, 90]),
            deadline_minutes=dice.choice([None, None, None, 80]),
            min_green_share=dice.choice([None, None, 0.4]),
            **(stoppable if dice.random() < 0.8 else {}),
        )
    return world


@pytest.mark.parametrize("seed", range(60))
def test_so_they_are_where_jobs_may_run_in_several_runs(seed: int) -> None:
    snapshot = _pausing(seed).snapshot()
    scene = build_scene(snapshot)
    optimum = optimum_yuan(build_model(scene, find_candidates(scene, POLICIES)))
    slack = 1e-5 * max(1.0, abs(optimum))
    made = plan(snapshot)
    assert check(snapshot, made) == []
    assert made.bound_yuan <= optimum + slack
    assert made.objective_yuan >= optimum - slack


@pytest.mark.parametrize("seed", range(20))
def test_one_job_alone_runs_as_cheaply_as_can_be(seed: int) -> None:
    world = _pausing(seed)
    del world.jobs[1:]
    for name, site in world.sites.items():
        world.sites[name] = replace(site, green_supply_kw=series(5.0))
    scene = build_scene(world.snapshot())
    optimum = optimum_yuan(build_model(scene, find_candidates(scene, POLICIES)))
    made = plan(world.snapshot())
    assert made.objective_yuan == pytest.approx(optimum, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(200))
def test_bound_optimum_and_plan_are_in_order(seed: int) -> None:
    snapshot = _tight(seed).snapshot()
    scene = build_scene(snapshot, Weights())
    optimum = optimum_yuan(build_model(scene, find_candidates(scene, POLICIES)))
    slack = 1e-5 * max(1.0, abs(optimum))
    for name, budget in BUDGETS.items():
        made = plan(snapshot, budget)
        assert check(snapshot, made) == []
        assert made.bound_yuan <= optimum + slack, name
        assert made.objective_yuan >= optimum - slack, name
        if name == "everything":
            assert made.objective_yuan == pytest.approx(optimum, rel=2e-4)
            assert made.gap < 5e-3
