"""The energy of runs at the door, slot by slot."""

from policies.scene import Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import hours_in


@compiled
def enter_loads(
    problem: Problem, pue: Floats, share: Floats, pair: Ints, slot: Ints, load: Floats, held: Floats
) -> None:
    """Adds the kWh of options (-1: none) to what their sites load, and what of it is held green.

    Args:
        pue: (C, A).
        share: of each class, (K,).
        load, held: (C, A).
    """
    for q in range(len(pair)):
        if pair[q] < 0:
            continue
        one = problem.pairs[pair[q]]
        job, pool = problem.classes[one.klass], problem.pools[one.pool]
        kind, site = problem.kinds[job.kind], pool.site
        it_kw = job.scale * (kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw)
        start = max(float(slot[q]), job.start)
        end, t = start + one.run, slot[q]
        while t < problem.axis and t < end:
            kwh = it_kw * pue[site, t] * hours_in(problem.slot_h, t, start, end)
            load[site, t] += kwh
            held[site, t] += share[one.klass] * kwh
            t += 1


@compiled
def energies(
    problem: Problem,
    pue: Floats,
    part: Floats,
    share: Floats,
    pair: Ints,
    slot: Ints,
    kwh: Floats,
    green_kwh: Floats,
    held_kw: Floats,
) -> None:
    """What options use in all, what of it is green, and the most they hold green in a slot.

    Args:
        part: of what no minimum share holds, the part that is green, (C, A).
        kwh, green_kwh, held_kw: take the answer, (n,).
    """
    for q in range(len(pair)):
        one = problem.pairs[pair[q]]
        job, pool = problem.classes[one.klass], problem.pools[one.pool]
        kind, site = problem.kinds[job.kind], pool.site
        it_kw = job.scale * (kind.gpus * pool.gpu_kw + kind.cores * pool.core_kw)
        minimum = share[one.klass]
        start = max(float(slot[q]), job.start)
        end, t = start + one.run, slot[q]
        total, green, most = 0.0, 0.0, 0.0
        while t < problem.axis and t < end:
            used = it_kw * pue[site, t] * hours_in(problem.slot_h, t, start, end)
            total += used
            green += used * (minimum + part[site, t] * (1.0 - minimum))
            most = max(most, minimum * it_kw * pue[site, t])
            t += 1
        beyond = it_kw * pue[site, problem.axis - 1] * max(end - problem.axis, 0.0) * problem.slot_h
        kwh[q] = total + beyond
        green_kwh[q] = min(green + minimum * beyond, total + beyond)
        held_kw[q] = most
