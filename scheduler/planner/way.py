"""Way for the few that are left without a place: others with more time to spare move for them.

To insert all again, with these few before the others, costs as much as the first time; and where
many keep what was planned for them, each order finds others in the way.
"""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.kernels.placing import clear_way
from scheduler.planner.kernels.pricing import fill_class, sums_at
from scheduler.planner.model import Model
from scheduler.planner.places import Choice, Places, Residual

# Where more are left out, another order serves them all at once.
LEFT_MOST = 100
# Pools that are tried for each, those that cost least at prices.
POOLS = 4


def make_way(model: Model, prices: Floats, places: Places, left_out: Ints, spare: Floats) -> Places:
    """The places with as many of the left out in them as others make way for.

    Args:
        left_out: jobs without a place, (n,), those first that choose first.
        spare: the more a class has of it, the sooner it makes way, (K,).
    """
    way = _Way(model, places.copy(), spare)
    sums = sums_at(model.problem, prices)
    for job in left_out.tolist():
        record = model.problem.classes[places.klass[job]]
        yuan = np.empty((int(record["high"] - record["low"]), model.problem.slots))
        fill_class(model.problem, sums, int(places.klass[job]), yuan)
        least = yuan.min(axis=1, initial=np.inf)
        for row in np.argsort(least, kind="stable")[:POOLS].tolist():
            choice = Choice(int(record["low"]) + row, int(yuan[row].argmin()))
            if np.isfinite(least[row]) and way.made(job, choice):
                break
    return way.places


class _Way:
    def __init__(self, model: Model, places: Places, spare: Floats) -> None:
        self._problem, self._spare, self.places = model.problem, spare, places
        self._residual = Residual(model, places)

    def made(self, job: int, choice: Choice) -> bool:
        """Whether a job could take a start, as others move elsewhere at less than its having no
        place costs."""
        places, residual = self.places, self._residual
        near = self._in_the_way(choice, float(self._spare[places.klass[job]]))
        pair, slot, gone = places.pair[near], places.slot[near], np.zeros(len(near), dtype=np.int64)
        args = choice.pair, choice.slot, pair, slot, gone
        if not clear_way(self._problem, residual.left, *args):
            return False
        moved, gain_yuan = near[gone > 0], self._unplaced_yuan(job) - residual.cost_yuan(choice)
        found = list[Choice]()
        for other in moved.tolist():
            better, yuan = residual.best(int(places.klass[other]))
            if better is None:
                break
            gain_yuan -= yuan - residual.cost_yuan(self._choice(other))
            residual.place(better)
            found.append(better)
        if len(found) < len(moved) or gain_yuan <= 0:
            for taken in (*found, choice):
                residual.place(taken, -1.0)
            for other in moved.tolist():
                residual.place(self._choice(other))
            return False
        for other, taken in zip((job, *moved.tolist()), (choice, *found), strict=True):
            places.pair[other], places.slot[other] = taken.pair, taken.slot
        return True

    def _choice(self, job: int) -> Choice:
        return Choice(int(self.places.pair[job]), int(self.places.slot[job]))

    def _unplaced_yuan(self, job: int) -> float:
        return float(self._problem.classes["unplaced_yuan"][self.places.klass[job]])

    def _in_the_way(self, choice: Choice, spare: float) -> Ints:
        """Jobs of the same pool with more to spare that run beside a start, those first that have
        most."""
        places, pairs = self.places, self._problem.pairs
        placed = np.flatnonzero(places.pair >= 0)
        placed = placed[self._spare[places.klass[placed]] > spare]
        pair, slot = places.pair[placed], places.slot[placed]
        here = pairs["pool"][pair] == pairs["pool"][choice.pair]
        here &= slot < choice.slot + pairs["run"][choice.pair] + 1
        here &= slot + pairs["run"][pair] + 1 > choice.slot
        near = placed[here]
        order = np.argsort(-self._spare[places.klass[near]], kind="stable")
        return np.asarray(near[order], dtype=np.int64)
