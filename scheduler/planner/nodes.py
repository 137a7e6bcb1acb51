"""Nodes for the gangs of a pool that start now: best fit decreasing, CP-SAT where that fails."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from policies.scene import TOLERANCE, Bools, Floats, Pool
from scheduler.domain.job import JobSpec
from scheduler.planner.pools import need_of

# Cores and GB are counted in thousandths, demand rounded up.
PARTS = 1000
REPAIR_WORK = 0.5
SEED = 1


@dataclass(frozen=True, slots=True)
class Packing:
    """``nodes[i]`` are the node ids of gang i, one per worker; None where it found no room."""

    nodes: tuple[tuple[str, ...] | None, ...]


def pack(
    pool: Pool, gangs: Sequence[JobSpec], weights: Sequence[float], closed: Bools | None = None
) -> Packing:
    """Puts each worker on one node, all of a gang or none.

    Args:
        weights: what leaving each gang out costs; the repair keeps the dear ones.
        closed: nodes that a gang may not have, (gangs, nodes); None: it may have any.
    """
    if closed is None:
        closed = np.zeros((len(gangs), len(pool.nodes)), dtype=bool)
    free = np.stack([pool.free_gpus[:, 0], pool.free_cpus[:, 0], pool.free_memory_gb[:, 0]], axis=1)
    order = sorted(range(len(gangs)), key=lambda i: (_weight(gangs[i]), i), reverse=True)
    found: list[list[int] | None] = [None] * len(gangs)
    for i in order:
        found[i] = _best_fit(free, gangs[i], closed[i])
    if any(nodes is None for nodes in found):
        repaired = _repair(pool, gangs, weights, closed)
        lost = sum(w for w, nodes in zip(weights, found, strict=True) if nodes is None)
        if repaired is not None and lost > sum(
            w for w, nodes in zip(weights, repaired, strict=True) if nodes is None
        ):
            found = repaired
    return Packing(
        tuple(None if nodes is None else tuple(pool.nodes[n].id for n in nodes) for nodes in found)
    )


def _weight(spec: JobSpec) -> tuple[int, float, float, int]:
    shape = spec.per_worker
    return (shape.gpus, shape.cpus, shape.memory_gb, spec.workers)


def _best_fit(free: Floats, spec: JobSpec, closed: Bools) -> list[int] | None:
    """Takes from ``free`` if the whole gang fits: each worker where the least is left over."""
    need, left, nodes = need_of(spec), free.copy(), []
    for _ in range(spec.workers):
        fits = np.flatnonzero((left + TOLERANCE >= need).all(axis=1) & ~closed)
        if not len(fits):
            return None
        node = int(min(fits, key=lambda n: (left[n, 0], left[n, 1], left[n, 2], n)))
        left[node] -= need
        nodes.append(node)
    free[:] = left
    return nodes


def _repair(
    pool: Pool, gangs: Sequence[JobSpec], weights: Sequence[float], closed: Bools
) -> list[list[int] | None] | None:
    """The dearest set of gangs that fits; None if none is found within the work allowed."""
    free = (
        pool.free_gpus[:, 0],
        np.floor(pool.free_cpus[:, 0] * PARTS + TOLERANCE),
        np.floor(pool.free_memory_gb[:, 0] * PARTS + TOLERANCE),
    )
    cp = cp_model.CpModel()
    count = range(len(pool.nodes))
    kept = [cp.new_bool_var("") for _ in gangs]
    on = [
        [cp.new_int_var(0, 0 if shut[n] else gang.workers, "") for n in count]
        for gang, shut in zip(gangs, closed, strict=True)
    ]
    for i, gang in enumerate(gangs):
        cp.add(cp_model.LinearExpr.sum(on[i]) == gang.workers * kept[i])
    for resource, capacity in enumerate(free):
        scale = 1 if resource == 0 else PARTS
        needs = [int(np.ceil(need_of(g)[resource] * scale - TOLERANCE)) for g in gangs]
        for n in count:
            used = cp_model.LinearExpr.weighted_sum([row[n] for row in on], needs)
            cp.add(used <= int(capacity[n]))
    unit = max([1e-9, *weights]) / 1e6
    cp.maximize(cp_model.LinearExpr.weighted_sum(kept, [1 + int(w / unit) for w in weights]))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = REPAIR_WORK
    if solver.solve(cp) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    placed: list[list[int] | None] = []
    for i in range(len(gangs)):
        spread = [n for n in count for _ in range(solver.value(on[i][n]))]
        placed.append(spread if solver.value(kept[i]) else None)
    return placed
