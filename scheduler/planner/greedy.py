"""Jobs one after another into what is left; then each in turn to where it costs less."""

import numpy as np

from policies.scene import Floats
from scheduler.planner.model import Assignment, Choice, Model, Residual

# Moves that gain less, in yuan, are not worth the change.
GAIN_LEAST_YUAN = 1e-6


def empty(model: Model) -> Assignment:
    """Nobody has a place."""
    return [[None] * len(klass.jobs) for klass in model.scene.classes]


def insert_all(model: Model, reduced_yuan: Floats, depth: int) -> Assignment:
    """Places jobs in the order of their regret, each at its cheapest start that still fits.

    The regret of a class is what it would lose if its ``depth`` best starts were taken (Vogel's
    rule for transport problems). At shadow prices, what is scarce is left to those who need it.
    """
    assignment, residual = empty(model), Residual(model)
    regret = {k: _regret(reduced_yuan[model.spans[k]], depth) for k in model.active.tolist()}
    for k in sorted(regret, key=lambda k: (-regret[k], k)):
        choice: Choice | None = None
        for j in range(len(assignment[k])):
            # What is cheapest for one is so for all that are alike, as long as there is room.
            if choice is None or not residual.has_room(choice.pair, choice.slot):
                choice = cheapest(model, residual, k, reduced_yuan)
            if choice is None:
                break
            assignment[k][j] = choice
            residual.place(choice.pair, choice.slot)
    return assignment


def _regret(yuan: Floats, depth: int) -> float:
    finite = yuan[np.isfinite(yuan)]
    index = min(depth, len(finite) - 1)
    return float(np.partition(finite, index)[index] - finite.min())


def cheapest(model: Model, residual: Residual, klass: int, yuan: Floats) -> Choice | None:
    """The cheapest start that fits, by given costs (m, S); the earliest among equals."""
    span = model.spans[klass]
    return _least(np.where(residual.fits(klass), yuan[span], np.inf), span.start)


def best(model: Model, residual: Residual, klass: int) -> tuple[Choice | None, float]:
    """The start that costs least beside what is placed, elastic rows included, and its cost."""
    span = model.spans[klass]
    yuan = model.cost_yuan[span] + residual.excess_yuan(klass)
    yuan[~residual.fits(klass)] = np.inf
    choice = _least(yuan, span.start)
    if choice is None:
        return None, float(model.unplaced_yuan[klass])
    return choice, float(yuan[choice.pair - span.start, choice.slot])


def _least(yuan: Floats, first_pair: int) -> Choice | None:
    if not yuan.size:
        return None
    row, slot = np.unravel_index(int(np.argmin(yuan)), yuan.shape)
    if not np.isfinite(yuan[row, slot]):
        return None
    return Choice(first_pair + int(row), int(slot))


def loaded(model: Model, assignment: Assignment) -> Residual:
    """What an assignment leaves."""
    residual = Residual(model)
    for jobs in assignment:
        for choice in jobs:
            if choice is not None:
                residual.place(choice.pair, choice.slot)
    return residual


def improve(model: Model, assignment: Assignment, residual: Residual, sweeps: int) -> None:
    """Moves jobs to where they cost less, given all others, until none gains or sweeps run out."""
    for _ in range(sweeps):
        moved = False
        for k in model.active.tolist():
            # Places of this class that gain nothing by a move, as everything stands.
            content: set[Choice | None] = set()
            for j, choice in enumerate(assignment[k]):
                if choice in content:
                    continue
                better = _better(model, residual, k, choice)
                if better is None:
                    content.add(choice)
                else:
                    assignment[k][j], moved = better, True
                    content.clear()
        if not moved:
            return


def _better(model: Model, residual: Residual, klass: int, choice: Choice | None) -> Choice | None:
    """Moves one job in ``residual`` if that gains; returns its new place, or None."""
    span, before = model.spans[klass], float(model.unplaced_yuan[klass])
    if choice is not None:
        residual.place(choice.pair, choice.slot, -1)
    yuan = model.cost_yuan[span] + residual.excess_yuan(klass)
    if choice is not None:
        before = float(yuan[choice.pair - span.start, choice.slot])
    worth = yuan < before - GAIN_LEAST_YUAN
    better = None
    if worth.any():
        better = _least(np.where(worth & residual.fits(klass), yuan, np.inf), span.start)
    settled = better or choice
    if settled is not None:
        residual.place(settled.pair, settled.slot)
    return better
