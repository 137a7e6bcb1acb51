"""Every option of a pair at once, at given prices of the rows.

What a run costs is a difference of sums over the time before its end and before its start. For
each kind of worker in each pool these sums are made once, so that an option costs a few additions.
"""

from math import ceil
from typing import NamedTuple

import numpy as np

from policies.scene import Bools, Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem, Record
from scheduler.planner.kernels.runs import fits, stop_of, units_of, waiting_yuan

SUMS_MOST = 4096


class Sums(NamedTuple):
    """Sums up to every slot's beginning for kinds of workers in pools, (n, A + 1), of what counts
    by the hour and of what counts by the slot; ``owner`` (n,) is kind × pools + pool, -1 where none
    has been made. ``of_class`` (A + 1,) is room for the same sums of one class's own rows.
    ``yuan`` (R, A) are the prices of the rows times their profiles, ``some`` (R,) is 1 where any is
    above zero, ``staged`` (1,) whether that is so of a row of stages; ``flow`` (R, A + 1) are the
    sums of such a row by the hour.
    """

    owner: Ints
    hourly: Floats
    whole: Floats
    of_class: Floats
    yuan: Floats
    some: Ints
    staged: Ints
    flow: Floats


def sums_at(problem: Problem, prices: Floats) -> Sums:
    """Room for the sums at prices per unit, (R, A)."""
    size = min(max(len(problem.kinds) * len(problem.pools), 1), SUMS_MOST)
    shape = (size, problem.axis + 1)
    yuan = np.ascontiguousarray(prices * problem.profile)
    some: Bools = np.asarray(yuan.any(axis=1), dtype=bool)
    staged = np.flatnonzero(some & (problem.rows["stage"] > 0))
    flow = np.zeros((len(yuan), problem.axis + 1))
    flow[staged, 1:] = np.cumsum(yuan[staged], axis=1) * problem.slot_h
    return Sums(
        owner=np.full(size, -1, dtype=np.int64),
        hourly=np.empty(shape),
        whole=np.empty(shape),
        of_class=np.zeros(problem.axis + 1),
        yuan=yuan,
        some=some.astype(np.int64),
        staged=np.array([len(staged) > 0], dtype=np.int64),
        flow=flow,
    )


@compiled
def make_sums(problem: Problem, sums: Sums, u: int, p: int, at: int) -> None:
    """Makes the sums of a kind in a pool."""
    hourly, whole, axis = sums.hourly[at], sums.whole[at], problem.axis
    pool, kind = problem.pools[p], problem.kinds[u]
    it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
    hourly[0] = whole[0] = 0.0
    energy = problem.energy_yuan[pool.site]
    for t in range(axis):
        hourly[t + 1] = it_kw * energy[t]
        whole[t + 1] = 0.0
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, p]
        if r < 0 or not sums.some[r]:
            continue
        units = problem.kind_units[f, u, 0] * problem.pool_units[f, p, 0]
        units += problem.kind_units[f, u, 1] * problem.pool_units[f, p, 1]
        if units == 0:
            continue
        yuan = sums.yuan[r]
        if problem.rows[r].exact:
            for t in range(axis):
                hourly[t + 1] += units * yuan[t]
        else:
            for t in range(axis):
                whole[t + 1] += units * yuan[t]
    for t in range(axis):
        hourly[t + 1] = hourly[t] + problem.slot_h * hourly[t + 1]
        whole[t + 1] += whole[t]


@compiled
def sum_class(problem: Problem, sums: Sums, k: int) -> bool:
    """The sums of a class's own rows; whether there are any."""
    some = False
    for x in range(len(problem.class_row)):
        r = problem.class_row[x, k]
        if r < 0 or not sums.some[r] or problem.class_units[x, k] == 0:
            continue
        if not some:
            sums.of_class[:] = 0.0
        some = True
        for t in range(problem.axis):
            sums.of_class[t + 1] += problem.class_units[x, k] * sums.yuan[r, t]
    if some:
        for t in range(problem.axis):
            sums.of_class[t + 1] += sums.of_class[t]
    return some


@compiled
def sum_until(hourly: Floats, axis: int, x: float, beyond: float) -> float:
    """A sum by the hour at any time; after the axis it goes on at a rate per slot."""
    if x >= axis:
        return float(hourly[axis] + (x - axis) * beyond)
    t = int(x)
    return float(hourly[t] + (x - t) * (hourly[t + 1] - hourly[t]))


@compiled
def lowest(out: Floats, first: int, last: int) -> float:
    """What the cheapest starts cost."""
    low = np.inf
    for yuan in out[first : last + 1]:
        low = yuan if yuan < low else low
    return float(low)


@compiled
def fill_runs(
    hourly: Floats,
    whole: Floats,
    at: int,
    overlap: float,
    job: Record,
    pair: Record,
    beyond: float,
    out: Floats,
) -> float:
    """Costs of all starts by sums over hours and slots, of waiting, and of what is the same for all
    starts; returns the least."""
    axis, run, w = hourly.shape[1] - 1, pair.run, job.scale
    first, last, n = int(pair.first), int(pair.last), int(run)
    part, touched = run - n, max(int(ceil(run - overlap)), 1)
    const = pair.yuan + job.moving_yuan
    s = first
    if first == int(job.start):
        # Within its slot, it may be.
        end = job.start + run
        yuan = sum_until(hourly[at], axis, end, beyond)
        yuan -= sum_until(hourly[at], axis, job.start, beyond)
        yuan += whole[at, stop_of(axis, overlap, first, end)] - whole[at, first]
        out[first] = const + w * yuan + waiting_yuan(job, overlap, job.start, run)
        s += 1
    calm = min(last, int(job.overdue + overlap))
    late = job.before_yuan * (job.overdue - job.start)
    late += job.once_yuan + job.once_yuan_per_run * run
    # At the beginnings of slots, as far as runs end within the axis; a step at a time that every
    # processor takes for several starts at once.
    inner = min(last, axis - n - 1)
    early, tail = w * (1.0 - part), w * part
    for timely in range(1, -1, -1):
        many = (min(inner, calm) if timely else inner) + 1 - s
        if many <= 0:
            continue
        slope = job.before_yuan if timely else job.after_yuan
        zero = job.start if timely else job.overdue
        base = const + slope * (s - zero) + (0.0 if timely else late)
        a, d = hourly[at, s : s + many], whole[at, s : s + many]
        b, c = hourly[at, s + n : s + n + many], hourly[at, s + n + 1 : s + n + 1 + many]
        e, o = whole[at, s + touched : s + touched + many], out[s : s + many]
        for x in range(many):
            o[x] = early * b[x] + tail * c[x] + w * (e[x] - d[x] - a[x]) + (base + slope * x)
        s += many
    for x in range(s, last + 1):
        yuan = sum_until(hourly[at], axis, x + run, beyond) - hourly[at, x]
        yuan = const + w * (yuan + whole[at, min(x + touched, axis)] - whole[at, x])
        if x <= calm:
            out[x] = yuan + job.before_yuan * (x - job.start)
        else:
            out[x] = yuan + late + job.after_yuan * (x - job.overdue)
    return lowest(out, first, last)


@compiled
def fill_options(problem: Problem, sums: Sums, with_class: bool, i: int, out: Floats) -> None:
    """Costs of all starts of a pair from its first to its last, at prices; ``out`` (S,)."""
    pair = problem.pairs[i]
    job, pool = problem.classes[pair.klass], problem.pools[pair.pool]
    key = job.kind * len(problem.pools) + pair.pool
    at = key % len(sums.owner)
    if sums.owner[at] != key:
        make_sums(problem, sums, job.kind, pair.pool, at)
        sums.owner[at] = key
    kind = problem.kinds[job.kind]
    it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
    beyond = it_kw * pool.beyond_yuan_per_kwh * problem.slot_h
    fill_runs(sums.hourly, sums.whole, at, problem.overlap, job, pair, beyond, out)
    if with_class:
        _add_class(sums.of_class, problem.overlap, job, pair, out)
    if sums.staged[0]:
        for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
            stage = problem.stages[e]
            if stage.row >= 0 and sums.some[stage.row]:
                _add_stage(sums.flow, stage.row, stage, job, pair, out)
    if pair.first == 0:
        out[0] -= job.moving_yuan
    if job.kept_pair == i and job.kept_slot > 0:
        out[job.kept_slot] -= job.moving_yuan


@compiled
def _add_class(of_class: Floats, overlap: float, job: Record, pair: Record, out: Floats) -> None:
    axis = len(of_class) - 1
    for s in range(pair.first, pair.last + 1):
        end = max(float(s), job.start) + pair.run
        out[s] += of_class[stop_of(axis, overlap, s, end)] - of_class[s]


@compiled
def _add_stage(flow: Floats, r: int, stage: Record, job: Record, pair: Record, out: Floats) -> None:
    axis, units = flow.shape[1] - 1, stage.units
    for s in range(pair.first, pair.last + 1):
        start = max(float(s), job.start)
        until = sum_until(flow[r], axis, start + stage.length, 0.0)
        out[s] += units * (until - sum_until(flow[r], axis, start, 0.0))


@compiled
def bar_row(
    problem: Problem,
    left: Floats,
    r: int,
    units: float,
    job: Record,
    pair: Record,
    clear: Ints,
    out: Floats,
) -> None:
    """Makes the starts infinite whose runs touch a slot in which a row has too little left;
    ``clear`` (A + 1,) is room to work in."""
    first, last, run = int(pair.first), int(pair.last), pair.run
    stop = min(int(ceil(last + 1 + run)) + 1, problem.axis)
    bad = stop
    for t in range(stop - 1, first - 1, -1):
        if units * problem.profile[r, t] > left[r, t] + 1e-6:
            bad = t
        clear[t] = bad
    if clear[first] == stop:
        return
    for s in range(first, last + 1):
        end = max(float(s), job.start) + run
        if clear[s] < stop_of(problem.axis, problem.overlap, s, end):
            out[s] = np.inf


@compiled
def bar_full(problem: Problem, left: Floats, i: int, clear: Ints, out: Floats) -> None:
    """Makes all starts of a pair infinite that what is left does not allow."""
    pair = problem.pairs[i]
    k = pair.klass
    job = problem.classes[k]
    one_by_one = len(problem.stage_from) > 0
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r >= 0 and problem.rows[r].hard:
            units = units_of(problem, f, job, pair.pool)
            if problem.rows[r].exact:
                one_by_one = True
            elif units > 0:
                bar_row(problem, left, r, units, job, pair, clear, out)
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, k], problem.class_units[x, k]
        if r >= 0 and units > 0:
            bar_row(problem, left, r, units, job, pair, clear, out)
    if one_by_one:
        for s in range(pair.first, pair.last + 1):
            if out[s] < np.inf and not fits(problem, left, i, s):
                out[s] = np.inf


@compiled
def least(out: Floats, first: int, last: int) -> int:
    """The earliest of the cheapest starts."""
    low, s = lowest(out, first, last), first
    while out[s] > low:
        s += 1
    return s


@compiled
def best_options(
    problem: Problem,
    sums: Sums,
    which: Ints,
    pair: Ints,
    slot: Ints,
    yuan: Floats,
    per_pair: Floats,
) -> None:
    """The cheapest option of each of some classes alone at prices: ``pair`` (-1 if it has none),
    ``slot`` and ``yuan`` (which,); ``per_pair`` (m,) takes each pair's least, if it is not empty.
    """
    out, clear = np.empty(problem.slots), np.empty(problem.axis + 1, dtype=np.int64)
    for q in range(len(which)):
        k = which[q]
        job = problem.classes[k]
        best_pair, best_slot, best_yuan = -1, 0, np.inf
        with_class = len(problem.class_row) > 0 and sum_class(problem, sums, k)
        for i in range(job.low, job.high):
            one = problem.pairs[i]
            low = np.inf
            if one.first <= one.last:
                # As in ``fill_options``, without the price of handing over all arrays each time.
                pool, kind = problem.pools[one.pool], problem.kinds[job.kind]
                key = job.kind * len(problem.pools) + one.pool
                at = key if key < len(sums.owner) else key % len(sums.owner)
                if sums.owner[at] != key:
                    make_sums(problem, sums, job.kind, one.pool, at)
                    sums.owner[at] = key
                it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
                beyond = it_kw * pool.beyond_yuan_per_kwh * problem.slot_h
                low = fill_runs(sums.hourly, sums.whole, at, problem.overlap, job, one, beyond, out)
                more = with_class or one.guarded > 0 or job.moving_yuan != 0.0
                if sums.staged[0]:
                    for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
                        stage = problem.stages[e]
                        if stage.row >= 0 and sums.some[stage.row]:
                            _add_stage(sums.flow, stage.row, stage, job, one, out)
                            more = True
                if with_class:
                    _add_class(sums.of_class, problem.overlap, job, one, out)
                if one.first == 0:
                    out[0] -= job.moving_yuan
                if job.kept_pair == i and job.kept_slot > 0:
                    out[job.kept_slot] -= job.moving_yuan
                if one.guarded:
                    bar_full(problem, problem.capacity, i, clear, out)
                if more:
                    low = lowest(out, one.first, one.last)
                if low < best_yuan:
                    best_pair, best_slot, best_yuan = i, int(one.first), low
                    while out[best_slot] > low:
                        best_slot += 1
            if len(per_pair):
                per_pair[i] = low
        pair[q], slot[q], yuan[q] = best_pair, best_slot, best_yuan


@compiled
def fill_class(problem: Problem, sums: Sums, k: int, yuan: Floats) -> None:
    """All options of a class at prices, infinite where it may not start; (its pairs, S)."""
    clear = np.empty(problem.axis + 1, dtype=np.int64)
    job = problem.classes[k]
    with_class = len(problem.class_row) > 0 and sum_class(problem, sums, k)
    for i in range(job.low, job.high):
        one, out = problem.pairs[i], yuan[i - job.low]
        out[:] = np.inf
        if one.first > one.last:
            continue
        out[one.first : one.last + 1] = 0.0
        fill_options(problem, sums, with_class, i, out)
        if one.guarded:
            bar_full(problem, problem.capacity, i, clear, out)


@compiled
def shortlist(problem: Problem, per_pair: Floats, most: int, listed: Bools) -> None:
    """Lists the pairs of each class that cost least, so many and those that cost no more.

    Args:
        per_pair: each pair's least cost, (m,).
        listed: takes the answer, (m,).
    """
    kept = np.empty(most)
    for k in range(len(problem.classes)):
        job = problem.classes[k]
        count = 0
        for i in range(job.low, job.high):
            # The least so far in rising order.
            yuan = per_pair[i]
            if count < most or yuan < kept[count - 1]:
                at = min(count, most - 1)
                while at > 0 and kept[at - 1] > yuan:
                    kept[at] = kept[at - 1]
                    at -= 1
                kept[at] = yuan
                count = min(count + 1, most)
        for i in range(job.low, job.high):
            listed[i] = count > 0 and per_pair[i] <= kept[count - 1]
