"""What jobs that do not start now could do now, beside all others."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import (
    cost_yuan,
    excess_yuan,
    place,
    row_fits,
    units_of,
)


@compiled
def blocking_rank(problem: Problem, left: Floats, rank: Ints, i: int) -> int:
    """The highest rank of the hard rows that leave a start of a pair in the first slot no room; -1
    where all do.

    Args:
        rank: of each row, (R,).
    """
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    start = max(0.0, job.start)
    end, most = start + pair.run, -1
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r >= 0 and problem.rows[r].hard and rank[r] > most:
            units = units_of(problem, f, job, pair.pool)
            if units > 0 and not row_fits(problem, left, r, units, 0, start, end):
                most = rank[r]
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, pair.klass], problem.class_units[x, pair.klass]
        higher = r >= 0 and units > 0 and rank[r] > most
        if higher and not row_fits(problem, left, r, units, 0, start, end):
            most = rank[r]
    if len(problem.stage_from):
        for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
            stage = problem.stages[e]
            if stage.row >= 0 and rank[stage.row] > most:
                until = start + stage.length
                if not row_fits(problem, left, stage.row, stage.units, 0, start, until):
                    most = rank[stage.row]
    return most


@compiled
def now_instead(
    problem: Problem,
    left: Floats,
    rank: Ints,
    barred: Ints,
    jobs: Ints,
    klass: Ints,
    pair: Ints,
    slot: Ints,
    now_pair: Ints,
    now_yuan: Floats,
    why: Ints,
) -> None:
    """For each of some jobs the pair in which it could start now at least cost (-1: none), that
    cost, and the highest rank of what forbids it elsewhere.

    Args:
        rank: of each row, (R,); ``barred`` (m,) is that of the rule which forbids a pair to start
            in the first slot whatever else is placed, -1 where none does.
        jobs: indices into klass, pair and slot.
        now_pair, now_yuan, why: take the answer, (jobs,).
    """
    for q in range(len(jobs)):
        j = jobs[q]
        i, s = pair[j], slot[j]
        if i >= 0:
            place(problem, left, i, s, -1.0)
        best, low, most = -1, np.inf, -1
        job = problem.classes[klass[j]]
        for other in range(job.low, job.high):
            rule = barred[other]
            if rule < 0:
                rule = blocking_rank(problem, left, rank, other)
            if rule >= 0:
                most = max(most, rule)
                continue
            yuan = cost_yuan(problem, other, 0) + excess_yuan(problem, left, other, 0)
            if yuan < low:
                best, low = other, yuan
        if i >= 0:
            place(problem, left, i, s, 1.0)
        now_pair[q], now_yuan[q], why[q] = best, low, most
