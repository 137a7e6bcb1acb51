"""The stages of the pipeline, each alone."""

from itertools import pairwise

import numpy as np
import pytest

from policies.registry import POLICIES
from policies.scene import window
from policies.weights import Weights
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import find_duals, reduced_yuan
from scheduler.planner.greedy import GAIN_LEAST_YUAN, best, improve, insert_all, loaded
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Choice, Model, Residual, build_model, objective_yuan
from scheduler.planner.nodes import pack
from scheduler.planner.pipeline import plan
from scheduler.planner.scene import build_scene
from tests.scenario.world import World, spec_of


def model_of(world: World) -> Model:
    scene = build_scene(world.snapshot(), Weights())
    return build_model(scene, find_candidates(scene, POLICIES))


def contest() -> World:
    """Two pools, more work than fits at once."""
    world = World(slots=8).hub("qingyang", gpus=4, price=0.2, green_kw=[0.5] * 4 + [2.0] * 4)
    world.hub("horinger", gpus=2, price=[0.5, 0.3, 0.4, 0.6])
    for n, gpus in enumerate((1, 2, 4, 1, 2, 3)):
        world.job(f"job{n}", gpus=gpus, minutes=20 + n, delay_minutes=30 * (n % 3))
    return world


def test_jobs_that_no_rule_tells_apart_are_one_class() -> None:
    world = World().hub("qingyang").job("job", count=5).job("other", priority=1)
    world.job("named", env={"A": "1"})
    classes = build_scene(world.snapshot(), Weights()).classes
    assert [len(klass.jobs) for klass in classes] == [6, 1]


def test_window_integral_equals_a_fine_sum() -> None:
    hours, slot_s = np.full(6, 0.25), 900.0
    hours[0] = 0.15
    start_s = np.array([[360.0, 900.0, 2000.0]])
    rate = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    for length_s in (10.0, 540.0, 1800.0, 4000.0, 9000.0):
        made = window(start_s, np.array([length_s]), slot_s, hours)
        for slot in range(3):
            low = start_s[0, slot]
            steps = np.arange(low, min(low + length_s, 6 * slot_s), 1.0)
            fine = sum(rate[int(step // slot_s)] for step in steps) / 3600
            got = made.integral(rate, hours, slice(0, 1))[0, slot]
            assert got == pytest.approx(fine, rel=1e-6)
            span, covered = made.touched(0, slot, hours)
            assert (rate[span] * covered).sum() == pytest.approx(fine, rel=1e-6)
            assert made.beyond_h[0, slot] == pytest.approx(max(low + length_s - 5400, 0) / 3600)


def test_reduced_costs_are_costs_plus_prices_times_use() -> None:
    model, dice = model_of(contest()), np.random.default_rng(1)
    prices = tuple(dice.random(rows.capacity.shape) for rows in model.families)
    reduced = reduced_yuan(model, prices)
    for pair, slot in np.argwhere(np.isfinite(model.cost_yuan)).tolist():
        yuan = model.cost_yuan[pair, slot]
        for family, entry in model.uses[pair]:
            group, span, amounts = model.load(family, entry, slot)
            yuan += float((prices[family][group, span] * amounts).sum())
        assert reduced[pair, slot] == pytest.approx(yuan)


def test_the_dual_bound_lies_below_every_plan_and_above_the_free_one() -> None:
    model = model_of(contest())
    plans = [insert_all(model, model.cost_yuan, depth) for depth in (1, 5, 20)]
    for assignment in plans:
        improve(model, assignment, loaded(model, assignment), 5)
    worth = [objective_yuan(model, assignment) for assignment in plans]
    free = find_duals(model, min(worth), 1).bound_yuan
    bound = find_duals(model, min(worth), 80).bound_yuan
    assert free < bound <= min(worth)


def test_fits_agrees_with_trying() -> None:
    model = model_of(contest())
    residual = Residual(model)
    residual.place(0, 1)
    residual.place(1, 2)
    for k in range(len(model.jobs)):
        span, fits = model.spans[k], residual.fits(k)
        for pair in range(span.start, span.stop):
            for slot in range(model.scene.slots):
                residual.place(pair, slot)
                legal = all(
                    rows.elastic_yuan is not None or (left >= -1e-6).all()
                    for rows, left in zip(model.families, residual.left, strict=True)
                )
                residual.place(pair, slot, -1)
                allowed = bool(np.isfinite(model.cost_yuan[pair, slot]))
                assert fits[pair - span.start, slot] == (legal and allowed)


def test_excess_is_what_one_more_job_adds() -> None:
    model = model_of(contest())
    residual = Residual(model)
    residual.place(0, 0)
    before = residual.total_excess_yuan()
    for k in range(len(model.jobs)):
        span, excess = model.spans[k], residual.excess_yuan(k)
        for pair in range(span.start, span.stop):
            for slot in range(model.scene.slots):
                residual.place(pair, slot)
                added = residual.total_excess_yuan() - before
                residual.place(pair, slot, -1)
                assert excess[pair - span.start, slot] == pytest.approx(added, abs=1e-9)


def test_after_improving_no_single_move_gains() -> None:
    model = model_of(contest())
    assignment = insert_all(model, model.cost_yuan, 5)
    residual = loaded(model, assignment)
    improve(model, assignment, residual, 20)
    for k in model.active.tolist():
        for choice in assignment[k]:
            assert choice is not None
            residual.place(choice.pair, choice.slot, -1)
            excess = residual.excess_yuan(k)[choice.pair - model.spans[k].start, choice.slot]
            _, least = best(model, residual, k)
            assert model.cost_yuan[choice.pair, choice.slot] + excess <= least + GAIN_LEAST_YUAN
            residual.place(choice.pair, choice.slot)


def test_packing_repairs_what_best_fit_leaves_out() -> None:
    # Best fit decreasing puts 5 + 4 on one of the nodes of 10 cores, and then one 2 finds no room.
    world = World().hub("qingyang", nodes=2, gpus=8, cpus=10.0).job("job")
    pool = build_scene(world.snapshot(), Weights()).pools[0]
    gangs = [spec_of(gpus=1, cpus=cores) for cores in (2.0, 2.0, 3.0, 4.0, 4.0, 5.0)]
    packing = pack(pool, gangs, [1.0] * len(gangs))
    used = {node.id: 0.0 for node in pool.nodes}
    for gang, nodes in zip(gangs, packing.nodes, strict=True):
        assert nodes is not None, "5 + 3 + 2 and 4 + 4 + 2 fit"
        for node in nodes:
            used[node] += gang.per_worker.cpus
    assert max(used.values()) <= 10.0


def test_packing_keeps_the_dearest_and_never_splits_a_gang() -> None:
    world = World().hub("qingyang", nodes=2, gpus=4).job("job")
    pool = build_scene(world.snapshot(), Weights()).pools[0]
    gangs = [spec_of(gpus=3, workers=2), spec_of(gpus=4, workers=2)]
    assert pack(pool, gangs, [9.0, 1.0]).nodes[1] is None
    assert pack(pool, gangs, [1.0, 9.0]).nodes[0] is None


def test_green_is_shared_by_load_after_the_holds() -> None:
    world = World(slots=1).hub("qingyang", nodes=3, green_kw=6.0)
    world.busy("qingyang-0", gpus=8, minutes=15)
    world.job("held", gpus=8, min_green_share=0.5, minutes=15).job("rest", gpus=8, minutes=15)
    made = {p.job_id: p for p in plan(world.snapshot()).placements}
    # 4.8 kW each; 2.4 are held, 3.6 go to the other 12 kW: 30 % of each job's rest.
    assert made["held"].green_kwh == pytest.approx((2.4 + 0.3 * 2.4) / 4)
    assert made["rest"].green_kwh == pytest.approx(0.3 * 4.8 / 4)


def test_the_ledger_takes_back_what_it_entered() -> None:
    model = model_of(contest())
    assignment = insert_all(model, model.cost_yuan, 5)
    ledger = Ledger(model, assignment)
    choice = next(c for jobs in assignment for c in jobs if c is not None)
    ledger.add(choice, -1)
    alone = ledger.energy(choice)
    ledger.add(choice)
    ledger.add(choice, -1)
    assert ledger.energy(choice).green_kwh == pytest.approx(alone.green_kwh)
    assert 0 <= alone.green_kwh <= alone.kwh
    assert isinstance(choice, Choice)


def test_stages_are_told_in_order() -> None:
    told: list[str] = []
    plan(contest().snapshot(), on_stage=told.append)
    order = ["scene", "candidates", "greedy", "duals", "nodes", "explain"]
    assert all(told.index(a) < told.index(b) for a, b in pairwise(order))
