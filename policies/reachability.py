"""Nothing new is sent to a site that is silent, or to nodes that are."""

from policies.base import PairFilter, Policy
from policies.scene import Bools, Scene, room_when_empty
from scheduler.domain.job import JobSpec
from scheduler.domain.reason import ReasonCode


def _allows(scene: Scene) -> Bools:
    sites = [scene.site_of(p).site for p in range(len(scene.pools))]
    reachable = [site.reachable and not site.not_serving for site in sites]

    def allowed(spec: JobSpec) -> list[bool]:
        return [
            reachable[p] and room_when_empty(pool.nodes, spec) >= spec.workers
            for p, pool in enumerate(scene.pools)
        ]

    return scene.judge(lambda spec: (spec.workers, spec.per_worker), allowed)


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
