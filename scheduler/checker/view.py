"""The snapshot as the checker reads it, and the arithmetic of its rules."""

import math
from collections import defaultdict
from datetime import datetime, timedelta

from scheduler.domain.fleet import Node, NodeLifecycle, Site
from scheduler.domain.job import JobSpec, WorkerShape
from scheduler.domain.series import Series
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot

# A run touches a slot that it overlaps by more.
TOUCH_S = 2e-3
# Relative and absolute slack of sums of floats.
SLACK = 1e-5
WORST_PUE = 2.0
WORST_GREEN_KW = 0.0


class View:
    """The snapshot, indexed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.start_at = snapshot.start_at
        self.jobs: dict[str, PendingJob] = {job.id: job for job in snapshot.jobs}
        self.nodes: dict[str, Node] = {node.id: node for node in snapshot.nodes}
        self.pools: dict[tuple[str, str], list[Node]] = defaultdict(list)
        for node in snapshot.nodes:
            self.pools[node.cluster, node.accelerator].append(node)
        self._ready = {
            pool: {node.id: node for node in nodes if node.lifecycle is NodeLifecycle.READY}
            for pool, nodes in self.pools.items()
        }
        self._room: dict[tuple[str, str, int, WorkerShape], int] = {}
        self._pue: dict[tuple[str, int], float] = {}

    def ready(self, placement: Placement) -> dict[str, Node]:
        """Nodes of the placement's pool that take new work."""
        return self._ready.get((placement.cluster, placement.accelerator), {})

    def ready_in(self, pool: tuple[str, str]) -> dict[str, Node]:
        """Nodes of a pool that take new work."""
        return self._ready.get(pool, {})

    def room(self, placement: Placement, spec: JobSpec) -> int:
        """Workers that fit on the ready nodes when they are empty."""
        key = (placement.cluster, placement.accelerator, spec.workers, spec.per_worker)
        if key not in self._room:
            nodes = self.ready(placement).values()
            self._room[key] = sum(workers_on(node, spec) for node in nodes)
        return self._room[key]

    def pue(self, site: Site, slot: int) -> float:
        if (site.cluster, slot) not in self._pue:
            self._pue[site.cluster, slot] = self.value(site.pue, slot, WORST_PUE)
        return self._pue[site.cluster, slot]

    def spec(self, placement: Placement) -> JobSpec:
        return self.jobs[placement.job_id].spec

    def since_s(self, when: datetime) -> float:
        return (when - self.start_at).total_seconds()

    def slots(self, start_at: datetime, end_at: datetime) -> range:
        """The slots that a span of time touches."""
        slot_s = self.snapshot.slot_s
        first = math.floor((self.since_s(start_at) + TOUCH_S) / slot_s)
        last = math.ceil((self.since_s(end_at) - TOUCH_S) / slot_s)
        return range(max(first, 0), max(last, first + 1, 1))

    def running_slots(self, attempt: RunningAttempt) -> range:
        """From now on, slot 0 even if it should have ended."""
        return range(self.slots(self.snapshot.now_at, attempt.expected_end_at).stop)

    def it_kw(self, placement: Placement) -> float:
        """The draw on the pool's hungriest node."""
        return self._pool_kw(self.spec(placement), (placement.cluster, placement.accelerator))

    def pool_kw(self, attempt: RunningAttempt, place: Placement | None = None) -> float:
        """The same of what runs, where it is or in another place."""
        at = place or attempt
        return self._pool_kw(attempt.spec, (at.cluster, at.accelerator))

    def _pool_kw(self, spec: JobSpec, where: tuple[str, str]) -> float:
        pool = self.pools[where]
        if spec.gpus:
            return spec.gpus * max(node.gpu_power_kw for node in pool)
        cores = spec.workers * spec.per_worker.cpus
        return cores * max(node.cpu_power_kw for node in pool)

    def running_kw(self, attempt: RunningAttempt) -> float:
        shape, total = attempt.spec.per_worker, 0.0
        for name in attempt.nodes:
            node = self.nodes.get(name)
            if node is not None and node.cluster == attempt.cluster:
                total += shape.gpus * node.gpu_power_kw or shape.cpus * node.cpu_power_kw
        return total

    def value(self, series: Series, slot: int, worst: float) -> float:
        if not series.values:
            return worst
        value = series.at(self.start_at + timedelta(seconds=slot * self.snapshot.slot_s))
        return value if math.isfinite(value) else worst


class Tally:
    """A quantity over slots, entered by spans."""

    def __init__(self) -> None:
        self._edges: dict[int, float] = defaultdict(float)

    def add(self, slots: range, amount: float) -> None:
        self._edges[slots.start] += amount
        self._edges[slots.stop] -= amount

    def levels(self, stop: int) -> list[float]:
        """One value per slot, up to a slot."""
        made, level = [], 0.0
        for slot in range(stop):
            level += self._edges.get(slot, 0.0)
            made.append(level)
        return made


def reach(view: View, site: Site) -> int:
    """The slot from which on the forecasts of a site no longer change."""
    reach = view.snapshot.slots
    for series in (site.pue, site.green_supply_kw):
        end_s = view.since_s(series.start_at) + len(series.values) * series.step_s
        reach = max(reach, math.ceil(end_s / view.snapshot.slot_s) + 1)
    return reach


def workers_on(node: Node, spec: JobSpec) -> int:
    shape = spec.per_worker
    fits = [spec.workers]
    for need, has in (
        (shape.gpus, node.gpus),
        (shape.cpus, node.cpus),
        (shape.memory_gb, node.memory_gb),
    ):
        if need > 0:
            fits.append(int(has / need * (1 + SLACK)))
    return min(fits)


def amounts_of(spec: JobSpec) -> tuple[float, float, float]:
    """Accelerators, cores and GB of one worker."""
    return (spec.per_worker.gpus, spec.per_worker.cpus, spec.per_worker.memory_gb)


def has_of(node: Node) -> tuple[float, float, float]:
    return (node.gpus, node.cpus, node.memory_gb)


def loads_gb(spec: JobSpec, site: Site) -> dict[str, float]:
    loads: dict[str, float] = defaultdict(float)
    for data in spec.data:
        if data.location not in (site.cluster, site.province) and data.size_gb > 0:
            loads[data.location] += data.size_gb
    return loads


def gbps_of(site: Site, location: str, snapshot: Snapshot) -> float:
    """Of the link between a site and where data lie, as declared at the site or the other end."""
    for link in site.links:
        if link.peer == location:
            return link.bandwidth_gbps
    other = snapshot.sites.get(location)
    for link in other.links if other is not None else ():
        if link.peer == site.cluster:
            return link.bandwidth_gbps
    return 0.0


def stage_s_of(spec: JobSpec, site: Site, snapshot: Snapshot) -> float:
    """Until the job's data have arrived, from its start on."""
    longest = 0.0
    for location, size_gb in loads_gb(spec, site).items():
        gbps = gbps_of(site, location, snapshot)
        longest = max(longest, size_gb * 8 / gbps if gbps > 0 else math.inf)
    return longest


def over(amount: float, limit: float) -> bool:
    """Whether a sum really exceeds a limit."""
    return not amount <= limit + SLACK * max(1.0, abs(limit))
