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
from scheduler.planner.kernels.pricing import Sums, sum_until
from scheduler.planner.kernels.problem import Problem, Record
from scheduler.planner.kernels.runs import stop_of

Bytes = npt.NDArray[np.uint8]

# A job that must restart is stopped so often at most, less one; without a restart, at will.
RUNS_MOST = 6
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
def beyond_yuan(problem: Problem, i: int) -> float:
    """What a slot after the axis costs one worker of a pair."""
    pair = problem.pairs[i]
    pool, kind = problem.pools[pair.pool], problem.kinds[problem.classes[pair.klass].kind]
    it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
    return float(it_kw * pool.beyond_yuan_per_kwh * problem.slot_h)


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
