"""Whatever operators declare, the plan is legal by the checker, bounded, and repeats exactly."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.rules import Rules
from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.job import GreenMatching
from scheduler.domain.rules import ClusterRule, TenantRule, WaitingClass
from scheduler.domain.series import Series
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from tests.scenario.world import NOON, World, unsure

QUICK = Budget(dual_passes=20, tries=4, sweeps=2, exact_options=400, exact_work=0.05)


def _rules(dice: random.Random) -> Rules:
    classes = tuple(
        WaitingClass(from_priority=p, defer_yuan_per_gpu_hour=0.1, late_yuan_per_gpu_hour=p + 11.0)
        for p in (-10, 5)
    )
    return Rules(
        forecast_quantile=dice.choice([0.5, 0.5, 0.75, 0.9]),
        weights=Weights(carbon_yuan_per_kg=dice.choice([0.0, 0.1])),
        clusters={
            "qingyang": ClusterRule(
                price_adder_yuan_per_kwh=dice.choice([-0.5, 0.0, 0.2]),
                preference_yuan_per_gpu_hour=dice.choice([-3.0, 0.0, 1.0]),
                nongreen_yuan_per_kwh=dice.choice([None, 0.0, 0.3]),
                moving_yuan=dice.choice([None, 0.0]),
            )
        },
        tenants={
            "lab": TenantRule(
                quota_gpus=dice.choice([None, 0, 3, 7]),
                weight=dice.choice([0.5, 1.0, 8.0]),
                nongreen_yuan_per_kwh=dice.choice([None, 0.4]),
                waiting=dice.choice([(), classes]),
            )
        },
    )


def _unsure(median: list[float]) -> Series:
    wide, narrow = ([kw * factor for kw in median] for factor in (0.5, 0.8))
    return unsure(median, p10=wide, p30=narrow, p80=[kw * 1.5 for kw in median])


def _world(seed: int) -> World:
    dice = random.Random(seed)
    world = World(slots=dice.choice([2, 8]), now_at=NOON + timedelta(minutes=dice.choice([0, 7])))
    for hub in ("qingyang", "horinger"):
        world.hub(
            hub,
            nodes=dice.choice([1, 3]),
            gpus=4,
            price=[dice.choice([0.2, 0.6]) for _ in range(12)],
            green_kw=_unsure([dice.choice([0.0, 1.0, 4.0]) for _ in range(12)]),
            pue=_unsure([dice.choice([1.1, 1.2]) for _ in range(12)]),
            carbon_g=[dice.choice([300.0, 900.0, float("nan")]) for _ in range(12)],
        )
    tenants = ("lab", "firm", "office")
    for node in world.nodes:
        if dice.random() < 0.4:
            world.busy(
                node.id,
                gpus=dice.choice([1, 4]),
                minutes=dice.choice([-5, 20, 200]),
                tenant=dice.choice(tenants),
                interruptible=True,
                priority=-5,
                ran_minutes=dice.choice([0, 10, 60]),
                min_green_share=dice.choice([None, 0.2]),
                green_matching=dice.choice([*GreenMatching]),
            )
    for n in range(dice.randint(3, 8)):
        world.job(
            f"job{n}",
            gpus=dice.choice([0, 1, 2, 4]),
            workers=dice.choice([1, 1, 2]),
            minutes=dice.choice([5, 15, 40, 200]),
            priority=dice.choice([0, 0, 10]),
            delay_minutes=dice.choice([0, 60]),
            min_green_share=dice.choice([None, None, 0.5]),
            green_matching=dice.choice([*GreenMatching]),
            tenant=dice.choice(tenants),
        )
    world.rules = _rules(dice)
    for _ in range(dice.randint(0, 3)):
        where: dict[str, str] = dice.choice(
            [{}, {"node": "qingyang-0"}, {"node": "horinger-0"}, {"accelerator": "A800"}]
        )
        begins = dice.choice([-30, 0, 20, 60, 240])
        world.closed(
            dice.choice(["qingyang", "horinger"]),
            begins,
            begins + dice.choice([1, 30, 90]),
            **where,
        )
    return world


@pytest.mark.parametrize("seed", range(60))
def test_plans_under_any_rules_are_legal(seed: int) -> None:
    snapshot = _world(seed).snapshot()
    made = plan(snapshot, QUICK)
    assert check(snapshot, made) == []
    assert made.bound_yuan <= made.objective_yuan


@pytest.mark.parametrize("seed", range(3))
def test_the_same_rules_give_the_same_plan(seed: int) -> None:
    snapshot = _world(seed).snapshot()
    assert plan(snapshot, QUICK) == plan(replace(snapshot), QUICK)
