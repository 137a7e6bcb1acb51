"""What all other jobs of a plan leave of every row, whoever asks.

The model of a round drops rows that its own jobs cannot exceed together. A job that asks for
something else might, so what the others take is counted here anew, from the rules themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.base import Rows, StageRows
from policies.scene import Floats, Ints
from scheduler.planner.candidates import Candidates
from scheduler.planner.decision import Decision
from scheduler.planner.places import Choice

BLOCKS = "capacity-blocks-of-"


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of the others, (n,) each: class, pool, first slot, and the slot after the last."""

    klass: Ints
    pool: Ints
    first: Ints
    stop: Ints


class Others:
    """The plan without one of its jobs (an index into its places)."""

    def __init__(self, decision: Decision, job: int) -> None:
        self._decision = decision
        self._left = self._left_without(decision.places.choice(job))
        self._rules = {rule.name: rule for rule in decision.model.candidates.rows}
        self._runs = self._runs_without(job)

    def _left_without(self, own: Choice | None) -> Floats:
        """What is left of the rows of the plan's own model, (R, A)."""
        residual = self._decision.residual
        if own is None:
            return residual.left
        before = residual.left.copy()
        residual.place(own, -1)
        left, residual.left = residual.left, before
        return left

    def _runs_without(self, own: int) -> Runs:
        problem = self._decision.model.problem
        job, pair, slot = self._decision.places.runs()
        pair, slot = pair[job != own], slot[job != own]
        of_pair = problem.pairs[pair]
        klass = of_pair["klass"].astype(np.int64)
        end = np.maximum(slot, problem.classes["start"][klass]) + of_pair["run"]
        stop = np.clip(np.ceil(end - problem.overlap), slot + 1, problem.axis).astype(np.int64)
        return Runs(klass, of_pair["pool"].astype(np.int64), slot, stop)

    def leave(self, candidates: Candidates) -> Candidates:
        """Candidates of other jobs in the same snapshot, with what the others leave them."""
        # Their own sentences would tell of what is left beside what runs, not beside the others.
        rows = tuple(replace(r, capacity=self._left_of(r), why=None) for r in candidates.rows)
        stages = tuple(replace(r, capacity=self._known(r)) for r in candidates.stage_rows)
        return replace(candidates, rows=rows, stage_rows=stages)

    def _left_of(self, rule: Rows) -> Floats:
        if rule.elastic_yuan is not None:
            return self._known(rule)
        mine = self._rules.get(rule.name)
        if mine is not None:
            return _joined(rule, mine.groups, mine.capacity - self._taken(mine))
        if rule.name.startswith(BLOCKS):
            columns, size = self._decision.model.scene.columns, int(rule.name[len(BLOCKS) :])
            demand = (columns.workers * (columns.gpus // size)).astype(float)
            shape = self._decision.model.scene.axis
            profile = np.ones((len(rule.groups), shape))
            blocks = replace(rule, of_class=demand[:, None], profile=profile)
            taken = self._taken(blocks)
            slots = min(taken.shape[1], rule.capacity.shape[1])
            return _joined(rule, rule.groups, rule.capacity[:, :slots] - taken[:, :slots])
        return rule.capacity

    def _known(self, rule: Rows | StageRows) -> Floats:
        """Of rows that a model never drops, or that only cost."""
        for family in self._decision.model.families:
            if family.name == rule.name:
                size = len(family.rule.groups)
                left = self._left[family.from_row : family.from_row + size]
                return _joined(rule, family.rule.groups, left)
        return rule.capacity

    def _taken(self, rule: Rows) -> Floats:
        """What the runs use of a hard rule of the plan's own classes, (G, A)."""
        runs, axis = self._runs, self._decision.model.scene.axis
        units = (rule.of_class[runs.klass] * rule.of_pool[runs.pool]).sum(axis=1)
        of = rule.group_of_pool
        if of is not None:
            group = of[runs.pool]
        else:
            assert rule.group_of_class is not None, "rows belong to pools or to classes"
            group = rule.group_of_class[runs.klass]
        some = group >= 0
        change = np.zeros((len(rule.groups), axis + 1))
        np.add.at(change, (group[some], runs.first[some]), units[some])
        np.add.at(change, (group[some], runs.stop[some]), -units[some])
        return np.asarray(np.cumsum(change, axis=1)[:, :axis] * rule.profile)


def _joined(rule: Rows | StageRows, groups: Sequence[str], left: Floats) -> Floats:
    """What is left of a rule's own groups and slots, from that of groups of the same names; what
    those do not reach, nobody has taken anything of."""
    capacity, at = rule.capacity.copy(), {group: g for g, group in enumerate(groups)}
    slots = min(capacity.shape[1], left.shape[1])
    for g, group in enumerate(rule.groups):
        if group in at:
            capacity[g, :slots] = left[at[group], :slots]
    # Rounding leaves a trifle below nothing of what is taken whole.
    return capacity if _elastic(rule) else np.maximum(capacity, 0.0)


def _elastic(rule: Rows | StageRows) -> bool:
    return isinstance(rule, Rows) and rule.elastic_yuan is not None
