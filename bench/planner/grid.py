"""A snapshot as plain arrays over slots: the ground that baselines and yardsticks stand on.

It states the rules anew and shares nothing with the planner that it measures. Runs begin on slots
and hold in full every slot they touch; within the horizon a pool's accelerators, cores and memory
count, and its blocks of 2, 4 and 8 accelerators on one node; power, green supply and links count
as long as the run goes on. Two further rules of the planner are left to it: real nodes for what
starts now, and a price on energy that no green supply covers.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scheduler.domain.fleet import Node, Site
from scheduler.domain.job import JobSpec, WorkerShape
from scheduler.domain.series import Series
from scheduler.planner.snapshot import PendingJob, Snapshot

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TOUCH_S = 1e-3  # an overlap with a slot that is shorter does not count
TOLERANCE = 1e-6
BLOCKS = (1, 2, 4, 8)
# Of a pool: blocks of each size, then cores and GB.
RESOURCES = len(BLOCKS) + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Nodes of one pool that are equally free over time: ``count`` of them, ``free`` (3, S)."""

    count: int
    free: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a job needs, pool by pool, of the pools that may take it. Its data lie in its region.

    ``need`` (RESOURCES,) is the gang's, ``kw`` and ``green_kw`` (p,) are IT power and how much of
    it must be green. ``touched`` (p,) are the slots of a run, ``first`` and ``last`` (p,) the
    earliest and the latest slot it may start in; ``staged_gb`` (p, k) what comes over the link in
    its first slots.
    """

    pools: Ints
    need: Floats
    kw: Floats
    green_kw: Floats
    run_s: Floats
    touched: Ints
    first: int
    last: Ints
    staged_gb: Floats


class Grid:
    """The arrays of a snapshot. P pools, C sites, R regions, S slots, A ≥ S slots of the axis.

    ``room`` (P, RESOURCES, A), ``power_kw`` and ``green_kw`` (C, A; IT power) and ``link_gb``
    (C, R, A) are what running attempts leave.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        assert snapshot.now_at == snapshot.start_at, "starts are judged slot by slot"
        self.snapshot = snapshot
        self.sites = list(snapshot.sites.values())
        self.regions = list(snapshot.regions)
        members: dict[tuple[str, str], list[Node]] = defaultdict(list)
        for node in snapshot.nodes:
            members[node.cluster, node.accelerator].append(node)
        self.pools = list(members)
        self.nodes = list(members.values())
        names = list(snapshot.sites)
        self.site = np.array([names.index(cluster) for cluster, _ in self.pools], dtype=np.int64)
        self.gpu_kw = np.array([max(n.gpu_power_kw for n in nodes) for nodes in self.nodes])
        series = [s.price_yuan_per_kwh for s in self.sites]
        self.axis = max(snapshot.slots, *(len(s.values) for s in series))
        self.price = np.stack([self._sampled(s) for s in series])
        self.pue = np.stack([self._sampled(s.pue) for s in self.sites])
        self.spots = self._spots()
        self.room = self._room()
        self.power_kw, self.green_kw = self._power()
        self._gbps = np.array(
            [[_gbps(site, region) for region in self.regions] for site in self.sites]
        )
        self.link_gb = np.repeat(self._gbps[:, :, None] * snapshot.slot_s / 8, self.axis, axis=2)
        self._open: dict[Hashable, tuple[Ints, Floats]] = {}
        rate = self.price * self.pue * snapshot.slot_s / 3600
        self._paid = np.concatenate([np.zeros((len(rate), 1)), np.cumsum(rate, axis=1)], axis=1)

    def ask(self, job: PendingJob) -> Ask:
        """What a job needs where it may run, the room it finds aside."""
        spec, slot_s = job.spec, self.snapshot.slot_s
        pools, speeds = self._open_to(spec)
        gbps = self._gbps[self.site[pools], self.regions.index(spec.region)]
        staged_s = sum(data.size_gb for data in spec.data) * 8 / gbps
        run_s = staged_s + spec.expected_duration_s / speeds
        ready_at = max(spec.earliest_start_at or job.submitted_at, self.snapshot.now_at)
        first = math.ceil((ready_at - self.snapshot.now_at).total_seconds() / slot_s)
        last = np.full(len(pools), self.snapshot.slots - 1)
        if spec.deadline_at is not None:
            until_s = (spec.deadline_at - self.snapshot.now_at).total_seconds()
            last = np.minimum(last, np.floor((until_s - run_s + 1e-6) / slot_s).astype(np.int64))
        kw = spec.gpus * self.gpu_kw[pools]
        return Ask(
            pools=pools,
            need=needs(spec),
            kw=kw,
            green_kw=kw * (spec.min_green_share or 0.0),
            run_s=run_s,
            touched=np.maximum(np.ceil((run_s - TOUCH_S) / slot_s), 1).astype(np.int64),
            first=first,
            last=last,
            staged_gb=self._staged_gb(spec, staged_s),
        )

    def energy_yuan(self, pool: Ints, start_s: Floats, run_s: Floats, it_kw: Floats) -> Floats:
        """What the energy of runs costs: kW × PUE × tariff over their time, the last tariff for
        what goes on after the series. All arrays (n,); ``start_s`` since the snapshot."""
        site, slot_s = self.site[pool], self.snapshot.slot_s
        reach = np.array([start_s, start_s + run_s]) / slot_s
        slot = np.minimum(np.floor(reach).astype(np.int64), self.axis - 1)
        rate = (self.price * self.pue)[site, slot] * slot_s / 3600
        paid = self._paid[site, slot] + rate * (reach - slot)
        return np.asarray(it_kw * (paid[1] - paid[0]))

    def fits_alone(self, job: PendingJob) -> bool:
        """Whether any start would be legal if no other pending job were there."""
        ask = self.ask(job)
        for i, p in enumerate(ask.pools.tolist()):
            starts = np.arange(ask.first, ask.last[i] + 1)
            if not len(starts):
                continue
            workers = self._workers(p, job.spec.per_worker)[starts]
            c, ends = int(self.site[p]), np.minimum(starts + ask.touched[i], self.axis)
            short = ask.kw[i] > self.power_kw[c] + TOLERANCE
            short |= ask.green_kw[i] > self.green_kw[c] + TOLERANCE
            counted = np.concatenate([[0], np.cumsum(short)])
            if ((workers >= job.spec.workers) & (counted[ends] == counted[starts])).any():
                return True
        return False

    def _workers(self, pool: int, shape: WorkerShape) -> Ints:
        """Workers of a shape that fit on the nodes of a pool, per slot."""
        need = np.array([shape.gpus, shape.cpus, shape.memory_gb], dtype=float)[:, None]
        asked = need[:, 0] > 0
        total = np.zeros(self.snapshot.slots, dtype=np.int64)
        for spot in self.spots[pool]:
            each = np.floor(spot.free[asked] / need[asked] + TOLERANCE).min(axis=0)
            total += spot.count * each.astype(np.int64)
        return total

    def _sampled(self, series: Series) -> Floats:
        starts = [self.snapshot.slot_at(slot) for slot in range(self.axis)]
        return np.array(series.sample(starts))

    def _spots(self) -> list[list[Spot]]:
        slots, held = self.snapshot.slots, defaultdict[str, list[tuple[int, WorkerShape]]](list)
        for attempt in self.snapshot.running:
            left_s = (attempt.expected_end_at - self.snapshot.now_at).total_seconds()
            until = max(1, math.ceil((left_s - TOUCH_S) / self.snapshot.slot_s))
            for name in attempt.nodes:
                held[name].append((min(until, slots), attempt.spec.per_worker))
        made = []
        for nodes in self.nodes:
            alike = Counter(
                ((n.gpus, n.cpus, n.memory_gb), tuple(held.get(n.id, ()))) for n in nodes
            )
            made.append(
                [Spot(count=n, free=_free(has, by, slots)) for (has, by), n in alike.items()]
            )
        return made

    def _room(self) -> Floats:
        slots = self.snapshot.slots
        room = np.full((len(self.pools), RESOURCES, self.axis), np.inf)
        for p, spots in enumerate(self.spots):
            room[p, :, :slots] = 0.0
            for spot in spots:
                for b, size in enumerate(BLOCKS):
                    room[p, b, :slots] += spot.count * np.floor(spot.free[0] / size + TOLERANCE)
                room[p, len(BLOCKS) :, :slots] += spot.count * spot.free[1:]
        return room

    def _power(self) -> tuple[Floats, Floats]:
        """IT power left under the cap, and of the green supply."""
        power = np.full((len(self.sites), self.axis), np.inf)
        green = np.stack([self._sampled(site.green_supply_kw) for site in self.sites]) / self.pue
        for c, site in enumerate(self.sites):
            if site.power_cap_kw is not None:
                power[c] = site.power_cap_kw / self.pue[c]
        kw_of = {node.id: node.gpu_power_kw for node in self.snapshot.nodes}
        index = {site.cluster: c for c, site in enumerate(self.sites)}
        for attempt in self.snapshot.running:
            left_s = (attempt.expected_end_at - self.snapshot.now_at).total_seconds()
            until = max(1, math.ceil((left_s - TOUCH_S) / self.snapshot.slot_s))
            kw = sum(kw_of[name] for name in attempt.nodes) * attempt.spec.per_worker.gpus
            power[index[attempt.cluster], :until] -= kw
            green[index[attempt.cluster], :until] -= kw * (attempt.spec.min_green_share or 0.0)
        return np.maximum(power, 0.0), np.maximum(green, 0.0)

    def _open_to(self, spec: JobSpec) -> tuple[Ints, Floats]:
        """The pools near enough whose model a job accepts, and its speed on each."""
        key = (spec.accelerators, spec.region, spec.max_rtt_ms)
        if key not in self._open:
            most_ms = math.inf if spec.max_rtt_ms is None else spec.max_rtt_ms
            near = np.array([site.rtt[spec.region].p95_ms <= most_ms for site in self.sites])
            speeds = np.array([spec.speed_on(model) or 0.0 for _, model in self.pools])
            pools = np.flatnonzero((speeds > 0) & near[self.site])
            self._open[key] = (pools, speeds[pools])
        return self._open[key]

    def _staged_gb(self, spec: JobSpec, staged_s: Floats) -> Floats:
        """GB over the link in each slot of a run as long as data come; shape (p, slots)."""
        slot_s = self.snapshot.slot_s
        slots = max(1, math.ceil(staged_s.max(initial=0.0) / slot_s))
        covered_s = np.clip(staged_s[:, None] - np.arange(slots) * slot_s, 0.0, slot_s)
        size_gb = sum(data.size_gb for data in spec.data)
        return np.asarray(size_gb * covered_s / np.maximum(staged_s[:, None], TOUCH_S))


def _gbps(site: Site, region: str) -> float:
    return next(link.bandwidth_gbps for link in site.links if link.peer == region)


def needs(spec: JobSpec) -> Floats:
    """What a gang takes of a pool's RESOURCES."""
    shape = spec.per_worker
    each = [*(shape.gpus // size for size in BLOCKS), shape.cpus, shape.memory_gb]
    return spec.workers * np.array(each, dtype=float)


def _free(
    has: tuple[float, float, float], held: tuple[tuple[int, WorkerShape], ...], slots: int
) -> Floats:
    free = np.repeat(np.array(has, dtype=float)[:, None], slots, axis=1)
    for until, shape in held:
        free[:, :until] -= np.array([shape.gpus, shape.cpus, shape.memory_gb])[:, None]
    return free
