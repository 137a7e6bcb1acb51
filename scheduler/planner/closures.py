"""Maintenance as it meets the pools: which nodes are closed in which slots."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from policies.scene import OVERLAP_S, Bools, Closure, Pool, Scene
from scheduler.domain.rules import Maintenance
from scheduler.planner.sites import AXIS_SLOTS_MAX
from scheduler.planner.snapshot import Snapshot


def closures_of(snapshot: Snapshot, pools: Sequence[Pool], axis: int) -> tuple[Closure, ...]:
    """The declared maintenance that touches the axis."""
    made = []
    for declared in snapshot.rules.maintenance:
        slots = _touched(snapshot, declared, axis)
        for p, pool in enumerate(pools) if slots.any() else ():
            rows = [n for n, node in enumerate(pool.nodes) if declared.covers(node)]
            if rows:
                nodes, whole = np.array(rows, dtype=np.int64), len(rows) == len(pool.nodes)
                made.append(Closure(p, nodes, slots, whole, declared))
    return tuple(made)


def _touched(snapshot: Snapshot, declared: Maintenance, axis: int) -> Bools:
    """Slots of which it takes any time that is still to come; (A,)."""
    now_s = (snapshot.now_at - snapshot.start_at).total_seconds()
    begins_s = np.arange(axis, dtype=float) * snapshot.slot_s
    ends_s = begins_s + snapshot.slot_s
    begins_s[0] = now_s
    if axis >= max(AXIS_SLOTS_MAX, snapshot.slots):
        ends_s[-1] = np.inf  # the last slot stands for everything after it
    from_s = (declared.from_at - snapshot.start_at).total_seconds()
    to_s = (declared.to_at - snapshot.start_at).total_seconds()
    overlap_s = np.minimum(ends_s, to_s) - np.maximum(begins_s, from_s)
    return np.asarray(overlap_s > OVERLAP_S)


def without_closed(pools: Sequence[Pool], closures: Sequence[Closure]) -> tuple[Pool, ...]:
    """The pools, with nothing free on closed nodes. A whole pool has rows of its own for that."""
    made = list(pools)
    for closure in (c for c in closures if not c.whole):
        pool = made[closure.pool]
        free = [pool.free_gpus.copy(), pool.free_cpus.copy(), pool.free_memory_gb.copy()]
        closed = np.flatnonzero(closure.slots[: pool.free_gpus.shape[1] - 1])
        for resource in free:
            resource[np.ix_(closure.nodes, closed)] = 0.0
        made[closure.pool] = replace(
            pool, free_gpus=free[0], free_cpus=free[1], free_memory_gb=free[2]
        )
    return tuple(made)


def closed_to_runs(scene: Scene, pool: int, ends_s: Sequence[float]) -> Bools | None:
    """Which nodes of a pool are closed to runs from now until so many seconds after slot 0 begins:
    (runs, nodes); None where nothing is closed."""
    here = [closure for closure in scene.closures if closure.pool == pool]
    if not here:
        return None
    closed = np.zeros((len(ends_s), len(scene.pools[pool].nodes)), dtype=bool)
    for closure in here:
        first_s = max(int(np.argmax(closure.slots)) * scene.slot_s, scene.now_s)
        for i, end_s in enumerate(ends_s):
            closed[i, closure.nodes] |= end_s > first_s + OVERLAP_S
    return closed
