"""Real nodes for what starts now; what finds none is planned anew, later or elsewhere."""

from collections import defaultdict

import numpy as np

from scheduler.planner.greedy import best
from scheduler.planner.model import Assignment, Choice, Model, Residual
from scheduler.planner.nodes import pack

# Per pair, the node sets of its jobs that start now.
StartNodes = dict[int, list[tuple[str, ...]]]


def starts_now(model: Model, choice: Choice) -> bool:
    """Whether a place begins at the time of the snapshot."""
    start_s = model.candidates.options.start_s[choice.pair, choice.slot]
    return choice.slot == 0 and bool(start_s <= model.scene.now_s)


def start_now(model: Model, assignment: Assignment, residual: Residual) -> StartNodes:
    """Packs pool by pool. A gang that cannot be packed moves to the next best place, and its class
    starts nothing more in that pool's first slot (``residual.blocked``); so this comes to an end.
    """
    while True:
        nodes, failed = _pack_all(model, assignment)
        if not failed:
            return nodes
        for k, j in failed:
            choice = assignment[k][j]
            assert choice is not None, "only what has a place is packed"
            residual.place(choice.pair, choice.slot, -1)
            residual.blocked[choice.pair, 0] = True
        for k, j in failed:
            assignment[k][j] = again = best(model, residual, k)[0]
            if again is not None:
                residual.place(again.pair, again.slot)


def _pack_all(model: Model, assignment: Assignment) -> tuple[StartNodes, list[tuple[int, int]]]:
    """The nodes per pair, and the (class, job) that found none."""
    due: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for k, jobs in enumerate(assignment):
        for j, choice in enumerate(jobs):
            if choice is not None and starts_now(model, choice):
                pool = int(model.candidates.options.pool[choice.pair])
                due[pool].append((k, j, choice.pair))
    nodes: StartNodes = defaultdict(list)
    failed: list[tuple[int, int]] = []
    for pool, gangs in sorted(due.items()):
        specs = [model.scene.classes[k].spec for k, _, _ in gangs]
        weights = model.unplaced_yuan[np.array([k for k, _, _ in gangs])].tolist()
        packing = pack(model.scene.pools[pool], specs, weights)
        for (k, j, pair), found in zip(gangs, packing.nodes, strict=True):
            if found is None:
                failed.append((k, j))
            else:
                nodes[pair].append(found)
    return nodes, failed
