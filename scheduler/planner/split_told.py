"""What several runs of a job cost, per policy, and how people are told of them."""

import numpy as np

from scheduler.planner.kernels.placing import energy_costs
from scheduler.planner.model import Model
from scheduler.planner.placements import spans_of
from scheduler.planner.places import Choice, Split

# The name of what stopping costs, among those of the policies.
PAUSING = "pausing"


def terms_of(model: Model, choice: Choice, split: Split) -> dict[str, float]:
    """What the runs of a choice cost by themselves, per policy."""
    problem, candidates, scene = model.problem, model.candidates, model.scene
    k = int(candidates.pairs.klass[choice.pair])
    job, (pair, slot) = problem.classes[k], np.array(split.runs).T
    pue = np.array([view.pue for view in scene.sites])
    planned = job["kept_pair"] == choice.pair and job["kept_slot"] == choice.slot
    changed = job["kept_pair"] >= 0 and choice.slot > 0 and not planned
    terms = dict[str, float]()
    for costs in candidates.costs:
        yuan = 0.0
        if costs.energy is not None:
            inside, beyond = costs.energy.inside * pue, costs.energy.beyond * pue[:, -1]
            yuan += float(energy_costs(problem, inside, beyond, pair, slot).sum())
        if costs.pair_yuan is not None:
            yuan += float(costs.pair_yuan[choice.pair])
        if costs.start is not None:
            yuan += float(costs.start.before_yuan_per_h[k]) * split.late * problem.slot_h
        if costs.kept_yuan is not None and changed:
            yuan += float(costs.kept_yuan[k])
        terms[costs.name] = yuan
    return {**terms, PAUSING: split.stops_yuan}


def runs_told(model: Model, choice: Choice) -> str:
    """``Runs from 02:00 UTC to 04:00 UTC, pauses until 11:00 UTC, runs until 13:00 UTC``."""
    scene = model.scene
    spans = spans_of(model, choice)
    clocks = [
        [scene.clock((at - scene.start_at).total_seconds()) for at in (span.start_at, span.end_at)]
        for span in spans
    ]
    told = [f"Runs from {clocks[0][0]} to {clocks[0][1]}"]
    for start, end in clocks[1:]:
        told.append(f"pauses until {start}, runs until {end}")
    return ", ".join(told)
