"""A run does not touch a slot in which its nodes are declared to be in maintenance.

A pool that is closed as a whole has no room for any worker in such a slot. Where some nodes are
closed, nothing of them counts as free (so the rows of capacity see to it), and what starts now is
not put on a node whose maintenance begins before its end. What runs already is not stopped.
"""

import numpy as np

from policies.base import Policy, Rows, StartFilter
from policies.scene import TOLERANCE, Bools, Closure, Floats, Ints, Pairs, Scene
from scheduler.domain.job import JobSpec
from scheduler.domain.reason import ReasonCode


def _told(scene: Scene, closure: Closure) -> str:
    """When what is closed, and why."""
    declared = closure.declared
    from_s, to_s = (
        (at - scene.start_at).total_seconds() for at in (declared.from_at, declared.to_at)
    )
    return (
        f"{declared.what} is in maintenance from {scene.clock(from_s)} to {scene.clock(to_s)}: "
        f"{declared.why}"
    )


def _first(scene: Scene, pairs: Pairs) -> Ints | None:
    """From the first slot on in which the nodes that are open would hold the gang if nothing else
    ran there."""
    closed = {c.pool for c in scene.closures if c.slots[0] and not c.whole}
    if not closed:
        return None
    first = np.zeros(len(pairs.klass), dtype=np.int64)
    for p in closed:
        known: dict[object, int] = {}
        for row in np.flatnonzero(pairs.pool == p).tolist():
            spec = scene.classes.specs[pairs.klass[row]]
            key = (spec.per_worker, spec.workers)
            if key not in known:
                enough = _room(scene, p, spec) >= spec.workers
                known[key] = int(np.argmax(enough)) if enough.any() else scene.slots
            first[row] = known[key]
    return first


def _room(scene: Scene, pool: int, spec: JobSpec) -> Ints:
    """Workers that fit on the open nodes of a pool when these are empty; shape (S,)."""
    nodes, shape = scene.pools[pool].nodes, spec.per_worker
    has = np.array([[node.gpus, node.cpus, node.memory_gb] for node in nodes], dtype=float)
    need = np.array([shape.gpus, shape.cpus, shape.memory_gb], dtype=float)
    asked = need > 0
    fits = np.floor(has[:, asked] / need[asked] + TOLERANCE).min(axis=1, initial=spec.workers)
    return np.asarray(fits @ ~_closed(scene, pool), dtype=np.int64)


def _closed(scene: Scene, pool: int) -> Bools:
    """Shape (nodes, S)."""
    closed = np.zeros((len(scene.pools[pool].nodes), scene.slots), dtype=bool)
    for closure in scene.closures:
        if closure.pool == pool:
            closed[closure.nodes] |= closure.slots[: scene.slots]
    return closed


def _why_too_few(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    pool, spec = int(pairs.pool[row]), scene.classes[pairs.klass[row]].spec
    closed = [c for c in scene.closures if c.pool == pool and c.slots[slot]]
    return (
        f"{_room(scene, pool, spec)[slot]} of {spec.workers} workers fit on the nodes that are "
        f"open at {scene.clock(slot * scene.slot_s)}; "
        f"{'; '.join(_told(scene, closure) for closure in closed)}."
    )


def _why_closed(scene: Scene, klass: int, pool: int, slot: int) -> str:
    closed = next(c for c in scene.closures if c.pool == pool and c.slots[slot])
    return f"{_told(scene, closed)}."


def _rows(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    whole = [closure for closure in scene.closures if closure.whole]
    if not whole:
        return ()
    capacity: Floats = np.full((len(scene.pools), scene.axis), np.inf)
    for closure in whole:
        capacity[closure.pool, closure.slots] = 0.0
    return (
        Rows(
            name="maintenance",
            code=ReasonCode.MAINTENANCE,
            unit="worker",
            groups=tuple(pool.name for pool in scene.pools),
            of_class=scene.columns.workers[:, None].astype(float),
            of_pool=np.ones((len(scene.pools), 1)),
            group_of_pool=np.arange(len(scene.pools)),
            profile=np.ones(capacity.shape),
            capacity=capacity,
            why=_why_closed,
        ),
    )


POLICY = Policy(
    name="maintenance",
    start_filters=(StartFilter(ReasonCode.MAINTENANCE, _why_too_few, first=_first),),
    rows=_rows,
)
