"""What placements in one pool exceed, counted run by run and slot by slot: slow, and plain."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from scheduler.domain.fleet import Node, NodeLifecycle, Site
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.domain.series import Series
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import Snapshot

TOUCH_S = 2e-3
NEEDS = {
    "accelerators": lambda spec: spec.per_worker.gpus,
    "cores": lambda spec: spec.per_worker.cpus,
    "GB": lambda spec: spec.per_worker.memory_gb,
}
HAS = {
    "accelerators": lambda node: node.gpus,
    "cores": lambda node: node.cpus,
    "GB": lambda node: node.memory_gb,
}


class SlowCount:
    """Of a snapshot and placements that are all in the same pool."""

    def __init__(self, snapshot: Snapshot, placements: Sequence[Placement]) -> None:
        self._snapshot, self._placements = snapshot, placements
        self._specs = {job.id: job.spec for job in snapshot.jobs}
        self._cluster, self._accelerator = placements[0].cluster, placements[0].accelerator
        self._site = snapshot.sites[self._cluster]
        self._pool = [
            node
            for node in snapshot.nodes
            if (node.cluster, node.accelerator) == (self._cluster, self._accelerator)
        ]

    def exceeded(self) -> Iterator[str]:
        """``where at when: what`` for every slot of the snapshot."""
        for slot in range(self._snapshot.slots):
            when = self._snapshot.slot_at(slot)
            for what in NEEDS:
                if self._pool_is_short_of(what, slot):
                    yield f"{self._cluster}/{self._accelerator} at {when}: {what}"
            if self._power_is_over(slot):
                yield f"{self._cluster} at {when}: power cap"
            if self._green_is_over(slot):
                yield f"{self._cluster} at {when}: green held"
            for location in {data.location for spec in self._specs.values() for data in spec.data}:
                if self._link_is_over(location, slot):
                    yield f"link {location}-{self._cluster} at {when}: GB"

    def _overlap_s(self, slot: int, start_s: float, end_s: float) -> float:
        slot_s = self._snapshot.slot_s
        return min(end_s, (slot + 1) * slot_s) - max(start_s, slot * slot_s)

    def _since_s(self, when: datetime) -> float:
        return (when - self._snapshot.start_at).total_seconds()

    def _planned(self, slot: int) -> list[JobSpec]:
        return [
            self._specs[p.job_id]
            for p in self._placements
            if self._overlap_s(slot, self._since_s(p.start_at), self._since_s(p.end_at)) > TOUCH_S
        ]

    def _held(self, slot: int) -> list[tuple[Node, JobSpec]]:
        """Every running worker, with its node: all that run now, though they are overdue."""
        at = {node.id: node for node in self._snapshot.nodes}
        now_s = self._since_s(self._snapshot.now_at)
        return [
            (at[name], run.spec)
            for run in self._snapshot.running
            if slot == 0
            or self._overlap_s(slot, now_s, self._since_s(run.expected_end_at)) > TOUCH_S
            for name in run.nodes
        ]

    def _pool_is_short_of(self, what: str, slot: int) -> bool:
        need, has = NEEDS[what], HAS[what]
        planned = sum(spec.workers * need(spec) for spec in self._planned(slot))
        free = 0.0
        for node in self._pool:
            if node.lifecycle is NodeLifecycle.READY:
                taken = sum(need(spec) for on, spec in self._held(slot) if on is node)
                free += has(node) - min(taken, has(node))
        return planned > 0 and _over(planned, free)

    def _kw(self, slot: int, share: bool) -> tuple[float, float]:
        """What is planned draws, and what runs at the site: all of it, or the promised share."""
        planned = running = 0.0
        gpu_kw = max(node.gpu_power_kw for node in self._pool)
        cpu_kw = max(node.cpu_power_kw for node in self._pool)
        for spec in self._planned(slot):
            part = _held_share(spec) if share else 1.0
            worker_kw = spec.per_worker.gpus * gpu_kw or spec.per_worker.cpus * cpu_kw
            planned += spec.workers * worker_kw * part
        for node, spec in self._held(slot):
            if node.cluster == self._cluster:
                part = _held_share(spec) if share else 1.0
                shape = spec.per_worker
                running += part * (shape.gpus * node.gpu_power_kw or shape.cpus * node.cpu_power_kw)
        return planned, running

    def _power_is_over(self, slot: int) -> bool:
        planned, running = self._kw(slot, share=False)
        cap_kw = self._site.power_cap_kw
        drawn_kw = (planned + running) * self._forecast(self._site.pue, slot, 2.0)
        return cap_kw is not None and planned > 0 and _over(drawn_kw, cap_kw)

    def _green_is_over(self, slot: int) -> bool:
        planned, running = self._kw(slot, share=True)
        held_kw = (planned + running) * self._forecast(self._site.pue, slot, 2.0)
        supply_kw = max(self._forecast(self._site.green_supply_kw, slot, 0.0), 0.0)
        return planned > 0 and _over(held_kw, supply_kw)

    def _forecast(self, series: Series, slot: int, worst: float) -> float:
        value = series.at(self._snapshot.slot_at(slot)) if series.values else worst
        return value if math.isfinite(value) else worst

    def _link_is_over(self, location: str, slot: int) -> bool:
        """Each transfer at an even pace, from the start of the run until its data are there."""
        gbps = _gbps(self._site, location)
        if gbps <= 0 or location in (self._site.cluster, self._site.province):
            return False
        carried_gb = 0.0
        for placement in self._placements:
            size_gb = sum(
                d.size_gb for d in self._specs[placement.job_id].data if d.location == location
            )
            takes_s, start_s = size_gb * 8 / gbps, self._since_s(placement.start_at)
            share_s = self._overlap_s(slot, start_s, start_s + takes_s)
            carried_gb += size_gb * max(share_s, 0.0) / takes_s if takes_s > 0 else 0.0
        now_s = self._since_s(self._snapshot.now_at)
        most_gb = gbps * self._overlap_s(slot, now_s, math.inf) / 8
        return carried_gb > most_gb * (1 + 1e-5 + TOUCH_S / self._snapshot.slot_s) + 1e-5


def _gbps(site: Site, location: str) -> float:
    return next((k.bandwidth_gbps for k in site.links if k.peer == location), 0.0)


def _over(amount: float, limit: float) -> bool:
    return amount > limit + 1e-5 * max(1.0, abs(limit))


def _held_share(spec: JobSpec) -> float:
    """What is held in every slot; a share of the run as a whole is judged as a whole."""
    if spec.green_matching is GreenMatching.RUN:
        return 0.0
    return spec.min_green_share or 0.0
