"""Which jobs CP-SAT plans anew together: all of them where the options are few; else a badly
placed class and those that hold what it would like, one such neighbourhood after another.
"""

from dataclasses import dataclass

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.exact import Solved, solve
from scheduler.planner.model import Assignment, Model

# Classes and options of one neighbourhood, and the share of the work that one may take.
CLASSES = 20
OPTIONS = 600
SHARE = 0.25
# What a neighbourhood costs at least, so that their number is bounded.
WORK_LEAST = 0.02
# A class that loses less against its cheapest option, relative to the plan, is well placed.
LOSS_LEAST = 1e-5


@dataclass(frozen=True, slots=True)
class Improved:
    """``bound_yuan`` is -inf unless every option of every job was in the model."""

    assignment: Assignment
    yuan: float
    bound_yuan: float


def improve_exactly(
    model: Model,
    assignment: Assignment,
    yuan: float,
    reduced_yuan: Floats,
    *,
    options: int,
    work: float,
) -> Improved:
    """Improves a plan.

    Args:
        yuan: the plan's objective.
        options: with so many at most, everything is planned at once.
        work: its deterministic time in all, about seconds of one core.
    """
    everything = np.argwhere(np.isfinite(model.cost_yuan))
    if len(everything) <= options:
        solved = solve(model, assignment, yuan, everything, work)
        return Improved(solved.assignment, solved.yuan, solved.bound_yuan)
    tried: set[int] = set()
    best = Solved(assignment, yuan, -np.inf, 0.0)
    left = work
    while left > 0:
        losses = _losses(model, best.assignment, reduced_yuan)
        seeds = [k for k in losses if k not in tried and losses[k] > LOSS_LEAST * abs(best.yuan)]
        if not seeds:
            break
        seed = max(seeds, key=lambda k: (losses[k], -k))
        tried.add(seed)
        classes = _neighbours(model, best.assignment, reduced_yuan, seed)
        chosen = _best_options(model, best.assignment, reduced_yuan, classes)
        best = solve(model, best.assignment, best.yuan, chosen, min(left, SHARE * work))
        left -= max(best.work, WORK_LEAST)
    return Improved(best.assignment, best.yuan, -np.inf)


def _losses(model: Model, assignment: Assignment, reduced_yuan: Floats) -> dict[int, float]:
    """What each class's places cost above its cheapest option, at the shadow prices."""
    losses = {}
    for k in model.active.tolist():
        least = min(float(reduced_yuan[model.spans[k]].min()), float(model.unplaced_yuan[k]))
        losses[k] = sum(
            float(reduced_yuan[choice.pair, choice.slot] if choice else model.unplaced_yuan[k])
            - least
            for choice in assignment[k]
        )
    return losses


def _neighbours(model: Model, assignment: Assignment, reduced_yuan: Floats, seed: int) -> list[int]:
    """The seed, and the classes that run in the pool and at the time that it would like best."""
    span, options = model.spans[seed], model.candidates.options
    row, slot = np.unravel_index(int(np.argmin(reduced_yuan[span])), reduced_yuan[span].shape)
    pair, first = span.start + int(row), int(slot)
    pool, last = int(options.pool[pair]), int(options.run.last[pair, first])
    overlap: dict[int, int] = {}
    for k, jobs in enumerate(assignment):
        for choice in jobs:
            if k != seed and choice is not None and options.pool[choice.pair] == pool:
                end = int(options.run.last[choice.pair, choice.slot])
                common = min(last, end) - max(first, choice.slot)
                if common > 0:
                    overlap[k] = max(overlap.get(k, 0), common)
    near = sorted(overlap, key=lambda k: (-overlap[k], k))
    return sorted([seed, *near[: CLASSES - 1]])


def _best_options(
    model: Model, assignment: Assignment, reduced_yuan: Floats, classes: list[int]
) -> Ints:
    """(pair, slot), shape (n, 2): those of least reduced cost of each class, and those in use."""
    share = OPTIONS // len(classes)
    chosen: list[tuple[int, int]] = []
    for k in classes:
        span = model.spans[k]
        flat = reduced_yuan[span].ravel()
        order = np.argsort(flat, kind="stable")[: min(share, int(np.isfinite(flat).sum()))]
        rows, slots = np.divmod(order, model.scene.slots)
        picked = set(zip((rows + span.start).tolist(), slots.tolist(), strict=True))
        picked |= {(choice.pair, choice.slot) for choice in assignment[k] if choice}
        chosen += sorted(picked)
    return np.array(chosen, dtype=np.int64)
