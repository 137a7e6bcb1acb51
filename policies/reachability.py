"""Nothing new is sent to a site that is silent, or to nodes that are."""

import numpy as np

from policies.base import PairFilter, Policy
from policies.scene import Bools, Scene
from scheduler.domain.reason import ReasonCode


def _allows(scene: Scene) -> Bools:
    allowed = np.zeros((len(scene.classes), len(scene.pools)), dtype=bool)
    for p, pool in enumerate(scene.pools):
        site = scene.site_of(p).site
        if site.reachable and not site.not_serving:
            allowed[:, p] = pool.ready_shapes.room(scene.columns) >= scene.columns.workers
    return allowed


def _why(scene: Scene, klass: int, pool: int) -> str:
    where = scene.pools[pool]
    if not scene.site_of(pool).site.reachable:
        return f"{where.cluster} is not reachable: its head agent is silent."
    if not_serving := scene.site_of(pool).site.not_serving:
        return f"{where.cluster} starts nothing at present: {not_serving}."
    return (
        f"{len(where.nodes)} of {len(where.known)} nodes are ready; even empty they cannot hold "
        f"the {scene.classes[klass].spec.workers} workers."
    )


POLICY = Policy(
    name="reachability", pair_filters=(PairFilter(ReasonCode.CLUSTER_UNREACHABLE, _allows, _why),)
)
