"""What a round takes over from the one before: its prices and its plan."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.checker import check
from scheduler.planner import search
from scheduler.planner.candidates import find_candidates
from scheduler.planner.model import Model, build_model
from scheduler.planner.pipeline import Round, plan_round
from scheduler.planner.recall import recalled
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import PlannedStart, Snapshot
from tests.scenario.world import World

SLOTS = 12


def crowd(jobs: int = 40) -> World:
    """More jobs than the cheap hours of two small hubs hold."""
    price = [0.5] * 4 + [0.2] * 4 + [0.4] * 4
    world = World(slots=SLOTS)
    world.hub("qingyang", nodes=2, price=price).hub("horinger", nodes=2, price=price)
    for n in range(jobs):
        world.job(f"job{n:02}", gpus=1 + n % 4, minutes=20 + 7 * (n % 9), delay_minutes=240)
    return world


def model_of(snapshot: Snapshot) -> Model:
    scene = build_scene(snapshot, Weights())
    return build_model(scene, find_candidates(scene, POLICIES))


def after(made: Round, snapshot: Snapshot) -> Snapshot:
    """A snapshot that remembers a round."""
    waiting = [p for p in made.plan.placements if not p.now]
    previous = {p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at) for p in waiting}
    return replace(snapshot, previous=previous, prices=made.prices)


def test_prices_are_those_of_the_same_rows_at_the_same_times() -> None:
    snapshot = crowd().snapshot()
    made = plan_round(snapshot)
    prices = made.decision.duals.prices
    assert prices.any()
    same = recalled(model_of(snapshot), made.prices)
    assert same is not None
    assert same.prices == pytest.approx(prices)
    assert same.worth == pytest.approx(made.decision.duals.worth)
    passed = timedelta(seconds=3 * snapshot.slot_s)
    later = recalled(model_of(replace(snapshot, now_at=snapshot.now_at + passed)), made.prices)
    assert later is not None
    axis = prices.shape[1]
    assert later.prices[:, : axis - 3] == pytest.approx(prices[:, 3:])
    assert later.prices[:, axis - 3 : axis] == pytest.approx(
        np.repeat(prices[:, [axis - 1]], 3, axis=1)
    )


def test_prices_of_slots_of_another_length_are_forgotten() -> None:
    snapshot = crowd().snapshot()
    prices = plan_round(snapshot).prices
    assert recalled(model_of(snapshot), replace(prices, slot_s=60.0)) is None
    assert recalled(model_of(snapshot), None) is None


def test_rows_that_were_not_there_have_no_price() -> None:
    prices = plan_round(crowd().snapshot()).prices
    other = World(slots=SLOTS).hub("zhongwei", nodes=1).job("job", gpus=8).snapshot()
    found = recalled(model_of(other), prices)
    assert found is not None
    assert not found.prices.any()


def test_what_nobody_asked_for_before_is_not_worth_nothing_for_good() -> None:
    """Its price could never rise from nothing in proportion to nothing."""
    world = World(slots=SLOTS).hub("qingyang", nodes=4, green_kw=3.0)
    prices = plan_round(world.job("job", gpus=4).snapshot()).prices
    for n in range(20):
        world.job(f"green{n:02}", gpus=4, minutes=60, delay_minutes=120, min_green_share=0.9)
    snapshot = replace(world.snapshot(), prices=prices)
    found = recalled(model_of(snapshot), prices)
    assert found is not None
    assert found.worth is None
    made = plan_round(snapshot)
    assert dict(made.prices.worth)["green"] > 0


def test_nothing_moves_when_nothing_has_changed() -> None:
    snapshot = crowd().snapshot()
    first = plan_round(snapshot)
    again = plan_round(after(first, snapshot))
    # What starts now starts now: it has no plan that could be kept.
    later = {p.job_id: (p.cluster, p.start_at) for p in first.plan.placements if not p.now}
    places = {p.job_id: (p.cluster, p.start_at) for p in again.plan.placements}
    moved = [job_id for job_id, place in later.items() if places[job_id] != place]
    assert len(moved) <= len(later) // 20
    assert again.plan.objective_yuan <= first.plan.objective_yuan + 1e-6


def test_who_cannot_wait_takes_a_place_that_was_planned_for_others() -> None:
    first = plan_round(crowd(80).snapshot())
    world = crowd(80).job("urgent", gpus=8, workers=2, minutes=60, deadline_minutes=90)
    snapshot = after(first, world.snapshot())
    made = plan_round(snapshot)
    assert "urgent" in {p.job_id for p in made.plan.placements}
    assert check(snapshot, made.plan) == []
    assert made.plan.bound_yuan <= made.plan.objective_yuan


def test_an_urgent_newcomer_displaces_what_was_planned() -> None:
    world = World(slots=96)
    for name, price in (("qingyang", 0.398), ("horinger", 0.32), ("zhongwei", 0.36)):
        world.hub(name, price=price, green_kw=3.0)
        world.busy(f"{name}-0", minutes=90, ran_minutes=1, gpus=8)
    world.job("first", gpus=8, minutes=90).job("second", gpus=8, minutes=90)
    made = plan_round(world.snapshot())
    assert "horinger" in {p.cluster for p in made.plan.placements}
    world.job("urgent", gpus=8, minutes=60, priority=500, must_be_in=("horinger",))
    again = plan_round(after(made, world.snapshot())).plan
    starts = {p.job_id: (p.cluster, p.start_at) for p in again.placements}
    assert starts["urgent"] == ("horinger", min(at for _, at in starts.values()))
    assert again.gap < 0.001


def test_the_urgent_are_not_left_behind_for_being_few_in_a_large_fleet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", 100)
    world = World(slots=24)
    for hub in range(2):
        # Energy that costs much, so that a late start is a small part of the whole.
        world.hub(f"hub-{hub}", nodes=4, price=400.0)
        for node in range(4):
            world.busy(f"hub-{hub}-{node}", minutes=15, gpus=8)
    for n in range(192):
        world.job(f"j{n}", gpus=1, minutes=60, delay_minutes=300, memory_gb=1 + n / 100)
    made = plan_round(world.snapshot())
    assert len(made.plan.placements) == 192
    world.job("urgent", gpus=1, minutes=60, delay_minutes=0, priority=100, memory_gb=0.5)
    again = plan_round(after(made, world.snapshot())).plan
    starts = {p.job_id: p.start_at for p in again.placements}
    assert starts["urgent"] == min(starts.values())
