"""The plan itself: jobs into what is left at shadow prices, then to where they cost less.

Long runs choose first: they need room for the longest time, and what they leave suits short ones.
Who comes away with nothing, or far from what the prices promise, chooses earlier the next time
(squeaky wheel optimisation: Joslin and Clements 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.duals import CLOSE, Duals, Market
from scheduler.planner.kernels.placing import improve, insert
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.model import Model
from scheduler.planner.neighbourhoods import Neighbourhoods
from scheduler.planner.places import Places, Residual, nowhere, objective_yuan

# Moves that gain less, in yuan, are not worth the change.
GAIN_LEAST_YUAN = 1e-6
# So many pairs are asked at once when prices are sought; where there are more, in turns.
PAIRS_AT_ONCE = 20_000
FOLDS_MOST = 10
# A gap that CP-SAT is not asked to narrow where it cannot see all options.
GOOD = 2e-2
# How far ahead of others those move that were left without a place.
AHEAD = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much work a round may do; counted, not timed, so that a round can be repeated.

    Attributes:
        dual_passes: times that the jobs, or a fold of them, are asked for the shadow prices.
        tries: orders in which jobs are placed, each from what the one before left out.
        sweeps: passes of single moves over all jobs.
        exact_options: up to so many options in all, CP-SAT plans everything at once, above it one
            neighbourhood after another; 0 leaves it out.
        exact_work: CP-SAT's deterministic time, about seconds of one core.
        explained: jobs that do not start now but are explained with all their candidates.
    """

    dual_passes: int = 60
    tries: int = 12
    sweeps: int = 3
    exact_options: int = 2000
    exact_work: float = 0.1
    explained: int = 50


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
    folds = min(max(len(model.problem.pairs) // PAIRS_AT_ONCE, 1), FOLDS_MOST)
    prices = market.climb(prices, budget.dual_passes, folds=folds).prices
    per_pair = np.full(len(model.problem.pairs), np.inf)
    bound, least = market.certify(prices, per_pair)
    duals = Duals(prices, bound)
    done("duals")
    best = squeaky(model, market, Guide(duals, per_pair, least), budget.tries)
    done("insert")
    if best.yuan - duals.bound_yuan > CLOSE * abs(best.yuan):
        best = swept(model, market, best, budget.sweeps)
        done("sweep")
    few = int(market.starts.sum()) <= budget.exact_options
    wide = best.yuan - duals.bound_yuan > (CLOSE if few else GOOD) * abs(best.yuan)
    if budget.exact_options and wide:
        near = Neighbourhoods(model, market, prices, least)
        found = near.improve(
            best.places, best.yuan, options=budget.exact_options, work=budget.exact_work
        )
        best = swept(model, market, Found(found.places, found.yuan), budget.sweeps)
        duals = Duals(prices, max(bound, found.bound_yuan))
        done("exact")
    return Searched(best.places, duals, market.active)


def inserted(model: Model, market: Market, guide: Guide, order: Ints) -> Found:
    """Places jobs in an order of their classes, each at its cheapest start at prices that fits."""
    places, left = nowhere(model), model.problem.capacity.copy()
    sums, work = sums_at(model.problem, guide.duals.prices), np.zeros(1, dtype=np.int64)
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


def swept(model: Model, market: Market, found: Found, sweeps: int) -> Found:
    """Moves jobs one by one to where they cost less, until none gains or sweeps run out."""
    problem, places = model.problem, found.places.copy()
    left = Residual(model, places).left
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    jobs = np.flatnonzero(np.isin(places.klass, market.active))
    work = np.zeros(1, dtype=np.int64)
    for _ in range(sweeps):
        moved = improve(
            problem,
            sums,
            left,
            market.free_per_pair,
            jobs,
            places.klass,
            places.pair,
            places.slot,
            GAIN_LEAST_YUAN,
            work,
        )
        if not moved:
            break
    return Found(places, objective_yuan(model, places, market.active))


def squeaky(model: Model, market: Market, guide: Guide, tries: int) -> Found:
    """The best of several insertions."""
    active, bound = market.active, guide.duals.bound_yuan
    rank = _longest(model)[active]
    best: Found | None = None
    for _ in range(tries):
        order = active[np.argsort(-rank, kind="stable")]
        found = inserted(model, market, guide, order)
        if best is None or found.yuan < best.yuan:
            best = found
        alone = found.places.klass[found.places.pair < 0]
        lost = np.bincount(alone, minlength=len(model.jobs))[active] > 0
        if best.yuan - bound <= CLOSE * abs(best.yuan) or not lost.any():
            break
        # Those without a place move ahead of three quarters of what was before them.
        rank = np.where(lost, rank + AHEAD * (rank.max() - rank), rank)
    assert best is not None, "one try at least"
    return best


def _longest(model: Model) -> Floats:
    """The longest run of each class, in slots; (K,)."""
    longest = np.zeros(len(model.jobs))
    pairs = model.problem.pairs
    np.maximum.at(longest, pairs["klass"], pairs["run"])
    return longest
