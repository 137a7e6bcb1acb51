"""The cheapest plan of a small model, by CP-SAT over every option of every job: slow and plain."""

from collections import defaultdict

import numpy as np
from ortools.sat.python import cp_model

from scheduler.planner.block import Block
from scheduler.planner.duals import Market
from scheduler.planner.model import Model
from scheduler.planner.places import Choice

# Whole numbers for amounts, and for prices of them; yuan are counted in both together.
AMOUNT = 1_000_000
PRICE = 10_000


def optimum_yuan(model: Model) -> float:
    """The objective of the best plan there is, but for rounding.

    Raises:
        AssertionError: it was not proven.
    """
    cp, problem = cp_model.CpModel(), model.problem
    cost, fixed = list[tuple[cp_model.IntVar, int]](), 0.0
    rows = defaultdict[tuple[int, int], list[tuple[cp_model.IntVar, int]]](list)
    for k in Market(model).active.tolist():
        block, options, jobs = Block(model, k), list[cp_model.IntVar](), int(model.jobs[k])
        for row, slot in np.argwhere(block.allowed).tolist():
            taken = cp.new_int_var(0, jobs, "")
            options.append(taken)
            gain = float(block.cost_yuan[row, slot] - model.unplaced_yuan[k])
            cost.append((taken, round(gain * AMOUNT * PRICE)))
            choice = Choice(block.span.start + row, slot)
            for use in model.uses(choice.pair):
                span, amounts = model.load(use, choice.pair, slot)
                for t, amount in zip(range(span.start, span.stop), amounts.tolist(), strict=True):
                    rows[use.row, t].append((taken, round(amount * AMOUNT)))
        cp.add(cp_model.LinearExpr.sum(options) <= jobs)
        fixed += float(model.unplaced_yuan[k]) * jobs
    for (row, t), terms in rows.items():
        left = float(problem.capacity[row, t])
        if not np.isfinite(left):
            continue
        use = cp_model.LinearExpr.weighted_sum(*map(list, zip(*terms, strict=True)))
        if problem.rows[row]["hard"]:
            cp.add(use <= round(left * AMOUNT) + len(terms))
        else:
            over = cp.new_int_var(0, 10**13, "")
            cp.add(over >= use - round(left * AMOUNT))
            cost.append((over, round(float(problem.elastic_yuan[row, t]) * PRICE)))
    cp.minimize(
        cp_model.LinearExpr.weighted_sum(*map(list, zip(*cost, strict=True))) if cost else 0
    )
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = 20.0
    assert solver.solve(cp) == cp_model.OPTIMAL
    return fixed + solver.objective_value / (AMOUNT * PRICE)
