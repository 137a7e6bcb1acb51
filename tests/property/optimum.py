"""The cheapest plan of a small model, by CP-SAT over every option of every job: slow and plain."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from ortools.sat.python import cp_model

from scheduler.planner.block import Block
from scheduler.planner.duals import Market
from scheduler.planner.model import Model, Use
from tests.property.split_options import split_options

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
            pair = block.span.start + row
            for use in model.uses(pair):
                for t, amount in _loads(model, use, pair, slot):
                    rows[use.row, t].append((taken, round(amount * AMOUNT)))
        for pair, runs, yuan in split_options(model, k):
            taken = cp.new_int_var(0, jobs, "")
            options.append(taken)
            gain = yuan - float(model.unplaced_yuan[k])
            cost.append((taken, round(gain * AMOUNT * PRICE)))
            for use, (slot, length) in itertools.product(model.uses(pair), runs):
                for t, amount in _loads(model, replace(use, length=length), pair, slot):
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


def _loads(model: Model, use: Use, pair: int, slot: int) -> Iterator[tuple[int, float]]:
    """Slots that a run touches, and what it uses of a row in each."""
    span, amounts = model.load(use, pair, slot)
    yield from zip(range(span.start, span.stop), amounts.tolist(), strict=True)
