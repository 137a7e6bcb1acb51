"""One run: when it starts and ends, what it demands of every row, what it costs.

``job`` is the record of a class, ``pair`` that of a class in a pool.
"""

from math import ceil

from policies.scene import Floats
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem, Record


@compiled
def stop_of(axis: int, overlap: float, slot: int, end: float) -> int:
    """The slot behind the last one that a span from within a slot touches."""
    return min(max(int(ceil(end - overlap)), slot + 1), axis)


@compiled
def hours_in(slot_h: float, t: int, start: float, end: float) -> float:
    """Hours that a span of time covers of a slot."""
    return max(min(t + 1.0, end) - max(float(t), start), 0.0) * slot_h


@compiled
def units_of(problem: Problem, f: int, job: Record, p: int) -> float:
    """What a gang demands of a pool's row of a family."""
    units = problem.kind_units[f, job.kind, 0] * problem.pool_units[f, p, 0]
    units += problem.kind_units[f, job.kind, 1] * problem.pool_units[f, p, 1]
    return float(job.scale * units)


@compiled
def waiting_yuan(job: Record, overlap: float, start: float, run: float) -> float:
    """What a start at a time costs, for a run of so many slots."""
    yuan = job.before_yuan * max(min(start, job.overdue) - job.start, 0.0)
    late = start - job.overdue
    if late > overlap:
        yuan += job.after_yuan * late + job.once_yuan + job.once_yuan_per_run * run
    return float(yuan)


@compiled
def energy_yuan(problem: Problem, job: Record, pair: Record, start: float) -> float:
    """What the energy of a run costs."""
    pool, kind = problem.pools[pair.pool], problem.kinds[job.kind]
    it_kw = kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw
    end, yuan = start + pair.run, 0.0
    t = int(start)
    while t < problem.axis and t < end:
        yuan += problem.energy_yuan[pool.site, t] * hours_in(problem.slot_h, t, start, end)
        t += 1
    beyond_h = max(end - problem.axis, 0.0) * problem.slot_h
    return float(job.scale * it_kw * (yuan + pool.beyond_yuan_per_kwh * beyond_h))


@compiled
def cost_yuan(problem: Problem, i: int, slot: int) -> float:
    """What an option costs whatever else is placed: all but the elastic rows."""
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    start = max(float(slot), job.start)
    yuan = pair.yuan + energy_yuan(problem, job, pair, start)
    yuan += waiting_yuan(job, problem.overlap, start, pair.run)
    if slot > 0 and (job.kept_pair != i or job.kept_slot != slot):
        yuan += job.moving_yuan
    return float(yuan)


@compiled
def row_fits(
    problem: Problem, left: Floats, r: int, units: float, slot: int, start: float, end: float
) -> bool:
    """Whether a demand fits into what is left of a row in every slot of a span."""
    exact = problem.rows[r].exact
    for t in range(slot, stop_of(problem.axis, problem.overlap, slot, end)):
        amount = units * problem.profile[r, t]
        if exact:
            amount *= hours_in(problem.slot_h, t, start, end)
        if amount > left[r, t] + 1e-6:
            return False
    return True


@compiled
def fits(problem: Problem, left: Floats, i: int, slot: int) -> bool:
    """Whether what is left of all hard rows allows an option."""
    pair = problem.pairs[i]
    k, p = pair.klass, pair.pool
    job = problem.classes[k]
    start = max(float(slot), job.start)
    end = start + pair.run
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, p]
        if r >= 0 and problem.rows[r].hard:
            units = units_of(problem, f, job, p)
            if units > 0 and not row_fits(problem, left, r, units, slot, start, end):
                return False
    for x in range(len(problem.class_row)):
        r, units = problem.class_row[x, k], problem.class_units[x, k]
        if r >= 0 and units > 0 and not row_fits(problem, left, r, units, slot, start, end):
            return False
    if len(problem.stage_from):
        for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
            stage = problem.stages[e]
            until = start + stage.length
            if stage.row >= 0 and not row_fits(
                problem, left, stage.row, stage.units, slot, start, until
            ):
                return False
    return True


@compiled
def _enter(
    problem: Problem, left: Floats, r: int, units: float, slot: int, start: float, end: float
) -> None:
    exact = problem.rows[r].exact
    for t in range(slot, stop_of(problem.axis, problem.overlap, slot, end)):
        amount = units * problem.profile[r, t]
        if exact:
            amount *= hours_in(problem.slot_h, t, start, end)
        left[r, t] -= amount


@compiled
def place(problem: Problem, left: Floats, i: int, slot: int, times: float) -> None:
    """Takes what an option needs, so many times, out of what is left; -1 gives it back."""
    pair = problem.pairs[i]
    k, p = pair.klass, pair.pool
    job = problem.classes[k]
    start = max(float(slot), job.start)
    end = start + pair.run
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, p]
        if r >= 0:
            _enter(problem, left, r, times * units_of(problem, f, job, p), slot, start, end)
    for x in range(len(problem.class_row)):
        r = problem.class_row[x, k]
        if r >= 0:
            _enter(problem, left, r, times * problem.class_units[x, k], slot, start, end)
    if len(problem.stage_from):
        for e in range(problem.stage_from[i], problem.stage_from[i + 1]):
            stage = problem.stages[e]
            if stage.row >= 0:
                until = start + stage.length
                _enter(problem, left, stage.row, times * stage.units, slot, start, until)


@compiled
def excess_yuan(problem: Problem, left: Floats, i: int, slot: int) -> float:
    """What the elastic rows charge for one more option."""
    pair = problem.pairs[i]
    job = problem.classes[pair.klass]
    start = max(float(slot), job.start)
    end, yuan = start + pair.run, 0.0
    for f in range(len(problem.pool_row)):
        r = problem.pool_row[f, pair.pool]
        if r < 0 or problem.rows[r].hard:
            continue
        units = units_of(problem, f, job, pair.pool)
        for t in range(slot, stop_of(problem.axis, problem.overlap, slot, end)):
            amount = units * problem.profile[r, t]
            if problem.rows[r].exact:
                amount *= hours_in(problem.slot_h, t, start, end)
            over = amount - max(left[r, t], 0.0)
            if over > 0:
                yuan += problem.elastic_yuan[r, t] * over
    return yuan
