"""Which jobs could start within the horizon at all, if nothing else ran: judged by the job and the
fleet alone, before the rules look closer."""

import math
from collections import Counter
from collections.abc import Hashable
from datetime import datetime

from policies.latency import measured
from policies.scene import TOLERANCE
from scheduler.domain.fleet import NodeLifecycle, Site
from scheduler.domain.job import JobSpec
from scheduler.planner.snapshot import PendingJob, Snapshot

Shape = tuple[int, float, float]  # accelerators, cores and GB of a node


class Reach:
    """What the ready nodes of a snapshot could take when empty."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._ends_at: datetime = snapshot.slot_at(snapshot.slots)
        self._sites = snapshot.sites
        self._pools: dict[tuple[str, str], Counter[Shape]] = {}
        for node in snapshot.nodes:
            if node.lifecycle is NodeLifecycle.READY and node.cluster in snapshot.sites:
                pool = self._pools.setdefault((node.cluster, node.accelerator), Counter())
                pool[node.gpus, node.cpus, node.memory_gb] += 1
        self._known: dict[Hashable, bool] = {}

    def holds(self, job: PendingJob) -> bool:
        """Whether some pool accepts the job and holds its gang, before the horizon ends."""
        spec = job.spec
        if any(
            at is not None and at >= self._ends_at
            for at in (spec.earliest_start_at, job.not_before_at)
        ):
            return False
        asked = (spec.workers, spec.per_worker, spec.accelerators)
        where = (spec.region, spec.max_rtt_ms, spec.must_be_in, spec.must_not_be_in)
        if (asked, where) not in self._known:
            self._known[asked, where] = any(
                _accepts(spec, self._sites[cluster], model) and _room(spec, nodes)
                for (cluster, model), nodes in self._pools.items()
            )
        return self._known[asked, where]


def _accepts(spec: JobSpec, site: Site, accelerator: str) -> bool:
    here = {site.cluster, site.province}
    if here & set(spec.must_not_be_in) or (spec.must_be_in and not here & set(spec.must_be_in)):
        return False
    if spec.max_rtt_ms is not None:
        way = measured(site, spec.region)
        if way is None or way.p95_ms > spec.max_rtt_ms:
            return False
    return (spec.speed_on(accelerator) or 0.0) > 0


def _room(spec: JobSpec, nodes: Counter[Shape]) -> bool:
    """Whether the gang fits on some nodes when they are empty."""
    one = spec.per_worker
    needs = (one.gpus, one.cpus, one.memory_gb)
    fits = 0
    for has, count in nodes.items():
        each = [have / need for have, need in zip(has, needs, strict=True) if need > 0]
        fits += count * math.floor(min(spec.workers, *each) + TOLERANCE)
    return fits >= spec.workers
