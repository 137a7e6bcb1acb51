"""All options of one class, written out: what the compiled loops never keep.

For explanations and what-ifs, which look at few classes closely.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.base import EnergyRate, Rows, StartCost
from policies.scene import TOLERANCE, Bools, Floats, Ints, Window, window
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.kernels.placing import excess_for, room_for
from scheduler.planner.model import Model

# They bound the window of time that a job asks for, and say little about what happens within it.
WINDOW_CODES = frozenset({ReasonCode.DEADLINE, ReasonCode.DATA, ReasonCode.NOT_YET})


@dataclass(frozen=True, slots=True)
class Judge:
    """What one rule says of every start: ``allows`` (n, S), and why not."""

    code: ReasonCode
    allows: Bools
    why: Callable[[int, int], str]


class Block:
    """One class; n pairs, S slots. ``terms`` are (policy, yuan (n, S)); their sum, infinite where a
    start is not allowed, is ``cost_yuan``."""

    def __init__(self, model: Model, klass: int) -> None:
        self.model, self.klass = model, klass
        scene, candidates = model.scene, model.candidates
        self.span = span = candidates.rows_of(klass)
        self.pools: Ints = candidates.pairs.pool[span]
        self.run_s: Floats = candidates.pairs.run_s[span]
        first_s = candidates.pairs.start_s(span)
        slot_s = np.arange(scene.slots) * scene.slot_s
        self.start_s: Floats = np.maximum(slot_s[None, :], first_s[:, None])
        self.run: Window = window(self.start_s, self.run_s, scene.slot_s, scene.hours)

    @cached_property
    def judges(self) -> tuple[Judge, ...]:
        """In the precedence of their reasons."""
        candidates, slots = self.model.candidates, np.arange(self.model.scene.slots)
        made = []
        for f, judge in enumerate(candidates.start_filters):
            bounds, allows = candidates.bounds[f], np.ones(self.start_s.shape, dtype=bool)
            if bounds.first is not None:
                allows &= bounds.first[self.span, None] <= slots
            if bounds.last is not None:
                allows &= slots <= bounds.last[self.span, None]
            made.append(Judge(judge.code, allows, self._why_filter(f)))
        for rule in candidates.rows:
            if rule.elastic_yuan is None:
                made.append(Judge(rule.code, self._alone(rule), self._why_row(rule)))
        return tuple(sorted(made, key=lambda judge: PRECEDENCE[judge.code]))

    def _why_filter(self, f: int) -> Callable[[int, int], str]:
        model, first = self.model, self.span.start
        why = model.candidates.start_filters[f].why
        return lambda row, slot: why(model.scene, model.candidates.pairs, first + row, slot)

    def _units(self, rule: Rows) -> Floats:
        return np.asarray(rule.of_pool[self.pools] @ rule.of_class[self.klass])

    def _group(self, rule: Rows) -> Ints:
        if rule.group_of_pool is not None:
            return rule.group_of_pool[self.pools]
        assert rule.group_of_class is not None, "rows belong to pools or to classes"
        return np.full(len(self.pools), rule.group_of_class[self.klass])

    def _over(self, rule: Rows) -> Bools:
        """Where the class alone is too much for a row, (n, A)."""
        group, units = self._group(rule), self._units(rule)
        need = units[:, None] * rule.profile[group]
        if rule.exact:
            need = need * self.model.scene.hours
        over = need > rule.capacity[group] + TOLERANCE
        return np.asarray(over & (group >= 0)[:, None] & (units > 0)[:, None])

    def _alone(self, rule: Rows) -> Bools:
        over = self._over(rule)
        if not over.any():
            return np.ones(self.start_s.shape, dtype=bool)
        return ~self.run.any_slot(over, slice(None))

    def _why_row(self, rule: Rows) -> Callable[[int, int], str]:
        def why(row: int, slot: int) -> str:
            over = self._over(rule)[row]
            touched = slice(slot, int(self.run.last[row, slot]))
            worst = slot + int(np.argmax(over[touched]))
            if rule.why is not None:
                return rule.why(self.model.scene, self.klass, int(self.pools[row]), worst)
            group, scene = int(self._group(rule)[row]), self.model.scene
            return (
                f"{self._units(rule)[row]:.3g} > {rule.capacity[group, worst]:.3g} {rule.unit} of "
                f"{rule.groups[group]} at {scene.clock(worst * scene.slot_s)}."
            )

        return why

    @cached_property
    def allowed(self) -> Bools:
        """Starts that no rule forbids the class alone."""
        allowed = np.ones(self.start_s.shape, dtype=bool)
        for judge in self.judges:
            allowed &= judge.allows
        return allowed

    @cached_property
    def terms(self) -> tuple[tuple[str, Floats], ...]:
        """What each policy charges for each start."""
        made = []
        for costs in self.model.candidates.costs:
            yuan = np.zeros(self.start_s.shape)
            if costs.energy is not None:
                yuan += self._energy(costs.energy)
            if costs.pair_yuan is not None:
                yuan += costs.pair_yuan[self.span, None]
            if costs.start is not None:
                yuan += self._waiting(costs.start)
            if costs.kept_yuan is not None:
                yuan += self._changed(float(costs.kept_yuan[self.klass]))
            made.append((costs.name, yuan))
        return tuple(made)

    def _energy(self, rate: EnergyRate) -> Floats:
        scene = self.model.scene
        yuan = np.empty(self.start_s.shape)
        for row, pool in enumerate(self.pools.tolist()):
            site = scene.pools[pool].site
            pue = scene.sites[site].pue
            here = self.run.integral(rate.inside[site] * pue, scene.hours, slice(row, row + 1))[0]
            here += self.run.beyond_h[row] * rate.beyond[site] * pue[-1]
            yuan[row] = scene.it_kw(self.klass, pool) * here
        return yuan

    def _waiting(self, cost: StartCost) -> Floats:
        columns, k = self.model.scene.columns, self.klass
        ready_s, overdue_s = float(columns.ready_s[k]), float(columns.overdue_s[k])
        allowed_h = np.maximum(np.minimum(self.start_s, overdue_s) - ready_s, 0.0) / 3600
        late_h = np.maximum(self.start_s - overdue_s, 0.0) / 3600
        once = cost.once_yuan[k] + cost.once_yuan_per_run_h[k] * self.run_s[:, None] / 3600
        yuan = cost.before_yuan_per_h[k] * allowed_h + cost.after_yuan_per_h[k] * late_h
        return np.asarray(yuan + np.where(late_h > TOLERANCE, once, 0.0))

    def _changed(self, kept_yuan: float) -> Floats:
        """What other starts than now and the planned one cost more."""
        job = self.model.problem.classes[self.klass]
        yuan = np.full(self.start_s.shape, kept_yuan if job["kept_pair"] >= 0 else 0.0)
        yuan[:, 0] = 0.0
        if job["kept_pair"] >= 0:
            yuan[job["kept_pair"] - self.span.start, job["kept_slot"]] = 0.0
        return yuan

    @cached_property
    def cost_yuan(self) -> Floats:
        """What each start costs by itself; infinite where it is not allowed."""
        total = np.zeros(self.start_s.shape)
        for _, yuan in self.terms:
            total += yuan
        return np.where(self.allowed, total, np.inf)

    def room_yuan(self, left: Floats) -> Floats:
        """What the elastic rows would charge one more job of the class for each start, (n, S);
        infinite where the hard ones leave it no room."""
        yuan = np.empty(self.start_s.shape)
        room_for(self.model.problem, left, self.klass, yuan)
        return yuan

    def excess_yuan(self, left: Floats) -> Floats:
        """What the elastic rows would charge for each start, room or not; (n, S)."""
        yuan = np.empty(self.start_s.shape)
        excess_for(self.model.problem, left, self.klass, yuan)
        return yuan

    def verdict(self, row: int, slot: int) -> Judge | None:
        """The first rule that forbids a start."""
        return next((j for j in self.judges if not j.allows[row, slot]), None)

    def start_reason(self, row: int, slot: int) -> Reason | None:
        """Why one start is ruled out; None where it is not."""
        judge = self.verdict(row, slot)
        return None if judge is None else Reason(judge.code, judge.why(row, slot))

    def reason(self, row: int) -> Reason:
        """Why a pair has no start at all: the reason of the start that came nearest, within the
        job's window of time if that is not empty."""
        ranks = np.full(self.start_s.shape[1], -1)
        for rank in reversed(range(len(self.judges))):
            ranks[~self.judges[rank].allows[row]] = rank
        present: list[int] = np.unique(ranks[ranks >= 0]).tolist()
        inside = [r for r in present if self.judges[r].code not in WINDOW_CODES]
        slot = int(np.argmax(ranks == max(inside) if inside else ranks))
        reason = self.start_reason(row, slot)
        assert reason is not None, "asked of pairs without a start"
        return reason
