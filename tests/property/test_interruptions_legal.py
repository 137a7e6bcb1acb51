"""Full hubs with more waiting: what is stopped is legal, worth it, and repeats exactly."""

import random
from datetime import timedelta

import pytest

from policies.rules import Rules
from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.job import JobState
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import InterruptionKind
from tests.scenario.world import NOON, World

CHEAP = Budget(dual_passes=10, sweeps=1, exact_options=0)
SEEDS = range(100)


def crowded(seed: int) -> World:
    """Three hubs of unlike prices, most nodes held by runs of all kinds, and jobs that wait."""
    dice = random.Random(seed)
    # Five seconds before a slot ends, a run may be asked to pause.
    world = World(now_at=NOON + timedelta(minutes=dice.choice([0, 7, 15 - 5 / 60])))
    if dice.random() < 0.5:
        world.rules = Rules(weights=Weights(lost_yuan_per_gpu_hour=1.0, moving_yuan=0.1))
    for name in ("qingyang", "horinger", "zhongwei"):
        prices = [dice.choice([0.1, 0.4, 1.2]) for _ in range(60)]
        world.hub(
            name,
            nodes=3,
            gpus=dice.choice([4, 8]),
            price=dice.choice([prices, prices[0]]),
            green_kw=dice.choice([0.0, 5.0, 1000.0]),
            power_cap_kw=dice.choice([None, None, 8.0]),
        )
    for node in world.nodes:
        for _ in range(dice.choice([0, 1, 2])):
            world.busy(
                node.id,
                gpus=node.gpus // 2,
                minutes=dice.choice([10, 200, 700]),
                ran_minutes=dice.choice([5, 30, 500]),
                interruptible=dice.random() < 0.8,
                state=dice.choice([JobState.RUNNING] * 60 + [JobState.PREEMPTING]),
                delay_minutes=dice.choice([0, 600]),
                priority=dice.choice([0, 0, 3, 8]),
                restart_s=dice.choice([0.0, 300.0]),
                min_green_share=dice.choice([None, None, 0.3]),
            )
    for n in range(dice.choice([0, 2, 5])):
        world.job(
            f"job{n}",
            gpus=dice.choice([1, 4, 8]),
            workers=dice.choice([1, 1, 2]),
            priority=dice.choice([0, 5, 20]),
            minutes=dice.choice([20, 200]),
        )
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_stopped_is_legal_and_repeats(seed: int) -> None:
    snapshot = crowded(seed).snapshot()
    made = plan(snapshot, CHEAP)
    assert check(snapshot, made) == []
    assert plan(snapshot, CHEAP).interruptions == made.interruptions


def test_all_kinds_occur() -> None:
    made = [plan(crowded(seed).snapshot(), CHEAP).interruptions for seed in SEEDS]
    kinds = [one.kind for found in made for one in found]
    assert min(kinds.count(kind) for kind in InterruptionKind) >= 8
