"""The clairvoyant bound: exact where it can be reckoned, and below every schedule."""

import itertools
import random

import pytest

from scheduler.replay.bound import Bound, lower_bound
from scheduler.replay.engine import replay
from scheduler.replay.metrics import measure
from scheduler.replay.outcome import Outcome
from tests.unit.replay.cases import CaseOf


def bound_of(*outcomes: Outcome) -> Bound:
    return lower_bound(outcomes, measure(outcomes[0]).metrics.energy_yuan)


def fifo(case: CaseOf) -> Outcome:
    return replay(case.case(), "fifo", gather_s=0)


def test_without_competition_it_is_the_best_window() -> None:
    case = CaseOf().hub("qingyang", pue=1.0, price=[0.8, 0.8, 0.4, 0.2, 0.4] + [0.8] * 9)
    # 20 minutes at 1 kW: the 15 cheap ones and 5 of a neighbour.
    case.job("job", minutes=20, gpus=2, delay_minutes=60)
    assert bound_of(fifo(case)).energy_yuan == pytest.approx((15 * 0.2 + 5 * 0.4) / 60)


def test_a_start_later_than_allowed_does_not_count() -> None:
    case = CaseOf().hub("qingyang", pue=1.0, price=[0.8] * 4 + [0.1] * 9)
    case.job("job", minutes=15, gpus=2, delay_minutes=50)
    # From 12:50 on: 10 minutes at 0.8 and 5 at 0.1.
    assert bound_of(fifo(case)).energy_yuan == pytest.approx((10 * 0.8 + 5 * 0.1) / 60)


def test_it_knows_real_lengths_and_speeds() -> None:
    case = CaseOf().hub("qingyang", model="A800", pue=1.0, price=1.0)
    case.hub("horinger", model="910B", pue=1.0, price=0.6)
    case.job("job", minutes=30, actual_minutes=60, gpus=2, models={"A800": 1.0, "910B": 0.5})
    # An hour at 1 yuan, or two hours at 0.6.
    assert bound_of(fifo(case)).energy_yuan == pytest.approx(1.0)


def test_full_hubs_raise_it_above_everyones_own_best() -> None:
    case = CaseOf().hub("qingyang", gpus=2, pue=1.0, price=[0.2] * 4 + [0.8] * 20)
    for name in ("a", "b"):
        case.job(name, minutes=60, gpus=2, delay_minutes=60)
    bound = bound_of(fifo(case))
    assert bound.independent_yuan == pytest.approx(0.4)
    # One of the two runs at 0.8: nothing cheaper is possible, and the prices prove it.
    assert bound.energy_yuan == pytest.approx(1.0, rel=0.02)
    assert bound.energy_yuan <= 1.0 + 1e-9


def test_a_split_job_may_take_the_cheapest_pieces() -> None:
    case = CaseOf().hub("qingyang", pue=1.0, price=[0.2, 0.9, 0.2, 0.9] + [0.9] * 30)
    case.job("cheap", minutes=30, gpus=8, interruptible=True)
    case.job("urgent", at_minutes=5, minutes=60, gpus=8, priority=1000)
    outcome = replay(case.case(), "westward", gather_s=0)
    assert any(run.stopped for run in outcome.runs)
    bound = bound_of(outcome)
    # 30 minutes at 4 kW and 0.2 yuan for one, an hour at its own prices for the other.
    assert bound.independent_yuan == pytest.approx(
        0.5 * 4 * 0.2 + 4 * (10 * 0.2 + 15 * 0.9 + 15 * 0.2 + 20 * 0.9) / 60
    )


def test_a_job_that_nobody_ran_is_not_counted() -> None:
    case = CaseOf().hub("qingyang", gpus=2).job("huge", gpus=4).job("small", gpus=1)
    assert bound_of(fifo(case)).jobs == 1


@pytest.mark.parametrize("seed", range(25))
def test_it_never_exceeds_the_best_schedule(seed: int) -> None:
    """Three jobs on one accelerator each way; every order and every start on a fine grid."""
    dice = random.Random(seed)
    prices = [dice.choice([0.1, 0.3, 0.5, 0.9]) for _ in range(16)]
    case = CaseOf().hub("qingyang", gpus=1, pue=1.0, price=prices)
    lengths = [dice.choice([15, 30, 45]) for _ in range(3)]
    arrivals = [dice.choice([0, 5, 20]) for _ in range(3)]
    for n, (minutes, at) in enumerate(zip(lengths, arrivals, strict=True)):
        case.job(f"job-{n}", at_minutes=at, minutes=minutes, delay_minutes=90)
    bound, best = bound_of(fifo(case)), float("inf")
    starts = [range(at, at + 91, 5) for at in arrivals]
    for times in itertools.product(*starts):
        spans = sorted((t, t + m) for t, m in zip(times, lengths, strict=True))
        if all(one[1] <= two[0] for one, two in itertools.pairwise(spans)):
            minutes = itertools.chain.from_iterable(range(a, b) for a, b in spans)
            best = min(best, sum(prices[min(m // 15, 15)] for m in minutes) * 0.5 / 60)
    assert bound.independent_yuan - 1e-9 <= bound.energy_yuan <= best + 1e-9
    assert bound.energy_yuan >= 0.85 * best


@pytest.mark.parametrize("seed", range(6))
def test_it_is_below_every_policy(seed: int) -> None:
    dice = random.Random(seed)
    case = CaseOf()
    for name in ("qingyang", "horinger"):
        case.hub(name, gpus=8, price=[dice.choice([0.2, 0.4, 0.8]) for _ in range(24)])
    for n in range(25):
        case.job(
            f"job-{n:02}",
            at_minutes=dice.randrange(120),
            minutes=dice.choice([10, 30, 60]),
            actual_minutes=dice.choice([10, 30, 70]),
            gpus=dice.choice([1, 2, 8]),
            # So much that nobody is late: whom the bound lets be late, it does not bind.
            delay_minutes=600,
        )
    outcomes = [
        replay(case.case(), policy) for policy in ("fifo", "least-allocated", "cheapest-window")
    ]
    bound = bound_of(*outcomes)
    for outcome in outcomes:
        assert bound.energy_yuan <= measure(outcome).metrics.energy_yuan + 1e-9
