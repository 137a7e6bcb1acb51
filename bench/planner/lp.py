"""The planner's problem as a linear program, solved exactly: the best its bound could be.

``python -m bench.planner.lp SIZE MODE CHUNK SECONDS`` tells, beside it, how near SCIP comes to the
same in whole numbers in that time: what lies between the two no bound of prices can close.
"""

import sys

import numpy as np
from ortools.linear_solver import pywraplp

from bench.instances import SIZES, Mode, Recipe, build
from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.planner.block import Block
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import Market
from scheduler.planner.model import Model, build_model
from scheduler.planner.pipeline import plan
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import Snapshot


def model_of(snapshot: Snapshot) -> Model:
    """The model that a round makes of a snapshot."""
    scene = build_scene(snapshot, Weights())
    return build_model(scene, find_candidates(scene, POLICIES))


class _Program:
    """A program that is being written down, with its rows made as they are needed."""

    def __init__(self, model: Model, *, whole: bool = False) -> None:
        self.model, self.whole = model, whole
        self.solver = pywraplp.Solver.CreateSolver("SCIP" if whole else "GLOP")
        self.objective = self.solver.Objective()
        self._rows: dict[tuple[int, int], pywraplp.Constraint | None] = {}

    def row(self, row: int, t: int) -> pywraplp.Constraint | None:
        """A row in a slot; None where it has no limit."""
        if (row, t) in self._rows:
            return self._rows[row, t]
        problem, solver, made = self.model.problem, self.solver, None
        left = float(problem.capacity[row, t])
        if np.isfinite(left):
            made = solver.Constraint(-solver.infinity(), left)
            if not problem.rows[row]["hard"]:
                over = solver.NumVar(0, solver.infinity(), "")
                self.objective.SetCoefficient(over, float(problem.elastic_yuan[row, t]))
                made.SetCoefficient(over, -1)
        self._rows[row, t] = made
        return made

    def add_class(self, klass: int) -> float:
        """Writes down all options of a class; returns what it costs to place none of its jobs."""
        block, jobs = Block(self.model, klass), float(self.model.jobs[klass])
        unplaced = float(self.model.unplaced_yuan[klass])
        at_most = self.solver.Constraint(0, jobs)
        uses = {row: self.model.uses(block.span.start + row) for row in range(len(block.pools))}
        for row, slot in np.argwhere(block.allowed).tolist():
            taken = self.solver.Var(0, jobs, self.whole, "")
            at_most.SetCoefficient(taken, 1)
            self.objective.SetCoefficient(taken, float(block.cost_yuan[row, slot]) - unplaced)
            for use in uses[row]:
                span, amounts = self.model.load(use, block.span.start + row, slot)
                for t, amount in zip(range(span.start, span.stop), amounts.tolist(), strict=True):
                    if (limit := self.row(use.row, t)) is not None:
                        limit.SetCoefficient(taken, amount)
        return jobs * unplaced


def lp_yuan(model: Model) -> float:
    """The optimum of the linear program, by GLOP; a variable for every option of every class, so
    for small instances only.

    Raises:
        RuntimeError: GLOP has found no optimum.
    """
    program = _Program(model)
    fixed = sum(program.add_class(k) for k in Market(model).active.tolist())
    program.objective.SetMinimization()
    if program.solver.Solve() != pywraplp.Solver.OPTIMAL:
        raise RuntimeError("GLOP has found no optimum of the linear program")
    return float(fixed + program.objective.Value())


def whole_yuan(model: Model, seconds: float) -> tuple[float, float]:
    """The best plan in whole numbers that SCIP finds in some seconds, and its bound.

    Raises:
        RuntimeError: SCIP has found no plan.
    """
    program = _Program(model, whole=True)
    fixed = sum(program.add_class(k) for k in Market(model).active.tolist())
    program.objective.SetMinimization()
    program.solver.SetTimeLimit(int(seconds * 1000))
    if program.solver.Solve() not in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE):
        raise RuntimeError(f"SCIP has found no plan in {seconds:g} s")
    best, bound = program.objective.Value(), program.objective.BestBound()
    return float(fixed + best), float(fixed + bound)


def main(size: str, mode: str, chunk: str, seconds: str) -> None:
    """Prints what GLOP, SCIP and the planner come to."""
    recipe = Recipe(size=SIZES[size], mode=Mode(mode), chunk=int(chunk))
    snapshot = build(recipe).snapshot
    made, model = plan(snapshot), model_of(snapshot)
    best, bound = whole_yuan(model, float(seconds))
    print(f"{recipe}: planned {made.objective_yuan:.2f} yuan, at least {made.bound_yuan:.2f};")
    print(f"linear program {lp_yuan(model):.2f};")
    print(f"in whole numbers between {bound:.2f} and {best:.2f} after {seconds} s of SCIP")


if __name__ == "__main__":
    main(*sys.argv[1:])
