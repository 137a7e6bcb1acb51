"""On tiny instances every plan is enumerated: bound ≤ optimum ≤ the plan's objective."""

import random
from itertools import product

import pytest

from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.checker import check
from scheduler.planner.candidates import find_candidates
from scheduler.planner.greedy import empty
from scheduler.planner.model import Choice, Model, Residual, build_model, objective_yuan
from scheduler.planner.pipeline import Budget, plan
from scheduler.planner.scene import build_scene
from tests.scenario.world import World

BUDGETS = {
    "everything": Budget(),
    "no CP-SAT": Budget(exact_options=0),
    "neighbourhoods": Budget(exact_options=1),
    "nearly nothing": Budget(dual_iterations=2, sweeps=1, exact_options=0),
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
    best = float("inf")
    ways: list[list[Choice | None]] = []
    for k in model.active.tolist():
        span = model.spans[k]
        starts = product(range(span.start, span.stop), range(model.scene.slots))
        open_starts = [Choice(*s) for s in starts if model.candidates.allowed[s]]
        ways += [[None, *open_starts]] * int(model.jobs[k])
    owners = [k for k in model.active.tolist() for _ in range(int(model.jobs[k]))]
    for combination in product(*ways):
        if _fits(model, combination):
            assignment = empty(model)
            for k in set(owners):
                assignment[k] = [c for o, c in zip(owners, combination, strict=True) if o == k]
            best = min(best, objective_yuan(model, assignment))
    return best


def _fits(model: Model, combination: tuple[Choice | None, ...]) -> bool:
    residual = Residual(model)
    for choice in combination:
        if choice is not None:
            residual.place(choice.pair, choice.slot)
    return all(
        rows.elastic_yuan is not None or bool((left >= -1e-6).all())
        for rows, left in zip(model.families, residual.left, strict=True)
    )


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
