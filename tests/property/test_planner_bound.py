"""On tiny instances every plan is enumerated: bound ≤ optimum ≤ the plan's objective."""

import random
from itertools import product

import pytest

from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.checker import check
from scheduler.planner.block import Block
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import Market
from scheduler.planner.model import Model, build_model
from scheduler.planner.pipeline import plan
from scheduler.planner.places import Choice, Residual, nowhere, objective_yuan
from scheduler.planner.scene import build_scene
from scheduler.planner.search import Budget
from tests.scenario.world import World

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


def _optimum_yuan(model: Model) -> float:
    best, active = float("inf"), Market(model).active
    ways: list[list[Choice | None]] = []
    for k in active.tolist():
        block = Block(model, k)
        starts = product(range(len(block.pools)), range(model.scene.slots))
        open_starts = [Choice(block.span.start + r, s) for r, s in starts if block.allowed[r, s]]
        ways += [[None, *open_starts]] * int(model.jobs[k])
    for combination in product(*ways):
        places = nowhere(model)
        jobs = [j for j, k in enumerate(places.klass.tolist()) if k in active]
        for j, choice in zip(jobs, combination, strict=True):
            if choice is not None:
                places.pair[j], places.slot[j] = choice.pair, choice.slot
        hard = model.problem.rows["hard"] > 0
        if (Residual(model, places).left[hard] >= -1e-6).all():
            best = min(best, objective_yuan(model, places, active))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_bound_optimum_and_plan_are_in_order(seed: int) -> None:
    snapshot = _tight(seed).snapshot()
    scene = build_scene(snapshot, Weights())
    optimum = _optimum_yuan(build_model(scene, find_candidates(scene, POLICIES)))
    for name, budget in BUDGETS.items():
        made = plan(snapshot, budget)
        assert check(snapshot, made) == []
        assert made.bound_yuan <= optimum + 1e-6, name
        assert made.objective_yuan >= optimum - 1e-6, name
        if name == "everything":
            assert made.objective_yuan == pytest.approx(optimum, rel=2e-4)
            assert made.gap < 1e-3
