"""The stages of the pipeline, each alone."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from policies.registry import POLICIES
from policies.scene import Ints, window
from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.job import DataInput
from scheduler.planner.block import Block
from scheduler.planner.budget import Budget
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import Duals, Market
from scheduler.planner.kernels.loads import rents, usage
from scheduler.planner.kernels.pricing import fill_class, sums_at
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Model, build_model
from scheduler.planner.nodes import pack
from scheduler.planner.pipeline import plan
from scheduler.planner.places import Choice, Places, Residual, nowhere, objective_yuan
from scheduler.planner.scene import build_scene
from scheduler.planner.search import (
    GAIN_LEAST_YUAN,
    Found,
    Guide,
    inserted,
    squeaky,
    swept,
)
from scheduler.planner.snapshot import PlannedStart
from tests.scenario.world import NOON, World, link, spec_of


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


def mixed() -> World:
    """Everything at once: late starts in a slot, data, minimum shares, power caps, what runs."""
    world = World(slots=8, now_at=NOON + timedelta(minutes=4))
    world.hub("qingyang", nodes=2, gpus=4, price=[0.2, 0.6] * 4, green_kw=[0.5] * 4 + [2.0] * 4)
    world.hub("horinger", gpus=2, power_cap_kw=1.0, links=(link("shanghai", 0.5),))
    world.busy("qingyang-0", gpus=2, minutes=40)
    for n, gpus in enumerate((1, 2, 4, 1, 0, 3)):
        world.job(
            f"job{n}",
            gpus=gpus,
            minutes=(3, 15, 37, 60, 200, 22)[n],
            delay_minutes=20 * (n % 3),
            earliest_minutes=None if n % 2 else 10.0 * n,
            min_green_share=0.3 if n in (1, 4) else None,
            data=(DataInput(40.0, "shanghai"),) if n in (0, 5) else (),
            must_be_in=("horinger",) if n == 0 else (),
        )
    return world


def greedy(model: Model, market: Market, passes: int = 20) -> tuple[Found, Guide]:
    """A plan at some prices."""
    prices = market.climb(market.first_prices(), passes).prices
    per_pair = np.full(len(model.problem.pairs), np.inf)
    bound, least = market.certify(prices, per_pair)
    guide = Guide(Duals(prices, bound, market.worth), per_pair, least)
    return chosen(model, market, guide, market.active), guide


def chosen(model: Model, market: Market, guide: Guide, order: Ints) -> Found:
    """All choose in an order."""
    early = np.zeros(len(model.jobs), dtype=np.int64)
    return inserted(model, market, guide, order, np.zeros(1, dtype=np.int64), early=early)


def replanned() -> World:
    """The mixed world after a round that had planned some of the jobs."""
    world = mixed()
    for n, (cluster, minutes) in enumerate((("qingyang", 30), ("horinger", 45), ("qingyang", 0))):
        start_at = NOON + timedelta(minutes=minutes)
        world.previous[f"job{n}"] = PlannedStart(cluster, "A800", start_at)
    return world


WORLDS = {"contest": contest, "mixed": mixed, "replanned": replanned}


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


@pytest.mark.parametrize("name", WORLDS)
def test_the_loops_cost_options_as_the_policies_do(name: str) -> None:
    """Costs plus prices times use, for every option: compiled sums against arrays written out."""
    model, dice = model_of(WORLDS[name]()), np.random.default_rng(1)
    prices = dice.random(model.problem.capacity.shape)
    sums = sums_at(model.problem, prices)
    for k in range(len(model.jobs)):
        block = Block(model, k)
        yuan = np.empty(block.start_s.shape)
        fill_class(model.problem, sums, k, yuan)
        assert (np.isfinite(yuan) == block.allowed).all()
        for row, slot in np.argwhere(block.allowed).tolist():
            choice = Choice(block.span.start + row, slot)
            expected = block.cost_yuan[row, slot]
            for use in model.uses(choice.pair):
                span, amounts = model.load(use, choice.pair, slot)
                expected += float((prices[use.row, span] * amounts).sum())
            assert yuan[row, slot] == pytest.approx(expected)
            pair, at = np.array([choice.pair]), np.array([slot])
            rent = rents(model.problem, sums.yuan, pair, at)[0]
            own = Residual(model).cost_yuan(choice) - Residual(model).excess_yuan(choice)
            assert own + rent == pytest.approx(expected)


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_used_in_all_is_the_sum_of_what_each_uses(name: str) -> None:
    model = model_of(WORLDS[name]())
    found, _ = greedy(model, Market(model))
    used = usage(model.problem, found.places.pair, found.places.slot, np.ones(len(model.jobs)))
    expected = np.zeros_like(used)
    residual = Residual(model)
    for _, choice in found.places.placed():
        residual.place(choice)
        for use in model.uses(choice.pair):
            span, amounts = model.load(use, choice.pair, choice.slot)
            expected[use.row, span] += amounts
    assert used == pytest.approx(expected)
    finite = np.isfinite(model.problem.capacity)
    left = residual.left[finite]
    assert model.problem.capacity[finite] - left == pytest.approx(expected[finite])


def test_the_dual_bound_lies_below_every_plan_and_above_the_free_one() -> None:
    model = model_of(contest())
    market = Market(model)
    free = market.certify(market.first_prices())[0]
    climbed = market.climb(market.first_prices(), 40)
    assert climbed.bound_yuan == pytest.approx(market.certify(climbed.prices)[0])
    worth = []
    for order in (market.active, market.active[::-1]):
        guide = Guide(climbed, np.full(len(model.problem.pairs), -np.inf), np.zeros(9))
        worth.append(chosen(model, market, guide, order).yuan)
    assert free < climbed.bound_yuan <= min(worth)


def test_folds_come_near_the_prices_of_all() -> None:
    world = World(slots=8).hub("qingyang", nodes=4, price=[0.2, 0.4] * 4).hub("horinger", nodes=4)
    for n in range(200):
        world.job(f"job{n}", minutes=10 + n % 90, delay_minutes=60, gpus=1 + n % 2)
    model = model_of(world)
    market = Market(model)
    whole = market.climb(market.first_prices(), 60).bound_yuan
    folded = market.certify(market.climb(market.first_prices(), 60, folds=4).prices)[0]
    assert folded == pytest.approx(whole, rel=0.03)


def test_rows_that_others_imply_are_left_out() -> None:
    world = World().hub("qingyang", gpus=8, cpus=64.0, nodes=3)
    for n in range(40):
        world.job(f"job{n}", gpus=1 + n % 2, cpus=4.0 + n % 3, memory_gb=2.0)
    model = model_of(world)
    names = [rule.name for rule in model.candidates.rows]
    bind = {name: (row >= 0).any() for name, row in zip(names, model.problem.pool_row, strict=True)}
    assert bind["capacity"]
    # Eight cores to each accelerator, and nobody asks for more; blocks of 2 in nodes of 8.
    assert not bind["cpus"]
    assert not bind["memory"]
    assert not bind["capacity-blocks-of-2"]


@pytest.mark.parametrize("name", WORLDS)
def test_room_agrees_with_trying(name: str) -> None:
    model = model_of(WORLDS[name]())
    residual = Residual(model)
    for pair, slot in ((0, 1), (1, 2), (len(model.problem.pairs) - 1, 3)):
        residual.place(Choice(pair, slot))
    before, hard = residual.total_excess_yuan(), model.problem.rows["hard"] > 0
    for k in range(len(model.jobs)):
        block = Block(model, k)
        room, excess = block.room_yuan(residual.left), block.excess_yuan(residual.left)
        for row, slot in np.argwhere(block.allowed).tolist():
            choice = Choice(block.span.start + row, slot)
            residual.place(choice)
            legal = bool((residual.left[hard] >= -1e-6).all())
            added = residual.total_excess_yuan() - before
            residual.place(choice, -1)
            assert np.isfinite(room[row, slot]) == legal == residual.fits(choice)
            assert excess[row, slot] == pytest.approx(added, abs=1e-6)
            if legal:
                assert room[row, slot] == pytest.approx(added, abs=1e-6)


def test_after_sweeping_no_single_move_gains() -> None:
    model = model_of(contest())
    market = Market(model)
    greedy_plan, guide = greedy(model, market, passes=60)
    found = swept(model, market, guide, greedy_plan, Budget(sweeps=20))
    residual = Residual(model, found.places)
    for j, choice in found.places.placed():
        residual.place(choice, -1)
        _, least = residual.best(int(found.places.klass[j]))
        assert residual.cost_yuan(choice) <= least + GAIN_LEAST_YUAN
        residual.place(choice)


def test_who_comes_away_with_nothing_chooses_earlier() -> None:
    """A short job takes the room that the long one needs, unless that one goes first."""
    world = World(slots=4).hub("qingyang", gpus=1)
    world.job("long", minutes=45, deadline_minutes=46)
    world.job("short", minutes=15, delay_minutes=60)
    model = model_of(world)
    market = Market(model)
    _, guide = greedy(model, market)
    best = squeaky(model, market, guide, Budget())
    assert (best.places.pair >= 0).all()


def test_the_objective_is_what_the_places_cost() -> None:
    model = model_of(contest())
    market = Market(model)
    found, _ = greedy(model, market)
    total, residual = 0.0, Residual(model)
    for _, choice in found.places.placed():
        total += residual.cost_yuan(choice)
        residual.place(choice)
    empty = nowhere(model)
    assert found.yuan == pytest.approx(total)
    assert objective_yuan(model, empty, market.active) == pytest.approx(model.unplaced_yuan.sum())


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


@pytest.mark.parametrize("name", WORLDS)
def test_the_ledger_takes_back_what_it_entered(name: str) -> None:
    model = model_of(WORLDS[name]())
    places: Places = greedy(model, Market(model))[0].places
    ledger = Ledger(model, places)
    together = ledger.energies(places.pair, places.slot)
    for q, (_, choice) in enumerate(places.placed()):
        ledger.add(choice, -1)
        alone = ledger.energy(choice)
        ledger.add(choice)
        figures = (alone.kwh, alone.green_kwh, alone.carbon_kg, alone.held_kw)
        assert figures == pytest.approx([column[q] for column in together])
        assert 0 <= alone.green_kwh <= alone.kwh


def test_stages_are_told_in_order() -> None:
    told: list[str] = []
    plan(contest().snapshot(), on_stage=told.append)
    order = ["scene", "candidates", "duals", "insert", "nodes", "explain", "interrupt"]
    assert all(told.index(a) < told.index(b) for a, b in pairwise(order))


def test_a_round_of_little_time_does_less_and_is_honest_all_the_same() -> None:
    assert Budget().fitted(10**7) == Budget()
    little = Budget(seconds=0.2).fitted(2_000_000)
    assert little.dual_passes < Budget().dual_passes
    assert (little.tries, little.exact_options) == (3, 0)
    assert Budget(seconds=100.0).fitted(2_000_000) == Budget(seconds=100.0)
    snapshot = contest().snapshot()
    hasty, patient = (plan(snapshot, Budget(seconds=s)) for s in (0.0, 100.0))
    for made in (hasty, patient):
        assert check(snapshot, made) == []
        assert made.bound_yuan <= made.objective_yuan
    assert hasty.bound_yuan <= patient.bound_yuan
    assert patient.gap <= hasty.gap
