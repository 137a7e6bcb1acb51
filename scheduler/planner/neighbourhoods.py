"""Which jobs CP-SAT plans anew together: all of them where the options are few; else a badly
placed class and those that hold what it would like, one such neighbourhood after another.
"""

from dataclasses import dataclass

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.duals import Market
from scheduler.planner.exact import Solved, solve
from scheduler.planner.kernels.loads import rents
from scheduler.planner.kernels.pricing import fill_class, sums_at
from scheduler.planner.model import Model
from scheduler.planner.places import Places, costs_yuan

# Classes and options of one neighbourhood, and the share of the work that one may take.
CLASSES = 20
OPTIONS = 600
SHARE = 0.25
# What a neighbourhood costs at least, so that their number is bounded.
WORK_LEAST = 0.02
# A class that loses less against its cheapest option, relative to the plan, is well placed.
LOSS_LEAST = 1e-5


@dataclass(frozen=True, slots=True)
class Improved:
    """``bound_yuan`` is -inf unless every option of every job was in the model."""

    places: Places
    yuan: float
    bound_yuan: float


class Neighbourhoods:
    """Improves a plan at shadow prices, (R, A); ``least_yuan`` (K,) is what the cheapest option of
    each class costs at them."""

    def __init__(self, model: Model, market: Market, prices: Floats, least_yuan: Floats) -> None:
        self._model, self._active = model, market.active
        self._starts = market.starts
        self._sums = sums_at(model.problem, prices)
        self._least = np.minimum(least_yuan, model.unplaced_yuan)

    def improve(self, places: Places, yuan: float, *, options: int, work: float) -> Improved:
        """Improves places.

        Args:
            yuan: their objective.
            options: with so many at most, everything is planned at once.
            work: its deterministic time in all, about seconds of one core.
        """
        if int(self._starts.sum()) <= options:
            everything = np.concatenate([self._options(k) for k in self._active.tolist()])
            solved = solve(self._model, self._active, places, yuan, chosen=everything, work=work)
            return Improved(solved.places, solved.yuan, solved.bound_yuan)
        tried: set[int] = set()
        best = Solved(places, yuan, -np.inf, 0.0)
        left = work
        while left > 0:
            losses = self._losses(best.places)
            losses[[*tried]] = 0.0
            seed = int(np.argmax(losses))
            if losses[seed] <= LOSS_LEAST * abs(best.yuan):
                break
            tried.add(seed)
            chosen = self._best_options(best.places, self._neighbours(best.places, seed))
            most = min(left, SHARE * work)
            best = solve(
                self._model, self._active, best.places, best.yuan, chosen=chosen, work=most
            )
            left -= max(best.work, WORK_LEAST)
        return Improved(best.places, best.yuan, -np.inf)

    def _yuan(self, klass: int) -> Floats:
        """All options of a class at the prices, (pairs, S)."""
        span = self._model.candidates.rows_of(klass)
        yuan = np.empty((span.stop - span.start, self._model.scene.slots))
        fill_class(self._model.problem, self._sums, klass, yuan)
        return yuan

    def _options(self, klass: int) -> Ints:
        """(pair, slot) of all of a class, (n, 2)."""
        found = np.argwhere(np.isfinite(self._yuan(klass)))
        found[:, 0] += self._model.candidates.rows_of(klass).start
        return found

    def _losses(self, places: Places) -> Floats:
        """What each class's places cost above its cheapest option, at the shadow prices; (K,)."""
        model, placed = self._model, places.pair >= 0
        yuan = model.unplaced_yuan[places.klass]
        pair, slot = places.pair[placed], places.slot[placed]
        yuan[placed] = costs_yuan(model, pair, slot)
        yuan[placed] += rents(model.problem, self._sums.yuan, pair, slot)
        lost = np.bincount(
            places.klass, weights=yuan - self._least[places.klass], minlength=len(model.jobs)
        )
        of_active = np.zeros(len(lost))
        of_active[self._active] = lost[self._active]
        return of_active

    def _neighbours(self, places: Places, seed: int) -> list[int]:
        """The seed, and the classes that run in the pool and at the time that it would like."""
        pairs, yuan = self._model.problem.pairs, self._yuan(seed)
        row, first = np.unravel_index(int(np.argmin(yuan)), yuan.shape)
        pair = self._model.candidates.rows_of(seed).start + int(row)
        pool, last = int(pairs["pool"][pair]), int(first) + float(pairs["run"][pair])
        here = np.flatnonzero((places.pair >= 0) & (places.klass != seed))
        here = here[pairs["pool"][places.pair[here]] == pool]
        start = places.slot[here]
        common = np.minimum(last, start + pairs["run"][places.pair[here]])
        common -= np.maximum(int(first), start)
        overlap = np.zeros(len(self._model.jobs))
        np.maximum.at(overlap, places.klass[here], common)
        near = np.lexsort((np.arange(len(overlap)), -overlap))[: CLASSES - 1]
        return sorted([seed, *near[overlap[near] > 0].tolist()])

    def _best_options(self, places: Places, classes: list[int]) -> Ints:
        """(pair, slot), shape (n, 2): those of least reduced cost of each class, and those in
        use."""
        share = OPTIONS // len(classes)
        chosen: list[tuple[int, int]] = []
        for k in classes:
            first, yuan = self._model.candidates.rows_of(k).start, self._yuan(k)
            flat = yuan.ravel()
            order = np.argsort(flat, kind="stable")[: min(share, int(np.isfinite(flat).sum()))]
            rows, slots = np.divmod(order, yuan.shape[1])
            picked = set(zip((rows + first).tolist(), slots.tolist(), strict=True))
            picked |= {(choice.pair, choice.slot) for choice in places.of(k) if choice}
            chosen += sorted(picked)
        return np.array(chosen, dtype=np.int64)
