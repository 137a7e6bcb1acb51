"""Jobs one after another into what is left, and from there to where they cost less."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.pricing import Sums, bar_full, fill_options, least, sum_class
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import (
    cost_yuan,
    excess_yuan,
    fits,
    hours_in,
    place,
    units_of,
)


@compiled
def add_excess(problem: Problem, left: Floats, i: int, sums: Floats, out: Floats) -> None:
    """Adds what the elastic rows would charge for each start; ``sums`` (A + 1,) is room to work."""
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    first, last, run = int(pair.first), int(pair.last), pair.run
    n = int(run)
    part = run - n
    own = int(job.start) if job.start > int(job.start) else -1
    inner = min(last, problem.axis - n - 1)
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r < 0 or problem.rows[r].hard:
            continue
        units = units_of(problem, f, job, pair.pool) * problem.slot_h
        profile, rest, elastic = problem.profile[r], left[r], problem.elastic_yuan[r]
        stop = min(last + n + 2, problem.axis)
        sums[first] = 0.0
        for t in range(first, stop):
            over = units * profile[t] - max(rest[t], 0.0)
            sums[t + 1] = sums[t] + elastic[t] * max(over, 0.0)
        if sums[stop] == 0.0:
            continue
        for s in range(first, inner + 1):
            if s != own:
                t = s + n
                over = part * units * profile[t] - max(rest[t], 0.0)
                out[s] += sums[t] - sums[s] + elastic[t] * max(over, 0.0)
        for s in range(max(inner + 1, first), last + 1):
            if s != own:
                out[s] += sums[problem.axis] - sums[s]
    if first <= own <= last:
        out[own] += excess_yuan(problem, left, i, own)


@compiled
def cheapest(
    problem: Problem,
    sums: Sums,
    left: Floats,
    per_pair: Floats,
    k: int,
    below: float,
    elastic: bool,
    room: Floats,
    clear: Ints,
    work: Ints,
) -> tuple[int, int, float]:
    """The cheapest option of a class at prices that still fits and costs less than ``below``:
    pair (-1 if there is none), slot, yuan.

    Args:
        per_pair: no start of a pair costs less than this, (m,).
        elastic: whether what the elastic rows charge is counted, beside the prices.
        room: (2, A + 1), ``clear`` (A + 1,), ``work`` (1,): counts the pairs looked at.
    """
    out, more = room[0], room[1]
    job = problem.classes[k]
    low, high = job.low, job.high
    pair, slot, yuan = -1, 0, below
    with_class = len(problem.class_row) > 0 and sum_class(problem, sums, k)
    floor, floor_pair = -np.inf, -1
    while True:
        # The pair of the next higher least cost; among equals, the next in line.
        i, most = -1, yuan
        for q in range(low, high):
            behind = per_pair[q] > floor or (per_pair[q] == floor and q > floor_pair)
            if behind and per_pair[q] < most:
                i, most = q, per_pair[q]
        if i < 0:
            return pair, slot, yuan
        floor, floor_pair = per_pair[i], i
        work[0] += 1
        first, last = problem.pairs[i].first, problem.pairs[i].last
        fill_options(problem, sums, with_class, i, out)
        s = least(out, first, last)
        if elastic or not fits(problem, left, i, s):
            if elastic:
                add_excess(problem, left, i, more, out)
            bar_full(problem, left, i, clear, out)
            s = least(out, first, last)
        if out[s] < yuan:
            pair, slot, yuan = i, s, out[s]


@compiled
def insert(
    problem: Problem,
    sums: Sums,
    left: Floats,
    per_pair: Floats,
    jobs_from: Ints,
    which: Ints,
    early: Ints,
    pair: Ints,
    slot: Ints,
    work: Ints,
) -> None:
    """Gives places to the jobs of classes that have none, class after class.

    Args:
        jobs_from: where the jobs of each class begin in ``pair`` and ``slot``, (K + 1,).
        which: classes in the order in which they choose.
        early: before all others, those of 1 (K,) take what was planned for them in the round before
            if it is free, and those of 2 choose.
        work: counts the pairs looked at, (1,).
    """
    room = np.empty((2, problem.axis + 1))
    clear = np.empty(problem.axis + 1, dtype=np.int64)
    for turn in range(2):
        for k in which:
            if turn == 0 and early[k] == 0:
                continue
            known, known_slot = -1, 0
            keeps = turn == 0 and early[k] == 1
            if keeps:
                known, known_slot = problem.classes[k].kept_pair, problem.classes[k].kept_slot
            for j in range(jobs_from[k], jobs_from[k + 1]):
                if pair[j] >= 0:
                    continue
                # What is cheapest for one is so for all that are alike, as long as there is room.
                if known < 0 or not fits(problem, left, known, known_slot):
                    if keeps:
                        break
                    below = problem.classes[k].unplaced_yuan
                    known, known_slot, _ = cheapest(
                        problem, sums, left, per_pair, k, below, False, room, clear, work
                    )
                if known < 0:
                    break
                pair[j], slot[j] = known, known_slot
                place(problem, left, known, known_slot, 1.0)


@compiled
def improve(
    problem: Problem,
    sums: Sums,
    left: Floats,
    per_pair: Floats,
    jobs: Ints,
    job_class: Ints,
    pair: Ints,
    slot: Ints,
    gain_least: float,
    work: Ints,
    work_most: int,
) -> int:
    """Moves jobs, one after the other, to where they cost least beside all others; returns how many
    have moved. It ends when ``work_most`` pairs have been looked at.

    Args:
        sums: at no prices.
        jobs: in the order in which they are looked at.
        per_pair: each pair's least cost without elastic rows, (m,).
    """
    room = np.empty((2, problem.axis + 1))
    clear = np.empty(problem.axis + 1, dtype=np.int64)
    moved = 0
    for j in jobs:
        if work[0] >= work_most:
            break
        k, i, s = job_class[j], pair[j], slot[j]
        now = problem.classes[k].unplaced_yuan
        if i >= 0:
            place(problem, left, i, s, -1.0)
            now = cost_yuan(problem, i, s) + excess_yuan(problem, left, i, s)
        below = now - gain_least
        better, at, _ = cheapest(problem, sums, left, per_pair, k, below, True, room, clear, work)
        if better >= 0:
            i, s = better, at
            moved += 1
        pair[j], slot[j] = i, s
        if i >= 0:
            place(problem, left, i, s, 1.0)
    return moved


@compiled
def clear_way(
    problem: Problem, left: Floats, i: int, at: int, pair: Ints, slot: Ints, gone: Ints
) -> bool:
    """Takes placed options out, one after the other, until a start fits, places that, and puts back
    those that still fit; whether it fits at all. If not, everything is as it was.

    Args:
        pair: of the options that may go, (n,), and their ``slot``.
        gone: takes 1 for those that are out, (n,).
    """
    n = 0
    while not fits(problem, left, i, at):
        if n == len(pair):
            for q in range(n):
                place(problem, left, pair[q], slot[q], 1.0)
            return False
        place(problem, left, pair[n], slot[n], -1.0)
        n += 1
    place(problem, left, i, at, 1.0)
    for q in range(n - 1, -1, -1):
        if fits(problem, left, pair[q], slot[q]):
            place(problem, left, pair[q], slot[q], 1.0)
        else:
            gone[q] = 1
    return True


@compiled
def costs(problem: Problem, pair: Ints, slot: Ints) -> Floats:
    """What options cost whatever else is placed; none of them -1."""
    yuan = np.empty(len(pair))
    for q in range(len(pair)):
        yuan[q] = cost_yuan(problem, pair[q], slot[q])
    return yuan


@compiled
def worths(problem: Problem, left: Floats, pair: Ints, slot: Ints) -> Floats:
    """What placed options cost, each beside all others."""
    yuan = np.empty(len(pair))
    for q in range(len(pair)):
        place(problem, left, pair[q], slot[q], -1.0)
        yuan[q] = cost_yuan(problem, pair[q], slot[q])
        yuan[q] += excess_yuan(problem, left, pair[q], slot[q])
        place(problem, left, pair[q], slot[q], 1.0)
    return yuan


@compiled
def cheapest_for(problem: Problem, sums: Sums, left: Floats, k: int) -> tuple[int, int, float]:
    """The cheapest option of one class beside what is placed: pair (-1: none), slot, yuan.

    Args:
        sums: at no prices.
    """
    room = np.empty((2, problem.axis + 1))
    clear = np.empty(problem.axis + 1, dtype=np.int64)
    out, job = room[0], problem.classes[k]
    pair, slot, yuan = -1, 0, job.unplaced_yuan
    for i in range(job.low, job.high):
        one = problem.pairs[i]
        if one.first > one.last:
            continue
        fill_options(problem, sums, False, i, out)
        add_excess(problem, left, i, room[1], out)
        bar_full(problem, left, i, clear, out)
        s = least(out, one.first, one.last)
        if out[s] < yuan:
            pair, slot, yuan = i, s, out[s]
    return pair, slot, yuan


@compiled
def room_for(problem: Problem, left: Floats, k: int, yuan: Floats) -> None:
    """What the elastic rows would charge for every start of a class, infinite where the hard ones
    leave no room; ``yuan`` (pairs of the class, S)."""
    sums, clear = np.empty(problem.axis + 1), np.empty(problem.axis + 1, dtype=np.int64)
    job = problem.classes[k]
    for i in range(job.low, job.high):
        one, out = problem.pairs[i], yuan[i - job.low]
        out[:] = np.inf
        if one.first > one.last:
            continue
        out[one.first : one.last + 1] = 0.0
        add_excess(problem, left, i, sums, out)
        bar_full(problem, left, i, clear, out)


@compiled
def excess_for(problem: Problem, left: Floats, k: int, yuan: Floats) -> None:
    """What the elastic rows would charge for every start of a class, room or not; as above."""
    job = problem.classes[k]
    for i in range(job.low, job.high):
        for s in range(problem.slots):
            yuan[i - job.low, s] = excess_yuan(problem, left, i, s)


@compiled
def energy_costs(
    problem: Problem, inside: Floats, beyond: Floats, pair: Ints, slot: Ints
) -> Floats:
    """What the energy of options costs at rates per IT kWh, (C, A) and after the axis (C,)."""
    yuan = np.empty(len(pair))
    for q in range(len(pair)):
        one = problem.pairs[pair[q]]
        job, pool = problem.classes[one.klass], problem.pools[one.pool]
        kind = problem.kinds[job.kind]
        it_kw = job.scale * (kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw)
        start = max(float(slot[q]), job.start)
        end, t, total = start + one.run, slot[q], 0.0
        while t < problem.axis and t < end:
            total += inside[pool.site, t] * hours_in(problem.slot_h, t, start, end)
            t += 1
        total += beyond[pool.site] * max(end - problem.axis, 0.0) * problem.slot_h
        yuan[q] = it_kw * total
    return yuan
