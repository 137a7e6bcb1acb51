"""The plan itself: jobs into what is left at shadow prices, then to where they cost less.

Those choose first that need most of the time they may use: what they leave suits the others. Who
loses most against what the prices promise, or comes away with nothing, chooses earlier the next
time (squeaky wheel optimisation: Joslin and Clements 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policies.scene import Bools, Floats, Ints
from scheduler.planner.budget import Budget
from scheduler.planner.duals import CLOSE, Duals, Market
from scheduler.planner.kernels.loads import rents
from scheduler.planner.kernels.placing import improve, insert
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.model import Model
from scheduler.planner.neighbourhoods import Neighbourhoods
from scheduler.planner.places import Places, Residual, costs_yuan, nowhere, objective_yuan

# Moves that gain less, in yuan, are not worth the change.
GAIN_LEAST_YUAN = 1e-6
# So many pairs are asked at once when prices are sought; where there are more, in turns.
PAIRS_AT_ONCE = 20_000
FOLDS_MOST = 10
# Where there are more, what CP-SAT could see of them at a time is not worth its work.
PAIRS_EXACT = 500_000
# Pairs of a class that are looked at closely.
LISTED = 8
# A gap that CP-SAT is not asked to narrow where it cannot see all options.
GOOD = 2e-2
# How far ahead of others those move that are to blame.
AHEAD = 0.75
# Those to blame for a plan: they lose most, so much of all that is lost.
BLAMED = 0.8
# Tries in a row that find nothing better; where jobs are left without a place, all are made.
IDLE_MOST = 3


@dataclass(frozen=True, slots=True)
class Guide:
    """Shadow prices and what they say: each pair's least cost (m,), and each class's (K,)."""

    duals: Duals
    per_pair: Floats
    least: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """A legal plan and what it costs."""

    places: Places
    yuan: float


@dataclass(frozen=True, slots=True)
class Searched:
    """The best plan found, the shadow prices with the best certified bound, and the classes that
    have a start at all."""

    places: Places
    duals: Duals
    active: Ints


def search(model: Model, budget: Budget, done: Callable[[str], None]) -> Searched:
    """Looks for a plan.

    Args:
        done: called with the name of each stage when it is over.
    """
    market = Market(model)
    prices = market.first_prices()
    if not len(market.active):
        return Searched(nowhere(model), Duals(prices, 0.0), market.active)
    per_pair = np.full(len(model.problem.pairs), np.inf)
    budget = budget.fitted(len(per_pair))
    prices = _prices(model, market, budget.dual_passes, per_pair)
    bound, least = market.certify(prices, per_pair)
    duals = Duals(prices, bound)
    done("duals")
    guide = Guide(duals, per_pair, least)
    best = squeaky(model, market, guide, budget)
    done("insert")
    if best.yuan - duals.bound_yuan > CLOSE * abs(best.yuan):
        best = swept(model, market, guide, best, budget)
        done("sweep")
    few = int(market.starts.sum()) <= budget.exact_options
    wide = best.yuan - duals.bound_yuan > (CLOSE if few else GOOD) * abs(best.yuan)
    if budget.exact_options and wide and len(per_pair) <= PAIRS_EXACT:
        near = Neighbourhoods(model, market, prices, least)
        found = near.improve(
            best.places, best.yuan, options=budget.exact_options, work=budget.exact_work
        )
        best = swept(model, market, guide, Found(found.places, found.yuan), budget)
        duals = Duals(prices, max(bound, found.bound_yuan))
        done("exact")
    return Searched(best.places, duals, market.active)


def _prices(model: Model, market: Market, passes: int, per_pair: Floats) -> Floats:
    """Shadow prices: with twice the passes where pairs are few; where they are many, roughly by
    small samples first, then by larger ones among the best pairs of each class."""
    start, pairs = market.first_prices(), len(model.problem.pairs)
    if pairs <= PAIRS_AT_ONCE:
        return market.climb(start, 2 * passes).prices
    folds = min(pairs // PAIRS_AT_ONCE, FOLDS_MOST)
    rough = passes // 3
    prices = market.climb(start, rough, folds=4 * folds).prices
    market.certify(prices, per_pair)
    market.list_best(per_pair, LISTED)
    return market.climb(prices, passes, folds=folds, listed=True, before=rough // 2).prices


def inserted(model: Model, market: Market, guide: Guide, order: Ints, work: Ints) -> Found:
    """Places jobs in an order of their classes, each at its cheapest start at prices that fits;
    ``work`` (1,) counts the pairs that are looked at."""
    places, left = nowhere(model), model.problem.capacity.copy()
    sums = sums_at(model.problem, guide.duals.prices)
    insert(
        model.problem,
        sums,
        left,
        guide.per_pair,
        places.jobs_from,
        order,
        places.pair,
        places.slot,
        work,
    )
    return Found(places, objective_yuan(model, places, market.active))


def swept(model: Model, market: Market, guide: Guide, found: Found, budget: Budget) -> Found:
    """Moves jobs one by one to where they cost less, until none gains or the budget is spent; those
    first that lose most against what the prices promise them."""
    problem, places = model.problem, found.places.copy()
    left = Residual(model, places).left
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    work = np.zeros(1, dtype=np.int64)
    for _ in range(budget.sweeps):
        lost = losses_yuan(model, guide, places)
        jobs = np.flatnonzero((lost > GAIN_LEAST_YUAN) & np.isin(places.klass, market.active))
        moved = improve(
            problem,
            sums,
            left,
            market.free_per_pair,
            jobs[np.argsort(-lost[jobs], kind="stable")],
            places.klass,
            places.pair,
            places.slot,
            GAIN_LEAST_YUAN,
            work,
            budget.looks,
        )
        if not moved or work[0] >= budget.looks:
            break
    return Found(places, objective_yuan(model, places, market.active))


def losses_yuan(model: Model, guide: Guide, places: Places) -> Floats:
    """What each job's place costs above its class's cheapest option, at shadow prices; (N,)."""
    problem, placed = model.problem, np.flatnonzero(places.pair >= 0)
    yuan = model.unplaced_yuan[places.klass]
    pair, slot = places.pair[placed], places.slot[placed]
    yuan[placed] = costs_yuan(model, pair, slot)
    yuan[placed] += rents(problem, guide.duals.prices * problem.profile, pair, slot)
    return yuan - np.minimum(guide.least, model.unplaced_yuan)[places.klass]


def squeaky(model: Model, market: Market, guide: Guide, budget: Budget) -> Found:
    """The best of several insertions."""
    active, bound, work = market.active, guide.duals.bound_yuan, np.zeros(1, dtype=np.int64)
    rank, idle = _tightness(model)[active], 0
    best: Found | None = None
    for _ in range(budget.tries):
        order = active[np.argsort(-rank, kind="stable")]
        found = inserted(model, market, guide, order, work)
        gains = best is None or best.yuan - found.yuan > CLOSE * abs(best.yuan)
        idle = 0 if gains else idle + 1
        if best is None or found.yuan < best.yuan:
            best = found
        close = best.yuan - bound <= CLOSE * abs(best.yuan)
        alone = np.isin(found.places.klass[found.places.pair < 0], active).any()
        if close or (idle >= IDLE_MOST and not alone) or work[0] >= budget.tries_looks:
            break
        # They move ahead of three quarters of what was before them.
        blamed = _blamed(model, guide, found.places)[active]
        rank = np.where(blamed, rank + AHEAD * (rank.max() - rank), rank)
    assert best is not None, "one try at least"
    return best


def _blamed(model: Model, guide: Guide, places: Places) -> Bools:
    """The classes that lose most; (K,)."""
    lost_yuan = losses_yuan(model, guide, places)
    lost = np.bincount(places.klass, weights=lost_yuan, minlength=len(model.jobs))
    order = np.argsort(-lost, kind="stable")
    most = np.searchsorted(np.cumsum(lost[order]), BLAMED * lost.sum()) + 1
    blamed = np.zeros(len(lost), dtype=bool)
    blamed[order[:most]] = True
    return blamed & (lost > GAIN_LEAST_YUAN)


def _tightness(model: Model) -> Floats:
    """How much of the time that it may use each class needs, 0 to 1; (K,)."""
    pairs = model.problem.pairs
    run, starts = np.zeros((2, len(model.jobs)))
    np.maximum.at(run, pairs["klass"], pairs["run"])
    np.maximum.at(starts, pairs["klass"], pairs["last"] - pairs["first"].astype(float) + 1)
    return np.divide(run, run + starts, out=np.ones_like(run), where=run + starts > 0)
