"""The plan itself: jobs into what is left at shadow prices, then to where they cost less.

Those choose first that need most of the time they may use: what they leave suits the others. Who
loses most against what the prices promise, or comes away with nothing, chooses earlier the next
time (squeaky wheel optimisation: Joslin and Clements 1999).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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
from scheduler.planner.recall import Recalled
from scheduler.planner.way import LEFT_MOST, make_way

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
# A gap above which what was planned before is not gone on from.
AFRESH = 3e-2
# A plan and prices that were nearly right are mended with one in so many of the passes and looks
# that it takes to find them.
MENDING = 6
# In large fleets, newcomers who need so much of the time they may use choose before those with a
# plan: where all the others had left them no room, these would be asked again, order after order.
PRESSED = 0.5
# The jobs that lose most and so much of all that is lost together are worth moving: the many others
# lose next to nothing each.
LOST = 0.9
# A sweep that has moved fewer of those that it looked at is the last.
MOVED_LEAST = 0.05
# How far ahead of others those move that were left without a place.
AHEAD = 0.75
# Of the placed ones, at most one in so many classes squeaks.
SQUEAKS = 100
# So many insertions that were no better than the best are enough.
WORSE_MOST = 2
# Where pairs are few an order takes a few milliseconds: so many times as many are tried, unless a
# plan is gone on from: each other order moves some of it.
PATIENCE = 5
# Where the plan that was is gone on from, all have a place and the gap is no wider, that is enough:
# another order moves more of what was planned than it gains.
ENOUGH = 1e-2
# Where all have a place, one in so many of the looks goes into finding better ones this way.
FOR_NOBODY = 10


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
    """The best plan found and what it costs, the shadow prices with the best certified bound, and
    the classes that have a start at all; ``guide`` are the prices whose own bound is the best."""

    places: Places
    yuan: float
    duals: Duals
    active: Ints
    guide: Guide

    @property
    def gap(self) -> float:
        """How much better a plan may be, relative to this one."""
        return (self.yuan - self.duals.bound_yuan) / abs(self.yuan) if self.yuan else 0.0


def search(
    model: Model, budget: Budget, done: Callable[[str], None], known: Recalled | None = None
) -> Searched:
    """Looks for a plan.

    Args:
        done: called with the name of each stage when it is over.
        known: from the round before.
    """
    market = Market(model, known.worth if known else None)
    if not len(market.active):
        none = Duals(market.first_prices(), 0.0, market.worth)
        guide = Guide(none, np.empty(0), market.free.yuan)
        return Searched(nowhere(model), 0.0, none, market.active, guide)
    fitted = budget.fitted(len(model.problem.pairs))
    if known is None:
        return _attempted(model, market, fitted, done)
    again = _attempted(model, market, fitted, done, known.prices)
    if again.gap <= AFRESH or fitted is not budget:
        return again
    # Too much has changed, or is asked for, to go on from what was.
    afresh = _attempted(model, Market(model), fitted, done)
    best, other = (afresh, again) if afresh.yuan < again.yuan else (again, afresh)
    duals = max(best.duals, other.duals, key=lambda duals: duals.bound_yuan)
    guide = max(best.guide, other.guide, key=lambda guide: guide.duals.bound_yuan)
    return replace(best, duals=duals, guide=guide)


def _attempted(
    model: Model,
    market: Market,
    budget: Budget,
    done: Callable[[str], None],
    known: Floats | None = None,
) -> Searched:
    """A plan at prices found from nothing; or at prices that are known, from the plan that was."""
    per_pair = np.full(len(model.problem.pairs), np.inf)
    if known is None:
        prices = _prices(model, market, budget.dual_passes, per_pair)
    else:
        prices = _mended(model, market, budget.dual_passes, known)
        budget = replace(budget, looks=budget.looks // MENDING)
    bound, least = market.certify(prices, per_pair)
    duals = Duals(prices, bound, market.worth)
    done("duals")
    guide = Guide(duals, per_pair, least)
    best = squeaky(model, market, guide, budget, keeping=known is not None)
    done("insert")
    if best.yuan - bound > CLOSE * abs(best.yuan):
        best = swept(model, market, guide, best, budget)
        done("sweep")
    few = int(market.starts.sum()) <= budget.exact_options
    wide = best.yuan - bound > (CLOSE if few else GOOD) * abs(best.yuan)
    if budget.exact_options and wide and len(per_pair) <= PAIRS_EXACT and (few or known is None):
        near = Neighbourhoods(model, market, prices, least)
        found = near.improve(
            best.places, best.yuan, options=budget.exact_options, work=budget.exact_work
        )
        best = swept(model, market, guide, Found(found.places, found.yuan), budget)
        duals = replace(duals, bound_yuan=max(bound, found.bound_yuan))
        done("exact")
    return Searched(best.places, best.yuan, duals, market.active, guide)


def _prices(model: Model, market: Market, passes: int, per_pair: Floats) -> Floats:
    """Shadow prices: with twice the passes where pairs are few; where they are many, roughly by
    small samples first, then by larger ones among the best pairs of each class."""
    start, pairs = market.first_prices(), len(model.problem.pairs)
    if pairs <= PAIRS_AT_ONCE:
        return market.climb(start, 2 * passes).prices
    folds = min(pairs // PAIRS_AT_ONCE, FOLDS_MOST)
    rough = 2 * passes // 3
    prices = market.climb(start, rough, folds=4 * folds).prices
    market.certify(prices, per_pair)
    market = market.short(per_pair, LISTED)
    return market.climb(prices, passes, folds=folds, before=rough // 2).prices


def _mended(model: Model, market: Market, passes: int, known: Floats) -> Floats:
    """Shadow prices from those of a problem that was nearly the same, in small steps."""
    start = np.maximum(np.minimum(known, market.ceiling), market.first_prices())
    pairs, few = len(model.problem.pairs), passes // MENDING
    if pairs <= PAIRS_AT_ONCE:
        return market.climb(start, 2 * few, before=passes).prices
    folds = min(pairs // PAIRS_AT_ONCE, FOLDS_MOST)
    return market.climb(start, few, folds=folds, before=passes).prices


def inserted(
    model: Model, market: Market, guide: Guide, order: Ints, work: Ints, *, early: Ints
) -> Found:
    """Places jobs in an order of their classes, each at its cheapest start at prices that fits.

    Args:
        work: counts the pairs that are looked at, (1,).
        early: who comes before all others, (K,): see ``insert``.
    """
    places, residual = nowhere(model), Residual(model)
    sums = sums_at(model.problem, guide.duals.prices)
    insert(
        model.problem,
        sums,
        residual.left,
        guide.per_pair,
        places.jobs_from,
        order,
        early,
        places.pair,
        places.slot,
        work,
    )
    return Found(places, objective_yuan(model, places, market.active, residual))


def swept(model: Model, market: Market, guide: Guide, found: Found, budget: Budget) -> Found:
    """Moves jobs one by one to where they cost less, until none gains or the budget is spent; those
    first that lose most against what the prices promise them."""
    problem, places = model.problem, found.places.copy()
    residual = Residual(model, places)
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    work = np.zeros(1, dtype=np.int64)
    for _ in range(budget.sweeps):
        lost = losses_yuan(model, guide, places)
        # Those whom prices leave out lose nothing, but there may be room that nobody else takes.
        some = ((lost > GAIN_LEAST_YUAN) | (places.pair < 0)) & np.isin(places.klass, market.active)
        jobs = np.flatnonzero(some)
        jobs = jobs[np.argsort(-lost[jobs], kind="stable")[: budget.looks]]
        lost_before = np.cumsum(lost[jobs]) - lost[jobs]
        jobs = jobs[(lost_before < LOST * lost[jobs].sum()) | (places.pair[jobs] < 0)]
        moved = improve(
            problem,
            sums,
            residual.left,
            market.free_per_pair(np.unique(places.klass[jobs])),
            jobs,
            places.klass,
            places.pair,
            places.slot,
            GAIN_LEAST_YUAN,
            work,
            budget.looks,
        )
        if moved < MOVED_LEAST * len(jobs) or work[0] >= budget.looks:
            break
    return Found(places, objective_yuan(model, places, market.active, residual))


def losses_yuan(model: Model, guide: Guide, places: Places) -> Floats:
    """What each job's place costs above its class's cheapest option, at shadow prices; (N,)."""
    problem, placed = model.problem, np.flatnonzero(places.pair >= 0)
    yuan = model.unplaced_yuan[places.klass]
    pair, slot = places.pair[placed], places.slot[placed]
    yuan[placed] = costs_yuan(model, pair, slot)
    yuan[placed] += rents(problem, guide.duals.prices * problem.profile, pair, slot)
    return yuan - np.minimum(guide.least, model.unplaced_yuan)[places.klass]


def squeaky(
    model: Model, market: Market, guide: Guide, budget: Budget, *, keeping: bool = False
) -> Found:
    """The best of several insertions.

    Args:
        keeping: those with a place that was planned before go first: whoever took it would make
            them take another's.
    """
    active, bound, work = market.active, guide.duals.bound_yuan, np.zeros(1, dtype=np.int64)
    many = len(guide.per_pair) > PAIRS_AT_ONCE
    tightness = _tightness(model)
    rank = tightness[active]
    early = np.zeros(len(model.jobs), dtype=np.int64)
    if keeping:
        kept = model.problem.classes["kept_pair"] >= 0
        early[:] = np.where(kept, 1, np.where(many & (tightness >= PRESSED), 2, 0))

    def tried() -> Found:
        order = active[np.argsort(-rank, kind="stable")]
        made = inserted(model, market, guide, order, work, early=early)
        return _way_made(model, market, guide, made, tightness) if many else made

    found = best = tried()
    lost = best_lost = losses_yuan(model, guide, found.places)
    worse = 0
    patience = 1 if many or keeping else PATIENCE
    for _ in range(patience * budget.tries - 1):
        waits = (best.places.pair[np.isin(best.places.klass, active)] < 0).any()
        lenient = keeping and many and not waits and _well_placed(model, guide, best, best_lost)
        close = best.yuan - bound <= (ENOUGH if lenient else CLOSE) * abs(best.yuan)
        looks = budget.tries_looks if waits else budget.tries_looks // FOR_NOBODY
        hopeless = worse > (0 if keeping else patience * WORSE_MOST) and not waits
        if close or hopeless or work[0] >= looks:
            break
        squeaks = _squeaks(model, guide, found, lost)[active]
        if not squeaks.any():
            break
        if keeping:
            early[active[squeaks]] = 2
        # They move ahead of three quarters of what was before them.
        place = np.empty(len(active))
        place[np.argsort(-rank, kind="stable")] = np.arange(len(active))
        rank = -np.where(squeaks, (1 - AHEAD) * place - 0.5, place)
        found = tried()
        lost = losses_yuan(model, guide, found.places)
        better = found.yuan < best.yuan - GAIN_LEAST_YUAN
        worse = 0 if better else worse + 1
        best, best_lost = (found, lost) if better else (best, best_lost)
    return best


def _way_made(model: Model, market: Market, guide: Guide, found: Found, tightness: Floats) -> Found:
    """The same, if only few are left without a place, with places for those that others can make
    way for."""
    places = found.places
    left = np.flatnonzero((places.pair < 0) & np.isin(places.klass, market.active))
    if not 0 < len(left) <= LEFT_MOST:
        return found
    left = left[np.argsort(-tightness[places.klass[left]], kind="stable")]
    made = make_way(model, guide.duals.prices, places, left, 1 - tightness)
    again = Found(made, objective_yuan(model, made, market.active))
    return again if again.yuan < found.yuan else found


def _well_placed(model: Model, guide: Guide, found: Found, lost: Floats) -> bool:
    """Whether nobody who is not where it was planned costs twice what it should: however late a few
    urgent ones start, that is little beside what a whole hub costs."""
    places, classes = found.places, model.problem.classes
    strayed = places.pair != classes["kept_pair"][places.klass]
    strayed |= places.slot != classes["kept_slot"][places.klass]
    return not (strayed & (lost > np.abs(guide.least)[places.klass])).any()


def _squeaks(model: Model, guide: Guide, found: Found, lost: Floats) -> Bools:
    """The few classes that lose half of all that is lost, and those without a place; not these in
    overload, where prices leave some out: then others may have to stay out with them; (K,)."""
    places, lost = found.places, np.maximum(lost, 0.0)
    per_class = np.bincount(places.klass, weights=lost, minlength=len(model.jobs))
    order = np.argsort(-per_class, kind="stable")[: max(len(per_class) // SQUEAKS, 1)]
    before = np.cumsum(per_class[order]) - per_class[order]
    some = before < per_class.sum() / 2
    squeaks = np.zeros(len(model.jobs), dtype=bool)
    left_out = np.isfinite(guide.least) & (guide.least >= model.unplaced_yuan)
    if not left_out.any():
        squeaks[places.klass[places.pair < 0]] = True
    squeaks[order[some]] = True
    return squeaks


def _tightness(model: Model) -> Floats:
    """How much of the time that it may use each class needs, 0 to 1; (K,)."""
    pairs, classes = model.problem.pairs, model.problem.classes
    run, starts = np.zeros((2, len(classes)))
    some = np.flatnonzero(classes["high"] > classes["low"])
    span = pairs["last"].astype(np.int32) - pairs["first"] + 1
    if len(some):
        run[some] = np.maximum.reduceat(pairs["run"], classes["low"][some])
        starts[some] = np.maximum(np.maximum.reduceat(span, classes["low"][some]), 0)
    return np.divide(run, run + starts, out=np.ones_like(run), where=run + starts > 0)
