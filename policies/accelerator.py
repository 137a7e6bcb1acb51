"""A job runs only on accelerator models that it accepts, and only where its gang fits at all."""

import numpy as np

from policies.base import PairFilter, Policy
from policies.scene import Bools, Scene
from scheduler.domain.reason import ReasonCode


def _accepted(scene: Scene) -> Bools:
    has = np.array([any(node.gpus for node in pool.known) for pool in scene.pools], dtype=bool)
    known = np.isfinite(scene.speeds)[scene.columns.speeds]
    return np.asarray(known & (has[None, :] | (scene.columns.gpus == 0)[:, None]))


def _why_not_accepted(scene: Scene, klass: int, pool: int) -> str:
    models = ", ".join(option.model for option in scene.classes[klass].spec.accelerators)
    has = scene.pools[pool].accelerator or "no accelerators"
    return f"The job accepts {models or 'any accelerator'}; the pool has {has}."


def _fits_when_empty(scene: Scene) -> Bools:
    allowed = np.zeros((len(scene.classes), len(scene.pools)), dtype=bool)
    for p, pool in enumerate(scene.pools):
        allowed[:, p] = pool.known_shapes.room(scene.columns) >= scene.columns.workers
    return allowed


def _why_too_big(scene: Scene, klass: int, pool: int) -> str:
    spec, nodes = scene.classes[klass].spec, scene.pools[pool].known
    shape = spec.per_worker
    most = max(nodes, key=lambda node: (node.gpus, node.cpus))
    return (
        f"The gang needs {spec.workers} × ({shape.gpus} accelerators, {shape.cpus:g} cores, "
        f"{shape.memory_gb:g} GB), each on one node; even empty, the pool's {len(nodes)} nodes "
        f"with up to {most.gpus} accelerators, {most.cpus:g} cores and {most.memory_gb:g} GB "
        f"({sum(node.gpus for node in nodes)} accelerators in all) cannot hold it."
    )


POLICY = Policy(
    name="accelerator",
    pair_filters=(
        PairFilter(ReasonCode.NO_SUCH_ACCELERATOR, _accepted, _why_not_accepted),
        PairFilter(ReasonCode.TOO_BIG, _fits_when_empty, _why_too_big),
    ),
)
