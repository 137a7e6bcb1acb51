"""What runs in a pool at a time fits on its nodes.

Beside the sums of accelerators, cores and memory there is a row for every size b of a worker: in
any packing, the workers hold at most Σ over nodes of ⌊free / b⌋ blocks of b accelerators, and a
worker of w accelerators holds at least ⌊w / b⌋ of them (floor is superadditive). So each row is
necessary, and for sizes that divide one another the rows together are sufficient.

Running attempts only ever free their nodes, and every start lies within the S slots: a load that
fits in these fits after them, too.
"""

import numpy as np

from policies.base import Policy, Rows, StartFilter
from policies.scene import TOLERANCE, Bools, Floats, Options, Scene
from scheduler.domain.reason import ReasonCode


def _allows(scene: Scene, options: Options) -> Bools:
    allowed = np.zeros(options.start_s.shape, dtype=bool)
    known: dict[tuple[object, int], Bools] = {}
    for i, (k, p) in enumerate(zip(options.klass, options.pool, strict=True)):
        spec = scene.classes[k].spec
        key = ((spec.per_worker, spec.workers), int(p))
        if key not in known:
            known[key] = scene.pools[p].room(spec)[: scene.slots] >= spec.workers
        allowed[i] = known[key]
    return allowed


def _why(scene: Scene, options: Options, row: int, slot: int) -> str:
    spec, pool = scene.classes[options.klass[row]].spec, scene.pools[options.pool[row]]
    room = pool.room(spec)[: scene.slots]
    later = np.flatnonzero(room >= spec.workers)
    soon = f"; enough from {scene.clock(later[0] * scene.slot_s)}" if len(later) else ""
    return (
        f"{room[slot]} of {spec.workers} workers fit at {scene.clock(slot * scene.slot_s)}: "
        f"running jobs leave {pool.free_gpus[:, slot].sum():g} of "
        f"{pool.free_gpus[:, -1].sum():g} accelerators free{soon}."
    )


def _rows(scene: Scene, options: Options) -> tuple[Rows, ...]:
    specs = [klass.spec for klass in scene.classes]
    workers = np.array([spec.workers for spec in specs])[options.klass]
    gpus = np.array([spec.per_worker.gpus for spec in specs])[options.klass]
    cpus = np.array([spec.per_worker.cpus for spec in specs])[options.klass]
    memory_gb = np.array([spec.per_worker.memory_gb for spec in specs])[options.klass]
    families = [
        _family(
            scene,
            options,
            name="capacity" if size == 1 else f"capacity-blocks-of-{size}",
            unit="accelerator" if size == 1 else f"block of {size} accelerators",
            demand=workers * (gpus // size).astype(float),
            free=[np.floor(pool.free_gpus / size + TOLERANCE).sum(axis=0) for pool in scene.pools],
        )
        for size in sorted({1, *(int(size) for size in np.unique(gpus) if size)})
    ]
    families += [
        _family(
            scene,
            options,
            name="cpus",
            unit="core",
            demand=workers * cpus,
            free=[pool.free_cpus.sum(axis=0) for pool in scene.pools],
        ),
        _family(
            scene,
            options,
            name="memory",
            unit="GB",
            demand=workers * memory_gb,
            free=[pool.free_memory_gb.sum(axis=0) for pool in scene.pools],
        ),
    ]
    return tuple(family for family in families if len(family.row))


def _family(
    scene: Scene, options: Options, *, name: str, unit: str, demand: Floats, free: list[Floats]
) -> Rows:
    capacity = np.full((len(scene.pools), scene.axis), np.inf)
    for p, per_slot in enumerate(free):
        capacity[p, : scene.slots] = per_slot[: scene.slots]
    row = np.flatnonzero(demand > 0)
    return Rows(
        name=name,
        code=ReasonCode.CAPACITY,
        unit=unit,
        groups=tuple(f"{pool.cluster}/{pool.accelerator or 'cpu'}" for pool in scene.pools),
        row=row,
        group=options.pool[row],
        demand=demand[row],
        profile=np.ones((len(scene.pools), scene.axis)),
        capacity=capacity,
        window=options.run,
    )


POLICY = Policy(
    name="capacity",
    start_filters=(StartFilter(ReasonCode.CAPACITY, _allows, _why),),
    rows=_rows,
)
