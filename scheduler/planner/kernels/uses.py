"""What one option demands, row by row: for explanations, which name the rows."""

import numpy as np

from policies.scene import TOLERANCE, Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import hours_in, stop_of, units_of


@compiled
def uses_of(problem: Problem, i: int) -> tuple[Ints, Floats, Floats]:
    """The rows that a pair demands something of, how much, and over the first how many slots of its
    run; (n,) each."""
    pair = problem.pairs[i]
    job, k = problem.classes[pair.klass], pair.klass
    low, high = 0, 0
    if len(problem.stage_from):
        low, high = problem.stage_from[i], problem.stage_from[i + 1]
    most = len(problem.pool_row) + len(problem.class_row) + high - low
    rows, units, length = np.empty(most, dtype=np.int64), np.empty(most), np.empty(most)
    n = 0
    for f in range(len(problem.pool_row)):
        r, amount = problem.pool_row[f, pair.pool], units_of(problem, f, job, pair.pool)
        if r >= 0 and amount > 0:
            rows[n], units[n], length[n] = r, amount, pair.run
            n += 1
    for x in range(len(problem.class_row)):
        r, amount = problem.class_row[x, k], problem.class_units[x, k]
        if r >= 0 and amount > 0:
            rows[n], units[n], length[n] = r, amount, pair.run
            n += 1
    for e in range(low, high):
        stage = problem.stages[e]
        if stage.row >= 0:
            rows[n], units[n], length[n] = stage.row, stage.units, stage.length
            n += 1
    return rows[:n], units[:n], length[:n]


@compiled
def amounts_of(problem: Problem, i: int, slot: int, r: int, units: float, length: float) -> Floats:
    """What a demand uses of a row in each slot that it touches, from its start's on."""
    start = max(float(slot), problem.classes[problem.pairs[i].klass].start)
    end = start + length
    stop = stop_of(problem.axis, problem.overlap, slot, end)
    amounts = units * problem.profile[r, slot:stop]
    if problem.rows[r].exact:
        for t in range(slot, stop):
            amounts[t - slot] *= hours_in(problem.slot_h, t, start, end)
    return amounts


@compiled
def short_of(problem: Problem, left: Floats, i: int, slot: int) -> tuple[Ints, Ints]:
    """The hard rows, and the slots, in which too little is left for an option; (n,) each."""
    rows, units, length = uses_of(problem, i)
    short = np.empty((2, len(rows) * problem.axis), dtype=np.int64)
    n = 0
    for u in range(len(rows)):
        if problem.rows[rows[u]].hard:
            amounts = amounts_of(problem, i, slot, rows[u], units[u], length[u])
            for t in range(len(amounts)):
                if amounts[t] > left[rows[u], slot + t] + TOLERANCE:
                    short[0, n], short[1, n] = rows[u], slot + t
                    n += 1
    return short[0, :n], short[1, :n]
