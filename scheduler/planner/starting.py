"""Real nodes for what starts now; what finds none is planned anew, later or elsewhere."""

from collections import defaultdict

import numpy as np

from policies.scene import Bools, Ints
from scheduler.planner.closures import closed_to_runs
from scheduler.planner.model import Model
from scheduler.planner.nodes import pack
from scheduler.planner.places import Choice, Places, Residual

# The nodes of each job that starts now, by the job's index in the places.
StartNodes = dict[int, tuple[str, ...]]


def starts_now(model: Model, choice: Choice) -> bool:
    """Whether a place begins at the time of the snapshot."""
    start_s = model.candidates.pairs.start_s(choice.pair)
    return choice.slot == 0 and bool(start_s <= model.scene.now_s)


def starting(model: Model, places: Places) -> Bools:
    """Which jobs start at the time of the snapshot, (N,)."""
    now = np.zeros(len(places.pair), dtype=bool)
    now[_due(model, places)] = True
    return now


def start_now(model: Model, places: Places, residual: Residual) -> StartNodes:
    """Packs pool by pool. A gang that cannot be packed moves to the next best place, and its class
    starts nothing more in that pool's first slot; so this comes to an end.
    """
    while True:
        nodes, failed = _pack_all(model, places)
        if not failed:
            return nodes
        for j in failed:
            choice = places.choice(j)
            assert choice is not None, "it was to start now"
            residual.place(choice, -1)
            model.block(choice.pair)
        for j in failed:
            places.split.pop(j, None)
            again = residual.best(int(places.klass[j]))[0]
            places.pair[j] = -1 if again is None else again.pair
            if again is not None:
                places.slot[j] = again.slot
                residual.place(again)


def _due(model: Model, places: Places) -> Ints:
    """The jobs that start now."""
    here = np.flatnonzero((places.pair >= 0) & (places.slot == 0))
    start_s = model.candidates.pairs.start_s(places.pair[here])
    return here[start_s <= model.scene.now_s]


def _first_run_s(model: Model, places: Places, job: int) -> float:
    """How long a job that starts now keeps its nodes."""
    if (split := places.split.get(job)) is not None:
        return float(model.problem.pairs["run"][split.runs[0][0]]) * model.scene.slot_s
    return float(model.candidates.pairs.run_s[places.pair[job]])


def _pack_all(model: Model, places: Places) -> tuple[StartNodes, list[int]]:
    """The nodes per job, and the jobs that found none."""
    due: dict[int, list[int]] = defaultdict(list)
    jobs = _due(model, places)
    pools = model.candidates.pairs.pool[places.pair[jobs]]
    for j, pool in zip(jobs.tolist(), pools.tolist(), strict=True):
        due[pool].append(j)
    nodes: StartNodes = {}
    failed: list[int] = []
    for pool, gangs in sorted(due.items()):
        classes = places.klass[gangs]
        specs = [model.scene.classes.specs[k] for k in classes.tolist()]
        run_s = [_first_run_s(model, places, j) for j in gangs]
        closed = closed_to_runs(model.scene, pool, [model.scene.now_s + s for s in run_s])
        weights = model.unplaced_yuan[classes].tolist()
        packing = pack(model.scene.pools[pool], specs, weights, closed)
        for j, found in zip(gangs, packing.nodes, strict=True):
            if found is None:
                failed.append(j)
            else:
                nodes[j] = found
    return nodes, failed
