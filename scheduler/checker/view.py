"""The snapshot as the checker reads it, and the arithmetic of its rules."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from scheduler.domain.fleet import Node, NodeLifecycle, Site
from scheduler.domain.job import JobSpec
from scheduler.domain.series import Series
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A run touches a slot that it overlaps by more.
TOUCH_S = 2e-3
# Relative and absolute slack of sums of floats.
SLACK = 1e-5
WORST_PUE = 2.0
WORST_GREEN_KW = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The nodes of a cluster with the same accelerator: those that take new work, and the draw of
    one accelerator and of one core on the hungriest of all."""

    ready: dict[str, Node]
    gpu_kw: float
    cpu_kw: float


class View:
    """The snapshot, indexed. Codes of nodes, pools and sites are positions in ``nodes``, ``pools``
    and ``sites``; times are seconds since the beginning of slot 0.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.start_at = snapshot.start_at
        self.now_s = self.since_s(snapshot.now_at)
        self.jobs: dict[str, PendingJob] = {job.id: job for job in snapshot.jobs}
        self.nodes: dict[str, Node] = {node.id: node for node in snapshot.nodes}
        self.node_codes = {name: code for code, name in enumerate(self.nodes)}
        self.pools = _pools(self.nodes.values())
        self.pool_codes = {pool: code for code, pool in enumerate(self.pools)}
        self.sites = list(snapshot.sites.values())
        self.site_codes = {cluster: code for code, cluster in enumerate(snapshot.sites)}
        self._pue: dict[tuple[str, int], float] = {}

    def ready_in(self, pool: tuple[str, str]) -> dict[str, Node]:
        """Nodes of a pool that take new work."""
        return self.pools[pool].ready if pool in self.pools else {}

    def pue(self, site: Site, slot: int) -> float:
        if (site.cluster, slot) not in self._pue:
            self._pue[site.cluster, slot] = self.value(site.pue, slot, WORST_PUE)
        return self._pue[site.cluster, slot]

    def pues(self, site: Site, slots: int) -> Floats:
        """Of the first slots."""
        return np.array([self.pue(site, slot) for slot in range(slots)], dtype=float)

    def green_kw(self, site: Site, slots: int) -> Floats:
        """Supplied in the first slots."""
        series = site.green_supply_kw
        supply = [max(self.value(series, slot, WORST_GREEN_KW), 0.0) for slot in range(slots)]
        return np.array(supply, dtype=float)

    def spec(self, placement: Placement) -> JobSpec:
        return self.jobs[placement.job_id].spec

    def since_s(self, when: datetime) -> float:
        return (when - self.start_at).total_seconds()

    def seconds(self, times: Iterable[datetime | None], never_s: float = math.inf) -> Floats:
        """One value per time, ``never_s`` for None."""
        start_at = self.start_at
        return np.array(
            [never_s if at is None else (at - start_at).total_seconds() for at in times],
            dtype=float,
        )

    def touched(self, start_s: Floats, end_s: Floats) -> tuple[Ints, Ints]:
        """The slots that spans of time touch, from a first one up to a last that they do not."""
        slot_s = self.snapshot.slot_s
        first = np.floor((start_s + TOUCH_S) / slot_s).astype(np.int64)
        last = np.ceil((end_s - TOUCH_S) / slot_s).astype(np.int64)
        return np.maximum(first, 0), np.maximum(np.maximum(last, first + 1), 1)

    def pool_kw(self, attempt: RunningAttempt, place: Placement | None = None) -> float:
        """The draw of what runs on its pool's hungriest node, where it is or in another place."""
        at, spec = place or attempt, attempt.spec
        pool = self.pools[at.cluster, at.accelerator]
        if spec.gpus:
            return spec.gpus * pool.gpu_kw
        return spec.workers * spec.per_worker.cpus * pool.cpu_kw

    def unseen_kw(self, attempt: RunningAttempt) -> float:
        """What one worker is taken to draw on a node that has not reported: as on the hungriest of
        its pool, or of its cluster where the pool is as unknown."""
        own = self.pools.get((attempt.cluster, attempt.accelerator))
        alike = [own] if own is not None else self.pools_in(attempt.cluster)
        gpus, cores, _ = amounts_of(attempt.spec)
        gpu_kw = max((pool.gpu_kw for pool in alike), default=0.0)
        cpu_kw = max((pool.cpu_kw for pool in alike), default=0.0)
        return gpus * gpu_kw if gpus else cores * cpu_kw

    def pools_in(self, cluster: str) -> list[Pool]:
        return [pool for (where, _), pool in self.pools.items() if where == cluster]

    def value(self, series: Series, slot: int, worst: float) -> float:
        if not series.values:
            return worst
        value = series.at(self.start_at + timedelta(seconds=slot * self.snapshot.slot_s))
        return value if math.isfinite(value) else worst

    def reach(self, site: Site) -> int:
        """The slot from which on the forecasts of a site no longer change."""
        reach = self.snapshot.slots
        for series in (site.pue, site.green_supply_kw):
            end_s = self.since_s(series.start_at) + len(series.values) * series.step_s
            reach = max(reach, math.ceil(end_s / self.snapshot.slot_s) + 1)
        return reach


def _pools(nodes: Iterable[Node]) -> dict[tuple[str, str], Pool]:
    members: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        members[node.cluster, node.accelerator].append(node)
    return {
        pool: Pool(
            ready={node.id: node for node in own if node.lifecycle is NodeLifecycle.READY},
            gpu_kw=max(node.gpu_power_kw for node in own),
            cpu_kw=max(node.cpu_power_kw for node in own),
        )
        for pool, own in members.items()
    }


def amounts_of(spec: JobSpec) -> tuple[float, float, float]:
    """Accelerators, cores and GB of one worker."""
    return (spec.per_worker.gpus, spec.per_worker.cpus, spec.per_worker.memory_gb)


def has_of(node: Node) -> tuple[float, float, float]:
    return (node.gpus, node.cpus, node.memory_gb)


def over(amount: float, limit: float) -> bool:
    """Whether a sum really exceeds a limit."""
    return not amount <= limit + SLACK * max(1.0, abs(limit))


def each_over(amounts: Floats, limits: Floats) -> Bools:
    """The same of many."""
    return ~(amounts <= limits + SLACK * np.maximum(1.0, np.abs(limits)))


def summed(codes: Ints, amounts: Floats, size: int) -> Floats:
    """The sum of the amounts of every code below a size, (size,)."""
    return np.bincount(codes, amounts, size).astype(np.float64)


def levels(first: Ints, stop: Ints, amounts: Floats, slots: int) -> Floats:
    """What spans of slots amount to in each of the first slots, (slots,)."""
    begun = summed(np.minimum(first, slots), amounts, slots + 1)
    ended = summed(np.minimum(stop, slots), amounts, slots + 1)
    return (begun - ended)[:slots].cumsum()


def groups(codes: Ints) -> Iterator[tuple[int, Ints]]:
    """Every code that occurs, with the rows where it does, in ascending order."""
    order = np.argsort(codes, kind="stable")
    found, begins = np.unique(codes[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, begins)[1:], strict=True)
