"""What jobs that do not start now could do now, and what those without a place lack."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.placing import add_excess
from scheduler.planner.kernels.pricing import Sums, bar_full, bar_row, fill_options
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import (
    cost_yuan,
    excess_yuan,
    place,
    row_fits,
    units_of,
)


@compiled
def blocking_rank(problem: Problem, left: Floats, rank: Ints, i: int, slot: int) -> int:
    """The highest rank of the hard rows that leave a start of a pair no room; -1 where all do.

    Args:
        rank: of each row, (R,).
    """
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    start = max(float(slot), job.start)
    end, most = start + pair.run, -1
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r >= 0 and problem.rows[r].hard and rank[r] > most:
            units = units_of(problem, f, job, pair.pool)
            if units > 0 and not row_fits(problem, left, r, units, slot, start, end):
                most = rank[r]
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, pair.klass], problem.class_units[x, pair.klass]
        higher = r >= 0 and units > 0 and rank[r] > most
        if higher and not row_fits(problem, left, r, units, slot, start, end):
            most = rank[r]
    if len(problem.stage_from):
        for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
            stage = problem.stages[e]
            if stage.row >= 0 and rank[stage.row] > most:
                until = start + stage.length
                if not row_fits(problem, left, stage.row, stage.units, slot, start, until):
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
                rule = blocking_rank(problem, left, rank, other, 0)
            if rule >= 0:
                most = max(most, rule)
                continue
            yuan = cost_yuan(problem, other, 0) + excess_yuan(problem, left, other, 0)
            if yuan < low:
                best, low = other, yuan
        if i >= 0:
            place(problem, left, i, s, 1.0)
        now_pair[q], now_yuan[q], why[q] = best, low, most


@compiled
def bar_alone(problem: Problem, i: int, clear: Ints, out: Floats) -> None:
    """Makes the starts of a pair infinite that are too much for a row even if all else is away."""
    pair = problem.pairs[i]
    k, whole = pair.klass, problem.capacity
    job = problem.classes[k]
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r >= 0 and problem.rows[r].hard:
            units = units_of(problem, f, job, pair.pool)
            if units > 0:
                bar_row(problem, whole, r, units, job, pair, clear, out)
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, k], problem.class_units[x, k]
        if r >= 0 and units > 0:
            bar_row(problem, whole, r, units, job, pair, clear, out)


@compiled
def lacks_rank(
    problem: Problem,
    sums: Sums,
    left: Floats,
    rank: Ints,
    torn: int,
    dearer: int,
    blocked: bool,
    i: int,
    room: Floats,
    clear: Ints,
) -> int:
    """The rank of what keeps a pair from taking one more job: ``dearer`` where it has room, else
    that of the rows in the way of its cheapest start, ``torn`` where none is; -1 where the job may
    not even start there alone."""
    out, pair = room[0], problem.pairs[i]
    out[:] = np.inf
    if pair.first <= pair.last:
        fill_options(problem, sums, False, i, out)
        add_excess(problem, left, i, room[1], out)
        if pair.guarded:
            bar_alone(problem, i, clear, out)
    if blocked:
        out[0] = cost_yuan(problem, i, 0) + excess_yuan(problem, left, i, 0)
    s = int(np.argmin(out))
    if out[s] == np.inf:
        return -1
    if pair.first <= pair.last:
        bar_full(problem, left, i, clear, out)
        if out[pair.first : pair.last + 1].min() < np.inf:
            return dearer
    most = blocking_rank(problem, left, rank, i, s)
    return most if most >= 0 else torn


@compiled
def lacking(
    problem: Problem,
    sums: Sums,
    left: Floats,
    rank: Ints,
    torn: int,
    dearer: int,
    blocked: Ints,
    which: Ints,
    lacks: Ints,
) -> None:
    """What each pair of some classes lacks to take one more job.

    Args:
        sums: at no prices.
        blocked: pairs that start nothing in the first slot only because their nodes do not lie
            together; 1 for them, (m,).
        lacks: takes the answer of those classes' pairs, (m,).
    """
    room = np.empty((2, problem.axis + 1))
    clear = np.empty(problem.axis + 1, dtype=np.int64)
    for k in which:
        for i in range(problem.classes[k].low, problem.classes[k].high):
            lacks[i] = lacks_rank(
                problem, sums, left, rank, torn, dearer, blocked[i] > 0, i, room, clear
            )
