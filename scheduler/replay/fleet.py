"""The world of a replay, indexed: pools of nodes, where a job may run at all, and what it draws."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.fleet import Link, Node, NodeLifecycle, Site
from scheduler.domain.job import JobSpec
from scheduler.replay.curves import Floats, SiteCurves, curves_of

# A round trip measured less often counts as unknown, as in the latency policy.
RTT_SAMPLES_MIN = 20
# Sums of floats: 0.3 cores hold three workers of 0.1.
SLACK = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PoolView:
    """Interchangeable nodes. ``rows`` are theirs in ``Fleet.capacity``; the power is that of the
    hungriest node, as the planner reckons."""

    index: int
    cluster: str
    accelerator: str
    rows: NDArray[np.int64]
    gpu_power_kw: float
    cpu_power_kw: float

    def it_kw(self, spec: JobSpec) -> float:
        """IT power of a whole gang."""
        if spec.gpus:
            return spec.gpus * self.gpu_power_kw
        return spec.workers * spec.per_worker.cpus * self.cpu_power_kw


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A pool where a job may run, with its relative speed there and the time its data take."""

    pool: PoolView
    speed: float
    stage_s: float


class Fleet:
    """Nodes and sites that stay as they are during a replay. ``capacity`` and ``need`` are
    accelerators, cores, GB; shapes (N, 3) and (3,)."""

    def __init__(self, nodes: Sequence[Node], sites: dict[str, Site]) -> None:
        self.nodes = tuple(nodes)
        self.sites = sites
        self.curves: dict[str, SiteCurves] = curves_of(tuple(sites.values()))
        self.row = {node.id: n for n, node in enumerate(self.nodes)}
        shapes = [[node.gpus, node.cpus, node.memory_gb] for node in self.nodes]
        self.capacity: Floats = np.array(shapes, dtype=np.float64).reshape(len(shapes), 3)
        self.pools = self._pools()
        self._options: dict[object, tuple[Option, ...]] = {}

    def options(self, spec: JobSpec) -> tuple[Option, ...]:
        """Every pool that may ever hold the job, by the hard rules that time does not change:
        residency, latency, accelerator, data links, and room on the empty nodes."""
        kind = (spec.workers, spec.per_worker, spec.accelerators, spec.data)
        where = (spec.region, spec.max_rtt_ms, spec.must_be_in, spec.must_not_be_in)
        if (kind, where) not in self._options:
            self._options[kind, where] = self._find(spec)
        return self._options[kind, where]

    def _find(self, spec: JobSpec) -> tuple[Option, ...]:
        found = []
        for pool in self.pools:
            site = self.sites[pool.cluster]
            speed = spec.speed_on(pool.accelerator)
            if speed is None or not speed > 0 or not (_admits(spec, site) and _near(spec, site)):
                continue
            if self.fits(pool, spec, self.capacity).sum() < spec.workers:
                continue
            stage_s = self.stage_s(spec, site)
            if stage_s < float("inf"):
                found.append(Option(pool, speed, stage_s))
        return tuple(found)

    def fits(self, pool: PoolView, spec: JobSpec, free: Floats) -> NDArray[np.int64]:
        """How many workers each node of a pool holds with what is free; shape (nodes,)."""
        need = need_of(spec)
        some = need > 0
        most = (free[pool.rows][:, some] / need[some]).min(axis=1) if some.any() else spec.workers
        return np.asarray(
            np.clip(np.floor(np.broadcast_to(most, len(pool.rows)) + SLACK), 0, spec.workers),
            dtype=np.int64,
        )

    def run_kw(self, spec: JobSpec, nodes: Sequence[str]) -> float:
        """IT power of a gang on the nodes it runs on."""
        shape, total = spec.per_worker, 0.0
        for name in nodes:
            node = self.nodes[self.row[name]]
            total += shape.gpus * node.gpu_power_kw or shape.cpus * node.cpu_power_kw
        return total

    def stage_s(self, spec: JobSpec, site: Site) -> float:
        """Seconds until a job's data have arrived at a site; inf without a link."""
        longest = 0.0
        for location, size_gb in loads_gb(spec, site).items():
            link = self.link(site, location)
            if link is None or not link.bandwidth_gbps > 0:
                return float("inf")
            longest = max(longest, size_gb * 8 / link.bandwidth_gbps)
        return longest

    def transfer_yuan(self, spec: JobSpec, site: Site) -> float:
        """What moving a job's data to a site costs."""
        yuan = 0.0
        for location, size_gb in loads_gb(spec, site).items():
            link = self.link(site, location)
            yuan += size_gb * link.transfer_yuan_per_gb if link is not None else 0.0
        return yuan

    def link(self, site: Site, location: str) -> Link | None:
        """The way from where data lie to a site, declared at either end."""
        for link in site.links:
            if link.peer == location:
                return link
        other = self.sites.get(location)
        for link in other.links if other is not None else ():
            if link.peer == site.cluster:
                return link
        return None

    def _pools(self) -> tuple[PoolView, ...]:
        rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        known: dict[tuple[str, str], list[Node]] = defaultdict(list)
        for n, node in enumerate(self.nodes):
            known[node.cluster, node.accelerator].append(node)
            site = self.sites.get(node.cluster)
            serves = site is not None and site.reachable and not site.not_serving
            if serves and node.lifecycle is NodeLifecycle.READY:
                rows[node.cluster, node.accelerator].append(n)
        return tuple(
            PoolView(
                index=index,
                cluster=cluster,
                accelerator=accelerator,
                rows=np.array(members, dtype=np.int64),
                gpu_power_kw=max(node.gpu_power_kw for node in known[cluster, accelerator]),
                cpu_power_kw=max(node.cpu_power_kw for node in known[cluster, accelerator]),
            )
            for index, ((cluster, accelerator), members) in enumerate(rows.items())
        )


def need_of(spec: JobSpec) -> Floats:
    """Accelerators, cores and GB of one worker."""
    shape = spec.per_worker
    return np.array([shape.gpus, shape.cpus, shape.memory_gb], dtype=np.float64)


def loads_gb(spec: JobSpec, site: Site) -> dict[str, float]:
    """GB that must come to a site from each location."""
    loads: dict[str, float] = {}
    for data in spec.data:
        if data.size_gb > 0 and data.location not in (site.cluster, site.province):
            loads[data.location] = loads.get(data.location, 0.0) + data.size_gb
    return loads


def _admits(spec: JobSpec, site: Site) -> bool:
    here = {site.cluster, site.province}
    return not here & set(spec.must_not_be_in) and (
        not spec.must_be_in or bool(here & set(spec.must_be_in))
    )


def _near(spec: JobSpec, site: Site) -> bool:
    if spec.max_rtt_ms is None:
        return True
    rtt = site.rtt.get(spec.region)
    return rtt is not None and rtt.samples >= RTT_SAMPLES_MIN and rtt.p95_ms <= spec.max_rtt_ms
