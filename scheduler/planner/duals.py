"""Shadow prices of the rows, and the lower bound that they certify.

For any prices λ ≥ 0 (λ ≤ elastic price), every job picking its cheapest option at cost plus λ × use
on its own costs no more than any plan: L(λ) = Σ min(unplaced, min(cost + λ·use)) - Σ λ·capacity
(Held and Karp 1970; Fisher 1981). The largest L is approached as a market finds its prices: what is
asked for beyond its capacity becomes dearer, what is left over cheaper, in steps that shrink,
proportional to a family's reference price, with momentum. Measured against Polyak's subgradient
step, 20 such passes came nearer than 240.
"""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.scene import Bools, Floats, Ints
from scheduler.planner.kernels.loads import usage
from scheduler.planner.kernels.pricing import best_options, shortlist, sums_at
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.model import Model

# The first step, in reference prices per whole excess.
STEP_FIRST = 0.3
# What a price may rise by in one pass, of itself and its reference.
RISE_MOST = 0.2
# What counts of an excess, in capacities. Where all flock to one slot at a time, prices fall in the
# many that they have just left, by their whole capacity: were no more counted than that of what
# they ask for too much in one, prices would stand still far below what overload is worth.
EXCESS_MOST = 2.0
# A pass that still raises the bound by so much of it does not count; so up to a few times as many
# are made where prices must rise to a multiple of what energy costs.
GAIN_LEAST = 1e-3
PASSES_MOST = 4
# As long as passes over samples raise the bound, steps grow, and with them what counts of an
# excess; else they shrink again. Long steps need a shorter memory, or prices rise far too high.
GROWTH = 1.06
SHRINKAGE = 0.9
FORGETTING_MOST = 2.0
# The bound is as good as the plan, relative to it.
CLOSE = 1e-4
# What rows are worth is found by about so many pairs.
PAIRS_SAMPLED = 100_000
# So many classes beside each other go into the same sample: one by one, what is read of them would
# have to be waited for.
BLOCK = 16


@dataclass(frozen=True, slots=True)
class Pace:
    """How prices follow what is asked for.

    Attributes:
        momentum: what is asked for flocks from slot to slot as prices change: only over some passes
            does it show where there is too much of it.
        step_time: the first step halves after so many passes.
        bold_most: steps grow to so many times what they would be.
    """

    momentum: float
    step_time: float
    bold_most: float


WHOLE = Pace(momentum=0.9, step_time=10.0, bold_most=1.0)
# Each sample asks for something else: smaller steps, which remember more of the samples before. As
# a pass is over few, there are not many that prices could rise in by themselves.
SAMPLED = Pace(momentum=0.95, step_time=5.0, bold_most=4.0)


@dataclass(frozen=True, slots=True)
class Duals:
    """The best prices found, (R, A) in yuan per unit, their bound in yuan, and what a unit of each
    family of rows is about worth, (families,)."""

    prices: Floats
    bound_yuan: float
    worth: Floats


@dataclass(frozen=True, slots=True)
class Choices:
    """What each of some classes would choose on its own: pair (-1: none), slot, yuan."""

    pair: Ints
    slot: Ints
    yuan: Floats


class Market:
    """Asks the jobs of a model for their choices at given prices, and adapts the prices.

    Attributes:
        active: the classes that have a start at all.
        starts: in how many slots each pair may start, (m,).
        ceiling: the highest price of each row, (R, A).
        worth: what a unit of each family of rows is about worth, (families,).
    """

    def __init__(self, model: Model, worth: Floats | None = None) -> None:
        """Args:
        worth: of the families, if it is known; else it takes a pass over all options.
        """
        self.problem = problem = model.problem
        span = problem.pairs["last"].astype(np.int64) - problem.pairs["first"] + 1
        self.starts = np.maximum(span, 0)
        self.active = self._able_to_start()
        self._count = problem.classes["count"].astype(float)
        self._finite = np.isfinite(problem.capacity)
        self._capacity = np.where(self._finite, problem.capacity, 0.0)
        hard = problem.rows["hard"].astype(bool)
        self.ceiling = np.where(hard[:, None], np.inf, problem.elastic_yuan)
        self._free_per_pair = np.full(len(problem.pairs), np.inf)
        self._listed: Bools | None = None
        self._freed = np.zeros(len(problem.classes), dtype=bool)
        self.worth = self._worth(model) if worth is None else worth
        self._reference = np.asarray(self.worth[model.family][:, None])

    def _able_to_start(self) -> Ints:
        """The classes with a start: those with a pair that no row alone may be too small for, and
        of the others those that find one."""
        problem = self.problem
        plain = np.zeros(len(problem.classes), dtype=bool)
        plain[problem.pairs["klass"][(self.starts > 0) & (problem.pairs["guarded"] == 0)]] = True
        rest = np.flatnonzero(~plain)
        none = np.zeros(problem.capacity.shape)
        plain[rest] = self.choose(none, rest).pair >= 0
        return np.flatnonzero(plain)

    @cached_property
    def free(self) -> Choices:
        """The choices of all classes at no prices."""
        return self._free_of(np.arange(len(self.problem.classes)))

    def free_per_pair(self, which: Ints) -> Floats:
        """What the cheapest start of each pair of some classes costs at no prices, (m,)."""
        fresh = which[~self._freed[which]]
        if len(fresh):
            self._free_of(fresh)
        return self._free_per_pair

    def _free_of(self, which: Ints) -> Choices:
        self._freed[which] = True
        return self.choose(np.zeros(self.problem.capacity.shape), which, self._free_per_pair)

    def _worth(self, model: Model) -> Floats:
        """What a unit of each family is about worth: all that the plan costs at no prices, over all
        that it uses of the family's rows; by a sample where there are many pairs."""
        folds = max(len(self.problem.pairs) // PAIRS_SAMPLED, 1)
        which, times = self._samples(folds)[0]
        choices = self.choose(np.zeros(self.problem.capacity.shape), which)
        used = usage(self.problem, choices.pair, choices.slot, times).sum(axis=1)
        yuan = float(np.abs(choices.yuan) @ times)
        total = np.bincount(model.family, weights=used, minlength=len(model.families))
        worth = np.zeros(len(model.families))
        np.divide(yuan, total, out=worth, where=total > 0)
        return worth

    def choose(self, prices: Floats, which: Ints, per_pair: Floats | None = None) -> Choices:
        """See ``choose``; at every pair."""
        return choose(self.problem, prices, which, per_pair)

    def _bound_yuan(self, prices: Floats, yuan: Floats, times: Floats) -> float:
        """L of prices, by what the choices of classes cost that stand for so many jobs each."""
        return float((yuan * times).sum()) - float((prices * self._capacity).sum())

    def first_prices(self) -> Floats:
        """Nothing, but the full price where an elastic row has no capacity at all."""
        return np.where((self._capacity <= 0) & np.isfinite(self.ceiling), self.ceiling, 0.0)

    def short(self, per_pair: Floats, most: int) -> "Market":
        """The same where only the pairs of each class count that cost least, (m,): so many, and
        those that cost no more. Prices of such a market certify nothing."""
        market = copy(self)
        market._listed = np.zeros(len(self.problem.pairs), dtype=bool)
        shortlist(self.problem, per_pair, most, market._listed)
        return market

    def climb(self, start: Floats, passes: int, *, folds: int = 1, before: int = 0) -> Duals:
        """Prices after so many passes, each over one of so many folds of the classes in turn; those
        that still raise the bound of their fold do not count, up to PASSES_MOST times as many.

        Args:
            before: passes that have been made: steps go on from there.
        """
        rows = used_rows(self.problem)
        prices = np.zeros_like(start)
        prices[rows] = start[rows]
        best, most_yuan = Duals(start, -np.inf, self.worth), np.full(folds, -np.inf)
        own, momentum = start[rows], np.zeros((len(rows), self.problem.axis))
        capacity, finite = self._capacity[rows], self._finite[rows]
        reference, ceiling = self._reference[rows], self.ceiling[rows]
        scale = 1 / np.maximum(capacity, 1.0)
        samples, whole = self._parts(folds), folds == 1 and self._listed is None
        calm, bold, pace = 0, 1.0, WHOLE if folds == 1 else SAMPLED
        for n in range(PASSES_MOST * passes):
            if calm >= passes:
                break
            problem, which, times = samples[n % folds]
            choices = choose(problem, prices, which)
            unplaced = problem.classes["unplaced_yuan"][which]
            bound = self._bound_yuan(prices, np.minimum(choices.yuan, unplaced), times)
            so_far_yuan = most_yuan[n % folds]
            rises = np.isfinite(so_far_yuan) and bound > so_far_yuan + GAIN_LEAST * abs(so_far_yuan)
            most_yuan[n % folds] = max(so_far_yuan, bound)
            if np.isfinite(so_far_yuan):
                bold = min(max(bold * (GROWTH if rises else SHRINKAGE), 1.0), pace.bold_most)
            if whole and bound > best.bound_yuan:
                best = Duals(prices.copy(), bound, self.worth)
            pair = np.where(choices.yuan < unplaced, choices.pair, -1)
            used = usage(problem, pair, choices.slot, times)[rows]
            excess = np.where(finite, (used - capacity) * scale, 0.0)
            np.minimum(excess, bold * EXCESS_MOST, out=excess)
            # A row with room and no price stays so.
            excess[(own <= 0) & (excess < 0)] = 0.0
            fresh = (1 - pace.momentum) * min(bold, FORGETTING_MOST)
            momentum += fresh * (excess - momentum)
            step = bold * STEP_FIRST / (1 + (before + calm) / pace.step_time)
            own += np.minimum(step * momentum, RISE_MOST) * (reference + own)
            np.clip(own, 0.0, ceiling, out=own)
            prices[rows] = own
            calm += not rises
        return best if whole else Duals(prices, -np.inf, self.worth)

    def certify(self, prices: Floats, per_pair: Floats | None = None) -> tuple[float, Floats]:
        """The bound of prices, and what each class's choice costs at them (K,)."""
        choices = self.choose(prices, np.arange(len(self.problem.classes)), per_pair)
        yuan = np.minimum(choices.yuan, self.problem.classes["unplaced_yuan"])[self.active]
        return self._bound_yuan(prices, yuan, self._count[self.active]), choices.yuan

    def _parts(self, folds: int) -> list[tuple[Problem, Ints, Floats]]:
        """The folds: of a problem, classes and how many jobs each stands for."""
        samples = self._samples(folds)
        if self._listed is None:
            return [(self.problem, which, times) for which, times in samples]
        made = []
        for which, times in samples:
            lie = np.argsort(which)
            part = _part(self.problem, which[lie], self._listed)
            made.append((part, np.arange(len(which)), times[lie]))
        return made

    def _samples(self, folds: int) -> list[tuple[Ints, Floats]]:
        """Classes by fold, and how many jobs each stands for: big ones are in every fold, of the
        others every so many-th block."""
        if folds == 1:
            return [(self.active, self._count[self.active])]
        classes = self.problem.classes[self.active]
        weight = np.abs(classes["unplaced_yuan"]) * classes["count"]
        order = self.active[np.argsort(-weight, kind="stable")]
        head, rest = order[: len(order) // (4 * folds)], order[len(order) // (4 * folds) :]
        made, rest = [], np.sort(rest)
        block = max(min(BLOCK, len(rest) // (BLOCK * folds)), 1)
        turn = np.arange(len(rest)) // block % folds
        for fold in range(folds):
            part = rest[turn == fold]
            factor = float(self._count[rest].sum() / max(self._count[part].sum(), 1.0))
            times = np.concatenate([self._count[head], self._count[part] * factor])
            made.append((np.concatenate([head, part]), times))
        return made


def choose(
    problem: Problem, prices: Floats, which: Ints, per_pair: Floats | None = None
) -> Choices:
    """The choices of some classes; ``per_pair`` takes each pair's least cost."""
    n = len(which)
    pair, slot = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    made = Choices(pair, slot, np.empty(n))
    room = np.empty(0) if per_pair is None else per_pair
    best_options(problem, sums_at(problem, prices), which, pair, slot, made.yuan, room)
    return made


def _part(problem: Problem, which: Ints, listed: Bools) -> Problem:
    """Some classes with those of their pairs that are listed, side by side: asked again and again,
    they would be waited for one by one if they lay far from each other."""
    classes = problem.classes[which]
    many = classes["high"] - classes["low"]
    owner = np.repeat(np.arange(len(which)), many)
    pair = np.arange(len(owner)) + np.repeat(classes["low"] - (np.cumsum(many) - many), many)
    there = listed[pair]
    owner, pair = owner[there], pair[there]
    pairs = problem.pairs[pair]
    pairs["klass"] = owner
    bounds = np.searchsorted(owner, np.arange(len(which) + 1))
    classes["low"], classes["high"] = bounds[:-1], bounds[1:]
    # Pairs are still in their order.
    kept = classes["kept_pair"]
    at = np.minimum(np.searchsorted(pair, kept), max(len(pair) - 1, 0))
    classes["kept_pair"] = np.where((kept >= 0) & (pair[at] == kept), at, -1)
    stage_from, stages = problem.stage_from, problem.stages
    if len(stage_from):
        begin, entries = stage_from[pair], np.diff(stage_from)[pair]
        stage_from = np.zeros(len(pair) + 1, dtype=stage_from.dtype)
        np.cumsum(entries, out=stage_from[1:])
        more = np.arange(stage_from[-1]) - np.repeat(stage_from[:-1], entries)
        stages = stages[np.repeat(begin, entries) + more]
    return problem._replace(
        classes=classes,
        pairs=pairs,
        stage_from=stage_from,
        stages=stages,
        class_units=np.take(problem.class_units, which, axis=1),
        class_row=np.take(problem.class_row, which, axis=1),
    )


def used_rows(problem: Problem) -> Ints:
    """The rows that some option uses; no other can bind."""
    stages = problem.stages["row"].astype(np.int64)
    rows = np.unique(np.concatenate([problem.pool_row.ravel(), problem.class_row.ravel(), stages]))
    return np.asarray(rows[rows >= 0], dtype=np.int64)
