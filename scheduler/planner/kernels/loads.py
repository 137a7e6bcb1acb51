"""What given options use of the rows, all together."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import hours_in, stop_of


@compiled
def _mark(
    used: Floats,
    parts: Floats,
    r: int,
    units: float,
    slot: int,
    stop: int,
    head: float,
    tail: float,
) -> None:
    """Enters a demand at the edges of its span; ``parts`` takes the share of the first and of the
    last slot that it does not cover."""
    used[r, slot] += units
    if stop < used.shape[1]:
        used[r, stop] -= units
    parts[r, slot] += units * head
    parts[r, stop - 1] += units * tail


@compiled
def usage(problem: Problem, pair: Ints, slot: Ints, times: Floats) -> Floats:
    """What options (-1: none) use of every row and slot, each so many times; (R, A)."""
    rows, axis = problem.capacity.shape
    used, parts = np.zeros((rows, axis)), np.zeros((rows, axis))
    for q in range(len(pair)):
        i, s = pair[q], slot[q]
        if i < 0:
            continue
        one = problem.pairs[i]
        k, p = one.klass, one.pool
        job = problem.classes[k]
        start = max(float(s), job.start)
        end = start + one.run
        stop = stop_of(axis, problem.overlap, s, end)
        head = 1.0 - (min(s + 1.0, end) - start)
        tail = max(stop - end, 0.0) if stop > s + 1 else 0.0
        scale, kind = times[q] * job.scale, job.kind
        for f in range(problem.pool_row.shape[0]):
            r = problem.pool_row[f, p]
            if r >= 0:
                units = problem.kind_units[f, kind, 0] * problem.pool_units[f, p, 0]
                units += problem.kind_units[f, kind, 1] * problem.pool_units[f, p, 1]
                if units != 0:
                    _mark(used, parts, r, scale * units, s, stop, head, tail)
        for x in range(problem.class_row.shape[0]):
            r = problem.class_row[x, k]
            if r >= 0:
                units = times[q] * problem.class_units[x, k]
                _mark(used, parts, r, units, s, stop, head, tail)
        if len(problem.stage_from):
            for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
                stage = problem.stages[e]
                if stage.row >= 0:
                    end = start + stage.length
                    stop = stop_of(axis, problem.overlap, s, end)
                    head = 1.0 - (min(s + 1.0, end) - start)
                    tail = max(stop - end, 0.0) if stop > s + 1 else 0.0
                    units = times[q] * stage.units
                    _mark(used, parts, stage.row, units, s, stop, head, tail)
    for r in range(rows):
        level, exact = 0.0, problem.rows[r].exact
        for t in range(axis):
            level += used[r, t]
            amount = level
            if exact:
                amount = (level - parts[r, t]) * problem.slot_h
            used[r, t] = amount * problem.profile[r, t]
    return used


@compiled
def rents(problem: Problem, yuan: Floats, pair: Ints, slot: Ints) -> Floats:
    """What options pay for what they use of the rows, (n,).

    Args:
        yuan: prices of the rows times their profiles, (R, A).
    """
    paid = np.zeros(len(pair))
    for q in range(len(pair)):
        one, s = problem.pairs[pair[q]], slot[q]
        k, p = one.klass, one.pool
        job = problem.classes[k]
        start = max(float(s), job.start)
        for f in range(problem.pool_row.shape[0]):
            r = problem.pool_row[f, p]
            if r >= 0:
                units = problem.kind_units[f, job.kind, 0] * problem.pool_units[f, p, 0]
                units += problem.kind_units[f, job.kind, 1] * problem.pool_units[f, p, 1]
                rent = _rent(problem, yuan, r, s, start, start + one.run)
                paid[q] += job.scale * units * rent
        for x in range(problem.class_row.shape[0]):
            r = problem.class_row[x, k]
            if r >= 0:
                rent = _rent(problem, yuan, r, s, start, start + one.run)
                paid[q] += problem.class_units[x, k] * rent
        if len(problem.stage_from):
            for e in range(problem.stage_from[pair[q]], problem.stage_from[pair[q] + 1]):
                stage = problem.stages[e]
                if stage.row >= 0:
                    rent = _rent(problem, yuan, stage.row, s, start, start + stage.length)
                    paid[q] += stage.units * rent
    return paid


@compiled
def _rent(problem: Problem, yuan: Floats, r: int, slot: int, start: float, end: float) -> float:
    """The price of one unit of a row over a span."""
    total = 0.0
    for t in range(slot, stop_of(problem.axis, problem.overlap, slot, end)):
        if problem.rows[r].exact:
            total += yuan[r, t] * hours_in(problem.slot_h, t, start, end)
        else:
            total += yuan[r, t]
    return total
