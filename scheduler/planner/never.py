"""Why pairs have no start at all, whatever else is placed: the code alone, of many at once.

What ``Block.reason`` tells of one pair, with the same precedence.
"""

from collections.abc import Iterator

import numpy as np

from policies.base import Rows
from policies.scene import TOLERANCE, Bools, Ints, Window, window
from scheduler.planner.block import WINDOW_CODES
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.model import Model

# Pairs looked at together: what is written out takes some megabytes.
TOGETHER = 2048


def never_ranks(model: Model, pairs: Ints) -> Ints:
    """The precedence of the reason of each of some pairs without a start: that of the start that
    came nearest, within the job's window of time if that is not empty; (pairs,)."""
    parts = [pairs[at : at + TOGETHER] for at in range(0, len(pairs), TOGETHER)]
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *(_ranks(model, part) for part in parts)])


def _ranks(model: Model, pairs: Ints) -> Ints:
    scene = model.scene
    first_s = model.candidates.pairs.start_s(pairs)
    start_s = np.maximum(np.arange(scene.slots) * scene.slot_s, first_s[:, None])
    run = window(start_s, model.candidates.pairs.run_s[pairs], scene.slot_s, scene.hours)
    # Of the rules that forbid a start, the one of lowest rank counts.
    ranks = np.full(start_s.shape, -1, dtype=np.int64)
    for rank, allows in sorted(_judged(model, pairs, run), key=lambda j: -j[0]):
        ranks[~allows] = rank
    windows = [PRECEDENCE[code] for code in WINDOW_CODES]
    inside = np.where(np.isin(ranks, windows), -1, ranks).max(axis=1)
    return np.asarray(np.where(inside >= 0, inside, ranks.max(axis=1)), dtype=np.int64)


def _judged(model: Model, pairs: Ints, run: Window) -> Iterator[tuple[int, Bools]]:
    """The precedence of each rule, and which starts it allows by itself, (pairs, S)."""
    candidates, slots = model.candidates, np.arange(model.scene.slots)
    for judge, bounds in zip(candidates.start_filters, candidates.bounds, strict=True):
        allows = np.ones(run.last.shape, dtype=bool)
        if bounds.first is not None:
            allows &= bounds.first[pairs, None] <= slots
        if bounds.last is not None:
            allows &= slots <= bounds.last[pairs, None]
        yield PRECEDENCE[judge.code], allows
    for rule in candidates.rows:
        if rule.elastic_yuan is None:
            over = _over(model, rule, pairs)
            if over.any():
                yield PRECEDENCE[rule.code], ~run.any_slot(over, slice(None))


def _over(model: Model, rule: Rows, pairs: Ints) -> Bools:
    """Slots in which a pair alone is too much for its row, (pairs, A)."""
    klass, pool = model.candidates.pairs.klass[pairs], model.candidates.pairs.pool[pairs]
    units = (rule.of_class[klass] * rule.of_pool[pool]).sum(axis=1)
    if rule.group_of_pool is not None:
        group = rule.group_of_pool[pool]
    else:
        assert rule.group_of_class is not None, "rows belong to pools or to classes"
        group = rule.group_of_class[klass]
    need = units[:, None] * rule.profile[group]
    if rule.exact:
        need = need * model.scene.hours
    over = need > rule.capacity[group] + TOLERANCE
    return np.asarray(over & ((group >= 0) & (units > 0))[:, None])
