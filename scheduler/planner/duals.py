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

from policies.scene import Floats, Ints
from scheduler.planner.kernels.loads import usage
from scheduler.planner.kernels.pricing import best_options, shortlist, sums_at
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.model import Model

# The first step, in reference prices per whole excess; it halves after STEP_TIME passes.
STEP_FIRST = 0.3
STEP_TIME = 10.0
# What is asked for flocks from slot to slot as prices change: only over some passes does it show
# where there is too much of it.
MOMENTUM = 0.9
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
# The bound is as good as the plan, relative to it.
CLOSE = 1e-4
# What rows are worth is found by about so many pairs.
PAIRS_SAMPLED = 100_000
# Gangs of so many accelerators are never left out of a sample.
SAMPLED_MOST = 64


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
        self._whole = True
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

    def choose(
        self,
        prices: Floats,
        which: Ints,
        per_pair: Floats | None = None,
    ) -> Choices:
        """The choices of some classes; ``per_pair`` takes each pair's least cost."""
        n = len(which)
        pair, slot = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        made = Choices(pair, slot, np.empty(n))
        room = np.empty(0) if per_pair is None else per_pair
        sums = sums_at(self.problem, prices)
        best_options(self.problem, sums, which, pair, slot, made.yuan, room)
        return made

    def bound_yuan(self, prices: Floats, yuan: Floats, which: Ints, times: Floats) -> float:
        """L of prices, by the choices of classes that stand for so many jobs each."""
        unplaced = self.problem.classes["unplaced_yuan"][which]
        kept = float((np.minimum(yuan, unplaced) * times).sum())
        return kept - float((prices * self._capacity).sum())

    def first_prices(self) -> Floats:
        """Nothing, but the full price where an elastic row has no capacity at all."""
        return np.where((self._capacity <= 0) & np.isfinite(self.ceiling), self.ceiling, 0.0)

    def short(self, per_pair: Floats, most: int) -> "Market":
        """The same with only the pairs of each class that cost least, (m,): so many, and those that
        cost no more."""
        market = copy(self)
        market.problem, market._whole = _short(self.problem, per_pair, most), False
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
        samples, whole = self._samples(folds), folds == 1 and self._whole
        calm = 0
        for n in range(PASSES_MOST * passes):
            if calm >= passes:
                break
            which, times = samples[n % folds]
            choices = self.choose(prices, which)
            bound = self.bound_yuan(prices, choices.yuan, which, times)
            so_far_yuan = most_yuan[n % folds]
            rises = np.isfinite(so_far_yuan) and bound > so_far_yuan + GAIN_LEAST * abs(so_far_yuan)
            most_yuan[n % folds] = max(so_far_yuan, bound)
            if whole and bound > best.bound_yuan:
                best = Duals(prices.copy(), bound, self.worth)
            stays = choices.yuan < self.problem.classes["unplaced_yuan"][which]
            pair = np.where(stays, choices.pair, -1)
            used = usage(self.problem, pair, choices.slot, times)[rows]
            excess = np.where(finite, (used - capacity) * scale, 0.0)
            np.minimum(excess, EXCESS_MOST, out=excess)
            # A row with room and no price stays so.
            excess[(own <= 0) & (excess < 0)] = 0.0
            momentum *= MOMENTUM
            momentum += (1 - MOMENTUM) * excess
            step = STEP_FIRST / (1 + (before + calm) / STEP_TIME)
            own += np.minimum(step * momentum, RISE_MOST) * (reference + own)
            np.clip(own, 0.0, ceiling, out=own)
            prices[rows] = own
            calm += not rises
        return best if whole else Duals(prices, -np.inf, self.worth)

    def certify(self, prices: Floats, per_pair: Floats | None = None) -> tuple[float, Floats]:
        """The bound of prices, and what each class's choice costs at them (K,)."""
        choices = self.choose(prices, np.arange(len(self.problem.classes)), per_pair)
        times, yuan = self._count[self.active], choices.yuan[self.active]
        return self.bound_yuan(prices, yuan, self.active, times), choices.yuan

    def _samples(self, folds: int) -> list[tuple[Ints, Floats]]:
        """Classes by fold, and how many jobs each stands for: big ones are in every fold, of the
        others, sorted by what they weigh, every so many-th."""
        if folds == 1:
            return [(self.active, self._count[self.active])]
        classes = self.problem.classes[self.active]
        weight = np.abs(classes["unplaced_yuan"]) * classes["count"]
        order = self.active[np.argsort(-weight, kind="stable")]
        head, rest = order[: len(order) // (4 * folds)], order[len(order) // (4 * folds) :]
        made = []
        for fold in range(folds):
            part = rest[fold::folds]
            factor = float(self._count[rest].sum() / max(self._count[part].sum(), 1.0))
            times = np.concatenate([self._count[head], self._count[part] * factor])
            made.append((np.concatenate([head, part]), times))
        return made


def _short(problem: Problem, per_pair: Floats, most: int) -> Problem:
    listed = np.zeros(len(problem.pairs), dtype=bool)
    shortlist(problem, per_pair, most, listed)
    classes = problem.classes.copy()
    before = np.concatenate(([0], np.cumsum(listed)))
    classes["low"], classes["high"] = before[classes["low"]], before[classes["high"]]
    kept = classes["kept_pair"]
    there = (kept >= 0) & listed[kept]
    classes["kept_pair"] = np.where(there, before[kept], -1)
    stage_from, stages = problem.stage_from, problem.stages
    if len(stage_from):
        entries = np.diff(stage_from)
        stages = stages[np.repeat(listed, entries)]
        stage_from = np.concatenate(([0], np.cumsum(entries[listed])))
    return problem._replace(
        classes=classes, pairs=problem.pairs[listed], stage_from=stage_from, stages=stages
    )


def used_rows(problem: Problem) -> Ints:
    """The rows that some option uses; no other can bind."""
    stages = problem.stages["row"].astype(np.int64)
    rows = np.unique(np.concatenate([problem.pool_row.ravel(), problem.class_row.ravel(), stages]))
    return np.asarray(rows[rows >= 0], dtype=np.int64)
