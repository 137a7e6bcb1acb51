"""What runs in a pool at a time fits on its nodes.

Beside the sums of accelerators, cores and memory there is a row for every size b of a worker: in
any packing, the workers hold at most Σ over nodes of ⌊free / b⌋ blocks of b accelerators, and a
worker of w accelerators holds at least ⌊w / b⌋ of them (floor is superadditive). So each row is
necessary, and for sizes that divide one another the rows together are sufficient.

Running attempts only ever free their nodes, and every start lies within the S slots: a load that
fits in these fits after them, too, but for nodes that are in maintenance then.
"""

import numpy as np

from policies.base import Policy, Rows, StartFilter
from policies.scene import TOLERANCE, Floats, Ints, Pairs, Pool, Scene, shapes
from scheduler.domain.reason import ReasonCode


def _first(scene: Scene, pairs: Pairs) -> Ints:
    """From the first slot on in which the gang fits beside what runs."""
    gangs = scene.columns.like
    first = np.zeros((len(gangs), len(scene.pools)), dtype=np.int16)
    for p, pool in enumerate(scene.pools):
        for g in _crowded(scene, pool).tolist():
            spec = scene.classes[gangs[g]].spec
            enough = pool.room(spec)[: scene.slots] >= spec.workers
            first[g, p] = np.argmax(enough) if enough.any() else scene.slots
    return first[scene.columns.gang[pairs.klass], pairs.pool]


def _crowded(scene: Scene, pool: Pool) -> Ints:
    """The gangs that fit in a pool, but not simply on the nodes that are empty now."""
    free = np.stack([pool.free_gpus, pool.free_cpus, pool.free_memory_gb], axis=-1)
    empty = (free[:, 0] == free[:, -1]).all(axis=1)
    like, workers = scene.columns.like, scene.columns.workers
    room = shapes(free[empty, -1]).room(scene.columns)
    # What no pair filter lets in needs no look.
    fits = pool.ready_shapes.room(scene.columns) >= workers
    return np.flatnonzero(((room < workers) & fits)[like])


def _why(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    spec, pool = scene.classes[pairs.klass[row]].spec, scene.pools[pairs.pool[row]]
    room = pool.room(spec)[: scene.slots]
    later = np.flatnonzero(room >= spec.workers)
    soon = f"; enough from {scene.clock(later[0] * scene.slot_s)}" if len(later) else ""
    return (
        f"{room[slot]} of {spec.workers} workers fit at {scene.clock(slot * scene.slot_s)}: "
        f"running jobs leave {pool.free_gpus[:, slot].sum():g} of "
        f"{pool.free_gpus[:, -1].sum():g} accelerators free{soon}."
    )


def _rows(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    columns = scene.columns
    families = [
        _family(
            scene,
            name="capacity" if size == 1 else f"capacity-blocks-of-{size}",
            unit="accelerator" if size == 1 else f"block of {size} accelerators",
            demand=columns.workers * (columns.gpus // size).astype(float),
            free=[np.floor(pool.free_gpus / size + TOLERANCE) for pool in scene.pools],
        )
        for size in sorted({1, *(int(size) for size in np.unique(columns.gpus) if size)})
    ]
    cores = [pool.free_cpus for pool in scene.pools]
    memory_gb = [pool.free_memory_gb for pool in scene.pools]
    need = columns.workers * columns.cpus
    families.append(_family(scene, name="cpus", unit="core", demand=need, free=cores))
    need = columns.workers * columns.memory_gb
    families.append(_family(scene, name="memory", unit="GB", demand=need, free=memory_gb))
    return tuple(families)


def _family(scene: Scene, *, name: str, unit: str, demand: Floats, free: list[Floats]) -> Rows:
    """``free`` are per pool what its nodes have free, (nodes, S + 1)."""
    capacity = np.full((len(scene.pools), scene.axis), np.inf)
    for p, per_node in enumerate(free):
        capacity[p, : scene.slots] = per_node.sum(axis=0)[: scene.slots]
    for p in {closure.pool for closure in scene.closures if not closure.whole}:
        capacity[p, scene.slots :] = _after(scene, p, free[p])
    return Rows(
        name=name,
        code=ReasonCode.CAPACITY,
        unit=unit,
        groups=tuple(pool.name for pool in scene.pools),
        of_class=demand[:, None],
        of_pool=np.ones((len(scene.pools), 1)),
        group_of_pool=np.arange(len(scene.pools)),
        profile=np.ones((len(scene.pools), scene.axis)),
        capacity=capacity,
    )


def _after(scene: Scene, pool: int, per_node: Floats) -> Floats:
    """What a pool has free after the S slots: without limit unless nodes are in maintenance."""
    closed = np.zeros((len(per_node), scene.axis - scene.slots), dtype=bool)
    for closure in scene.closures:
        if closure.pool == pool and not closure.whole:
            closed[closure.nodes] |= closure.slots[scene.slots :]
    left = np.where(closed, 0.0, per_node[:, [scene.slots - 1]]).sum(axis=0)
    return np.where(closed.any(axis=0), left, np.inf)


POLICY = Policy(
    name="capacity",
    start_filters=(StartFilter(ReasonCode.CAPACITY, _why, first=_first),),
    rows=_rows,
)
