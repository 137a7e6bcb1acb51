"""Jobs in several runs, pair by pair: what none could cost less than, and what they could cost."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.pricing import Sums, make_sums, sum_class, sum_until
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import energy_yuan, units_of
from scheduler.planner.kernels.splits import RUNS_MOST, Room, Stops, beyond_yuan, cheapest_runs

# What takes fewer slots is not split.
SLOTS_LEAST = 2.0


@compiled
def sums_of(problem: Problem, sums: Sums, i: int) -> int:
    """Where the sums of a pair's kind and pool are, made if need be."""
    pair = problem.pairs[i]
    kind = problem.classes[pair.klass].kind
    key = kind * len(problem.pools) + pair.pool
    at = int(key % len(sums.owner))
    if sums.owner[at] != key:
        make_sums(problem, sums, kind, pair.pool, at)
        sums.owner[at] = key
    return at


@compiled
def splittable(problem: Problem, stops: Stops, i: int) -> bool:
    """Whether a pair may be planned in several runs: its job may be stopped, is long enough, and
    needs nothing at its beginning that it would need again."""
    pair = problem.pairs[i]
    staged = len(problem.stage_from) > 0 and problem.stage_from[i] < problem.stage_from[i + 1]
    long = pair.run >= SLOTS_LEAST and pair.first <= pair.last
    return bool(stops.may[pair.klass] and long and not staged)


@compiled
def floor_yuan(problem: Problem, sums: Sums, stops: Stops, room: Room, i: int) -> float:
    """No way to run a pair in several runs costs less: its time in the cheapest slots there are,
    and one stop."""
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    at, beyond, axis = sums_of(problem, sums, i), beyond_yuan(problem, i), problem.axis
    ranked = room.ranked[at]
    if room.owner[at] != sums.owner[at]:
        each = sums.hourly[at, 1:] - sums.hourly[at, :axis]
        each += sums.whole[at, 1:] - sums.whole[at, :axis]
        each.sort()
        ranked[0] = 0.0
        for t in range(axis):
            # After the axis there is time without end.
            ranked[t + 1] = ranked[t] + min(each[t], beyond)
        room.owner[at] = sums.owner[at]
    restart = stops.restart[pair.klass]
    need = pair.run + restart
    yuan = job.scale * sum_until(ranked, axis, min(need, float(axis)), beyond)
    yuan += job.scale * max(need - axis, 0.0) * beyond
    stop = stops.once_yuan[pair.klass] + stops.pool_yuan[pair.pool] + job.before_yuan * restart
    # Where energy is paid for, more restarts may earn more than their stops cost.
    earned = stop + restart * job.scale * min(ranked[1], beyond)
    return float(yuan + pair.yuan + stop + min(0.0, (RUNS_MOST - 2) * earned))


@compiled
def lay_out(problem: Problem, sums: Sums, left: Floats, i: int, elastic: bool, room: Room) -> None:
    """The sums and the full slots of a pair: with what elastic rows would charge beside what is
    placed, if ``elastic``, and with every row that has too little left."""
    pair = problem.pairs[i]
    job, axis = problem.classes[pair.klass], problem.axis
    at, w = sums_of(problem, sums, i), job.scale
    hour, whole, clear = room.hour, room.whole, room.clear
    with_class = len(problem.class_row) > 0 and sum_class(problem, sums, pair.klass)
    for t in range(axis + 1):
        hour[t] = w * sums.hourly[at, t]
        whole[t] = w * sums.whole[at, t] + (sums.of_class[t] if with_class else 0.0)
        clear[t] = axis + 1
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r < 0:
            continue
        units, more = units_of(problem, f, job, pair.pool), 0.0
        hard, exact = problem.rows[r].hard, problem.rows[r].exact
        if exact:
            units *= problem.slot_h
        for t in range(axis):
            amount = units * problem.profile[r, t]
            if hard and (elastic or not exact) and amount > left[r, t] + 1e-6:
                clear[t] = t
            elif not hard and elastic:
                more += problem.elastic_yuan[r, t] * max(amount - max(left[r, t], 0.0), 0.0)
                hour[t + 1] += more
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, pair.klass], problem.class_units[x, pair.klass]
        if r >= 0 and units > 0:
            for t in range(axis):
                if units * problem.profile[r, t] > left[r, t] + 1e-6:
                    clear[t] = t
    for t in range(axis - 1, -1, -1):
        clear[t] = min(clear[t], clear[t + 1])


@compiled
def split_least(
    problem: Problem,
    sums: Sums,
    stops: Stops,
    room: Room,
    which: Ints,
    least: Floats,
    work_most: int,
    out: Floats,
) -> None:
    """The least that one job of some classes costs alone at prices, in one run or several; or no
    more than that, where more than ``work_most`` states would have to be looked at.

    Args:
        least: what it costs in one run, or without a place, (which,); ``out`` takes the answer.
    """
    for q in range(len(which)):
        job, best = problem.classes[which[q]], least[q]
        for i in range(job.low, job.high):
            if not stops.may[which[q]] or not splittable(problem, stops, i):
                continue
            floor = floor_yuan(problem, sums, stops, room, i)
            if floor >= best:
                continue
            if room.work[0] >= work_most:
                best = floor
            else:
                lay_out(problem, sums, problem.capacity, i, False, room)
                best = cheapest_runs(problem, stops, i, best, room)[0]
        out[q] = best


@compiled
def floors(
    problem: Problem, sums: Sums, stops: Stops, room: Room, which: Ints, out: Floats
) -> None:
    """The least floor of each of some classes, infinite where none may be split; (which,)."""
    for q in range(len(which)):
        job, out[q] = problem.classes[which[q]], np.inf
        for i in range(job.low, job.high):
            if splittable(problem, stops, i):
                out[q] = min(out[q], floor_yuan(problem, sums, stops, room, i))


@compiled
def best_split(
    problem: Problem,
    sums: Sums,
    stops: Stops,
    room: Room,
    left: Floats,
    k: int,
    below: float,
    pairs_most: int,
) -> tuple[int, int, float]:
    """The cheapest way to run a job of a class in several runs beside what is placed, if it costs
    less than ``below``: pair (-1: none), how many runs, yuan; ``room.runs`` takes them.

    Args:
        sums: at no prices.
        pairs_most: so many pairs are looked at, those first that promise most.
    """
    job = problem.classes[k]
    pair, count, yuan = -1, 0, below
    kept = room.runs.copy()
    behind, behind_pair = -np.inf, -1
    for _ in range(pairs_most):
        i, least = -1, yuan
        for q in range(job.low, job.high):
            if not splittable(problem, stops, q):
                continue
            floor = floor_yuan(problem, sums, stops, room, q)
            if (floor > behind or (floor == behind and q > behind_pair)) and floor < least:
                i, least = q, floor
        if i < 0:
            break
        behind, behind_pair = least, i
        lay_out(problem, sums, left, i, True, room)
        found, many = cheapest_runs(problem, stops, i, yuan, room)
        if many > 0:
            pair, count, yuan = i, many, found
            kept[:many] = room.runs[:many]
    room.runs[:count] = kept[:count]
    return pair, count, yuan


@compiled
def energies_yuan(problem: Problem, pair: Ints, slot: Ints) -> Floats:
    """What the energy of options costs, (n,)."""
    yuan = np.empty(len(pair))
    for q in range(len(pair)):
        one = problem.pairs[pair[q]]
        job = problem.classes[one.klass]
        yuan[q] = energy_yuan(problem, job, one, max(float(slot[q]), job.start))
    return yuan
