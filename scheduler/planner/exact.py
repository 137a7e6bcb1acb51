"""CP-SAT over some options of some jobs, all other jobs where they are.

Scaled to integers on purpose: in hard rows demand is rounded up and capacity down by a millionth
of the capacity, so that what fits here fits in truth; in elastic rows the other way, and costs
down, so that the model never costs more than the truth.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from policies.scene import Floats, Ints
from scheduler.planner.model import Model
from scheduler.planner.places import Places, Residual, costs_yuan, objective_yuan

# One part of a row's capacity; the resolution of all figures in the model.
PARTS = 1_000_000
# The unit of the objective, unless its total would need more than TOTAL_MOST of them.
UNIT_YUAN = 1e-6
TOTAL_MOST = 1e13
# Units of the objective in one unit of an elastic row.
ELASTIC_UNITS = 10
GAP_LIMIT = 1e-5
# Part of a part that is a rounding error.
ROUNDING = 1e-3
SEED = 1


@dataclass(frozen=True, slots=True)
class Solved:
    """The better of the given places and CP-SAT's; ``bound_yuan`` is a lower bound with what was
    not in the model fixed, ``work`` the deterministic time it took.
    """

    places: Places
    yuan: float
    bound_yuan: float
    work: float


def solve(
    model: Model, active: Ints, places: Places, yuan: float, *, chosen: Ints, work: float
) -> Solved:
    """Re-plans the classes that have a chosen option, all others where they are.

    Args:
        active: the classes that have a start at all.
        yuan: the objective of the places.
        chosen: (pair, slot) of each variable, shape (n, 2), n > 0.
        work: CP-SAT's deterministic time at most, about seconds of one core.
    """
    klass = model.candidates.pairs.klass[chosen[:, 0]]
    fixed, free = places.copy(), np.isin(places.klass, klass)
    hint = Counter(zip(places.pair[free].tolist(), places.slot[free].tolist(), strict=True))
    fixed.pair[free] = -1
    residual = Residual(model, fixed)
    cp, variables = cp_model.CpModel(), []
    for (pair, slot), most in zip(chosen.tolist(), model.jobs[klass].tolist(), strict=True):
        variable = cp.new_int_var(0, most, "")
        cp.add_hint(variable, hint[pair, slot])
        variables.append(variable)
    for k in np.unique(klass).tolist():
        own = [variables[i] for i in np.flatnonzero(klass == k)]
        cp.add(cp_model.LinearExpr.sum(own) <= int(model.jobs[k]))
    unit = max(UNIT_YUAN, float(model.unplaced_yuan @ model.jobs) / TOTAL_MOST)
    linear, excess = _add_rows(cp, model, residual, chosen=chosen, variables=variables, unit=unit)
    cost = costs_yuan(model, chosen[:, 0], chosen[:, 1]) + linear - model.unplaced_yuan[klass]
    units = np.floor(cost / unit).astype(np.int64)
    objective = cp_model.LinearExpr.weighted_sum(variables, units.tolist())
    cp.minimize(objective + ELASTIC_UNITS * cp_model.LinearExpr.sum(excess))
    solver = _solver(work)
    if solver.solve(cp) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solved(places, yuan, -np.inf, work)
    bound = solver.best_objective_bound * unit + objective_yuan(model, fixed, active)
    for i, (pair, slot) in enumerate(chosen.tolist()):
        first, last = fixed.jobs_from[klass[i]], fixed.jobs_from[klass[i] + 1]
        open_jobs = first + np.flatnonzero(fixed.pair[first:last] < 0)
        taken = open_jobs[: solver.value(variables[i])]
        fixed.pair[taken], fixed.slot[taken] = pair, slot
    found, spent = objective_yuan(model, fixed, active), solver.response_proto.deterministic_time
    if found < yuan:
        return Solved(fixed, found, bound, spent)
    return Solved(places, yuan, bound, spent)


def _solver(work: float) -> cp_model.CpSolver:
    """One worker, a fixed seed and a deterministic limit: the same model, the same answer."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = work
    solver.parameters.relative_gap_limit = GAP_LIMIT
    return solver


def _add_rows(
    cp: cp_model.CpModel,
    model: Model,
    residual: Residual,
    *,
    chosen: Ints,
    variables: list[cp_model.IntVar],
    unit: float,
) -> tuple[Floats, list[cp_model.IntVar]]:
    """Adds what can bind. Returns the yuan of elastic rows without capacity, which are linear, per
    variable, and the excess variables of the others.
    """
    klass = model.candidates.pairs.klass[chosen[:, 0]].tolist()
    jobs = [int(model.jobs[k]) for k in klass]
    linear, excess = np.zeros(len(variables)), []
    hard: dict[tuple[tuple[int, ...], tuple[float, ...]], float] = {}
    for (row, t), (used, amounts) in sorted(_table(model, chosen).items()):
        left, elastic = float(residual.left[row, t]), None
        if not model.family_of(row).hard:
            elastic = float(model.problem.elastic_yuan[row, t])
        if elastic is not None and (left <= 0 or elastic <= 0):
            linear[used] += elastic * np.array(amounts)
            continue
        most: dict[int, float] = {}
        for i, amount in zip(used, amounts, strict=True):
            most[klass[i]] = max(most.get(klass[i], 0.0), amount * jobs[i])
        if sum(most.values()) <= left:
            continue
        if elastic is None:
            key = (tuple(used), tuple(amounts))
            hard[key] = min(hard.get(key, np.inf), left)
            continue
        part = ELASTIC_UNITS * unit / elastic
        whole = [int(amount / part) for amount in amounts]
        ceiling = sum(w * jobs[i] for i, w in zip(used, whole, strict=True))
        over = cp.new_int_var(0, ceiling, "")
        use = cp_model.LinearExpr.weighted_sum([variables[i] for i in used], whole)
        cp.add(use - over <= int(np.ceil(left / part)))
        excess.append(over)
    for (members, needs), left in hard.items():
        part = 1.0 if all(need == int(need) for need in needs) else max(left, 1e-6) / PARTS
        whole = [int(np.ceil(need / part - ROUNDING)) for need in needs]
        use = cp_model.LinearExpr.weighted_sum([variables[i] for i in members], whole)
        cp.add(use <= int(max(left, 0.0) / part + ROUNDING))
    return linear, excess


def _table(model: Model, chosen: Ints) -> dict[tuple[int, int], tuple[list[int], list[float]]]:
    """Per row and slot: the variables in it and what each uses."""
    table: dict[tuple[int, int], tuple[list[int], list[float]]] = {}
    uses = {pair: model.uses(pair) for pair in np.unique(chosen[:, 0]).tolist()}
    for i, (pair, slot) in enumerate(chosen.tolist()):
        for use in uses[pair]:
            span, amounts = model.load(use, pair, slot)
            for t, amount in zip(range(span.start, span.stop), amounts.tolist(), strict=True):
                used, needs = table.setdefault((use.row, t), ([], []))
                used.append(i)
                needs.append(amount)
    return table
