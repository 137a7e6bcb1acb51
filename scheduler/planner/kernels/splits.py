"""A job in several runs: the least that running, pausing and going on in one pool costs.

A job starts at the beginning of a slot (or at once, in that in which it becomes ready), may be
stopped at the end of a slot, and goes on at the beginning of a later one. What it has cost so far
depends on three things alone: how long it has run, how often it has been stopped, and whether it
runs; so slot by slot the cheapest way to each such state is kept. The last run, which is not
stopped, is a difference of sums, as any run in one piece.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.pricing import Sums, make_sums, sum_class, sum_until
from scheduler.planner.kernels.problem import Problem, Record
from scheduler.planner.kernels.runs import energy_yuan, stop_of, units_of

Bytes = npt.NDArray[np.uint8]

# A job that must restart is stopped so often at most, less one; without a restart, at will.
RUNS_MOST = 6
# What takes fewer slots is not split.
SLOTS_LEAST = 2.0
# How a state was come to: by waiting or running on, by a stop or a start; a stop that is not
# counted, since it changes nothing.
ON, TURN, TURN_UNCOUNTED = 0, 1, 2


class Stops(NamedTuple):
    """What stopping costs a class that may be stopped (``may`` (K,)): ``once_yuan`` (K,) and, by
    the pool, ``pool_yuan`` (P,); ``run_yuan`` (K,) for each slot of a run that is stopped; and
    ``restart`` (K,) slots of its next run in which it does not get on."""

    may: Ints
    once_yuan: Floats
    run_yuan: Floats
    restart: Floats
    pool_yuan: Floats


class Terms(NamedTuple):
    """A pair as the search for its runs sees it, in slots: before ``begin`` there is one state,
    ``lost`` is what has passed of its first slot; ``most`` slots are run before the last run, which
    is the ``deep``-th at most; the end less an unbroken run is not after ``latest``. The first stop
    costs ``sunk_yuan`` more, for what has been run before."""

    begin: int
    lost: float
    run: float
    restart: float
    deep: int
    latest: float
    most: int
    wait_yuan: float
    stop_yuan: float
    run_yuan: float
    beyond_yuan: float
    sunk_yuan: float


class Room(NamedTuple):
    """Room to work in. ``idle`` and ``on`` (2, n, j): the least that a state has cost before this
    slot and after it, by slots run and stops made; ``idle_by`` and ``on_by`` (S + 1, n, j) how it
    was come to. ``hour`` and ``whole`` (A + 1,) are sums for one pair of what counts by the hour
    and by the slot, ``clear`` (A + 1,) the next slot with no room. ``runs`` takes the answer: the
    first slot of each run and the one behind its last. ``ranked`` (n, A + 1) are sums over the
    slots in the order of what they cost, for the kinds in pools of ``owner``; ``work`` (1,) counts
    states."""

    idle: Floats
    on: Floats
    idle_by: Bytes
    on_by: Bytes
    hour: Floats
    whole: Floats
    clear: Ints
    runs: Ints
    ranked: Floats
    owner: Ints
    work: Ints


def room_for_runs(problem: Problem, sums: Sums, stops: Stops) -> Room:
    """For one problem."""
    n, deep = problem.slots + 2, RUNS_MOST if stops.restart.any() else 2
    states = (problem.slots + 1, n, deep)
    axis = problem.axis + 1
    return Room(
        idle=np.empty((2, n, deep)),
        on=np.empty((2, n, deep)),
        idle_by=np.empty(states, dtype=np.uint8),
        on_by=np.empty(states, dtype=np.uint8),
        hour=np.zeros(axis),
        whole=np.zeros(axis),
        clear=np.zeros(axis, dtype=np.int64),
        runs=np.zeros((problem.slots + 1, 2), dtype=np.int64),
        ranked=np.empty((len(sums.owner), axis)),
        owner=np.full(len(sums.owner), -1, dtype=np.int64),
        work=np.zeros(1, dtype=np.int64),
    )


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
def beyond_yuan(problem: Problem, i: int) -> float:
    """What a slot after the axis costs one worker of a pair."""
    pair = problem.pairs[i]
    pool, kind = problem.pools[pair.pool], problem.kinds[problem.classes[pair.klass].kind]
    it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
    return float(it_kw * pool.beyond_yuan_per_kwh * problem.slot_h)


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
def cheapest_runs(
    problem: Problem, stops: Stops, i: int, below: float, room: Room
) -> tuple[float, int]:
    """The cheapest way to run a pair in several runs, if it costs less than ``below``: yuan and how
    many runs (0: none), which ``room.runs`` takes. The pair must be laid out there."""
    yuan, count = below, 0
    for own in (True, False):
        terms = _terms(problem, stops, i, own)
        if terms.begin < 0:
            continue
        _first(problem, terms, i, own, room)
        found = _search(problem, terms, i, int(own), yuan, room)
        if found[0] < yuan:
            yuan = found[0]
            count = _trace(room, found[1], found[2], found[3])
    return yuan, count


@compiled
def _terms(problem: Problem, stops: Stops, i: int, own: bool) -> Terms:
    """Those of a pair whose job starts within the slot in which it becomes ready, if ``own``; else
    at the beginning of a slot. ``begin`` is the slot before which it may first be stopped, or
    begin; -1 if it cannot start so."""
    pair = problem.pairs[i]
    k = pair.klass
    job, restart = problem.classes[k], stops.restart[k]
    begin, lost = max(int(pair.first), int(ceil(job.start))), 0.0
    # As if it had started when its end less an unbroken run was: not late by any rule.
    latest = min(float(pair.last), job.overdue) + problem.overlap
    if own:
        lost = job.start - int(job.start)
        begin = int(job.start) + 1
        if lost == 0.0 or pair.first >= begin:
            begin = -1
    deep = RUNS_MOST if restart > 0 else 2
    return Terms(
        begin=begin,
        lost=lost,
        run=pair.run,
        restart=restart,
        deep=deep,
        latest=latest,
        most=min(problem.slots, int(ceil(pair.run + lost + (deep - 1) * restart))),
        wait_yuan=job.before_yuan,
        stop_yuan=stops.once_yuan[k] + stops.pool_yuan[pair.pool],
        run_yuan=stops.run_yuan[k],
        beyond_yuan=beyond_yuan(problem, i) * job.scale,
        sunk_yuan=0.0,
    )


@compiled
def _start_yuan(job: Record, i: int, t: int) -> float:
    """What it costs to start in a slot that is not the one planned before."""
    kept = t == 0 or (job.kept_pair == i and job.kept_slot == t)
    return 0.0 if kept else float(job.moving_yuan)


@compiled
def _first(problem: Problem, terms: Terms, i: int, own: bool, room: Room) -> None:
    """The only state before ``begin``."""
    pair = problem.pairs[i]
    job, t, side = problem.classes[pair.klass], terms.begin - 1, terms.begin % 2
    hour, whole = room.hour, room.whole
    room.idle[:, : terms.most + 2] = np.inf
    room.on[:, : terms.most + 2] = np.inf
    if not own and terms.begin <= terms.latest and terms.begin < problem.slots:
        room.idle[side, 0, 0] = pair.yuan + terms.wait_yuan * (terms.begin - job.start)
        room.idle_by[terms.begin, 0, 0] = ON
    elif own and room.clear[t] > t:
        yuan = (1 - terms.lost) * (hour[t + 1] - hour[t] + terms.run_yuan)
        yuan += whole[t + 1] - whole[t] + pair.yuan + _start_yuan(job, i, t)
        room.on[side, 1, 0] = yuan
        room.on_by[terms.begin, 1, 0] = TURN


@compiled
def _end_yuan(problem: Problem, terms: Terms, room: Room, t: int, rest: float) -> float:
    """What a last run from a slot on costs."""
    end, axis = t + rest, problem.axis
    stop = stop_of(axis, problem.overlap, t, end)
    if room.clear[t] < stop:
        return np.inf
    yuan = sum_until(room.hour, axis, end, terms.beyond_yuan) - room.hour[t]
    return float(yuan + room.whole[stop] - room.whole[t])


@compiled
def _search(
    problem: Problem, terms: Terms, i: int, ahead: int, below: float, room: Room
) -> tuple[float, int, int, int]:
    """The cheapest end: yuan, and where its last run begins: slot, slots run before, stops;
    ``ahead`` slots are run before ``begin``."""
    job = problem.classes[problem.pairs[i].klass]
    best, best_t, best_n, best_j = below, -1, 0, 0
    for t in range(terms.begin, problem.slots):
        now = t % 2
        low = max(0, int(ceil(t - terms.latest + terms.lost)) - 1)
        high = min(terms.most, t - terms.begin + ahead)
        room.work[0] += (high - low + 1) * terms.deep
        for n in range(low, high + 1):
            for j in range(1, terms.deep):
                here = room.idle[now, n, j]
                if here < np.inf:
                    rest = terms.run + terms.restart * j - n + terms.lost
                    yuan = here + _end_yuan(problem, terms, room, t, rest)
                    if yuan < best:
                        best, best_t, best_n, best_j = yuan, t, n, j
        start_yuan = _start_yuan(job, i, t)
        _step(terms, room, problem.overlap, t, low, high, start_yuan)
    return best, best_t, best_n, best_j


@compiled
def _step(
    terms: Terms, room: Room, overlap: float, t: int, low: int, high: int, start_yuan: float
) -> None:
    """From the states before a slot, of those ``low`` to ``high`` slots run, to those after it."""
    idle, on = room.idle[t % 2], room.on[t % 2]
    idle_then, on_then = room.idle[(t + 1) % 2], room.on[(t + 1) % 2]
    slot_yuan = room.hour[t + 1] - room.hour[t] + room.whole[t + 1] - room.whole[t]
    slot_yuan += terms.run_yuan
    has_room, stop_yuan = room.clear[t] > t, terms.stop_yuan
    stop_yuan += terms.wait_yuan * (1 + terms.restart)
    idle_then[low : high + 2] = np.inf
    on_then[low : high + 2] = np.inf
    for n in range(low, high + 1):
        for j in range(terms.deep):
            rest = terms.run + terms.restart * j - n + terms.lost
            spare = terms.latest - (t + 1 + rest - terms.run)
            yuan = idle[n, j] + terms.wait_yuan
            if spare >= 0 and yuan < idle_then[n, j]:
                idle_then[n, j] = yuan
                room.idle_by[t + 1, n, j] = ON
            # A stop that needs no restart is not counted but once.
            to = j + 1 if terms.restart > 0 else 1
            yuan = on[n, j] + stop_yuan + (terms.sunk_yuan if j == 0 else 0.0)
            if to < terms.deep and spare >= terms.restart and yuan < idle_then[n, to]:
                idle_then[n, to] = yuan
                room.idle_by[t + 1, n, to] = TURN if to > j else TURN_UNCOUNTED
            if has_room and rest > 1 + overlap and n < terms.most:
                yuan = idle[n, j] + (start_yuan if j == 0 else 0.0)
                least = min(yuan, on[n, j]) + slot_yuan
                if least < on_then[n + 1, j]:
                    on_then[n + 1, j] = least
                    room.on_by[t + 1, n + 1, j] = TURN if yuan < on[n, j] else ON


@compiled
def _trace(room: Room, t: int, n: int, j: int) -> int:
    """Follows the states back from where the last run begins; how many runs there are."""
    runs = room.runs
    runs[0, 0], runs[0, 1], count = t, -1, 1
    while n > 0:
        while room.idle_by[t, n, j] == ON:
            t -= 1
        if room.idle_by[t, n, j] == TURN:
            j -= 1
        t -= 1
        runs[count, 1] = t
        while room.on_by[t, n, j] == ON:
            t, n = t - 1, n - 1
        t, n = t - 1, n - 1
        runs[count, 0] = t
        count += 1
    for q in range(count // 2):
        for side in range(2):
            other = count - 1 - q
            runs[q, side], runs[other, side] = runs[other, side], runs[q, side]
    return count


@compiled
def go_or_pause(
    problem: Problem, stops: Stops, i: int, rest: float, ran: float, room: Room
) -> tuple[float, float, int, float]:
    """What the rest of a run costs at least, if it goes on when its class becomes ready, at the
    beginning of a slot, and if it is stopped then: both, and the slot in which it would go on
    and what stopping costs in that case. The pair must be laid out.

    Args:
        rest: slots of an unbroken run, without a restart; ``ran``: slots since it has started.
    """
    own, job = _terms(problem, stops, i, False), problem.classes[problem.pairs[i].klass]
    t, restart = int(round(job.start)), own.restart
    sunk = own.run_yuan * ran
    terms = Terms(
        begin=t + 1,
        lost=0.0,
        run=rest,
        restart=restart,
        deep=own.deep,
        # The class counts a restart as part of its run.
        latest=own.latest + restart,
        most=min(problem.slots, int(ceil(rest + (own.deep - 1) * restart))),
        wait_yuan=own.wait_yuan,
        stop_yuan=own.stop_yuan,
        run_yuan=own.run_yuan,
        beyond_yuan=own.beyond_yuan,
        sunk_yuan=sunk,
    )
    side, hour, whole = (t + 1) % 2, room.hour, room.whole
    go = _end_yuan(problem, terms, room, t, rest)
    room.idle[:, : terms.most + 2] = np.inf
    room.on[:, : terms.most + 2] = np.inf
    if rest > 1 + problem.overlap and room.clear[t] > t:
        yuan = hour[t + 1] - hour[t] + whole[t + 1] - whole[t] + terms.run_yuan
        room.on[side, 1, 0] = yuan
        room.on_by[t + 1, 1, 0] = TURN
        go = _search(problem, terms, i, 1, go, room)[0]
    room.idle[:, : terms.most + 2] = np.inf
    room.on[:, : terms.most + 2] = np.inf
    stop = terms.stop_yuan + sunk
    if t + 1 + restart <= terms.latest:
        room.idle[side, 0, 1] = stop + terms.wait_yuan * (1 + restart)
    pause, resume, n, j = _search(problem, terms, i, 0, np.inf, room)
    if n > 0:
        _trace(room, resume, n, j)
        resume = room.runs[0, 0]
    return go, pause, resume, stop


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
