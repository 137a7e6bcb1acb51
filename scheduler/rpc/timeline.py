"""What is known of the hours to come: load, price and green supply slot by slot, and who starts.

Nothing is planned for it: it adds up what runs, what the last rounds planned, and what agents tell
of price and supply. There may be tens of thousands of jobs, so they are read in pieces, and calls
are answered in between.
"""

import asyncio
import heapq
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.clock import Clock
from scheduler.domain.fleet import Node, Site
from scheduler.domain.job import Job
from scheduler.domain.round import PlacementRecord
from scheduler.domain.series import Series, constant
from scheduler.domain.span import Span
from scheduler.domain.validation import Violation
from scheduler.planning.values import as_of, running_attempt
from scheduler.rpc import convert_jobs, convert_nodes, convert_placements
from scheduler.rpc.errors import invalid, not_found
from scheduler.state.load import worker_kw
from westward.v1 import timeline_pb2

HOURS_DEFAULT = 24
HOURS_MOST = 48
STARTS_DEFAULT = 20
STARTS_MOST = 1000
# What is read before other calls have their turn: about a millisecond's worth.
AT_ONCE = 100
NODES_AT_ONCE = 2000
SITES_AT_ONCE = 2

Item = TypeVar("Item")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Slots from the one that a time lies in."""

    start_s: float
    slot_s: float
    slots: int

    @classmethod
    def around(cls, now_at: datetime, slot_s: float, hours: int) -> "Grid":
        """So many hours from now on, and the slot that now lies in."""
        start_s = now_at.timestamp() // slot_s * slot_s
        slots = -int((start_s - now_at.timestamp() - hours * 3600) // slot_s)
        return cls(start_s, slot_s, slots)

    @property
    def start_at(self) -> datetime:
        return datetime.fromtimestamp(self.start_s, UTC)

    @property
    def end_at(self) -> datetime:
        return self.start_at + timedelta(seconds=self.slot_s * self.slots)

    def values(self, series: Series) -> Floats:
        """What holds at the beginning of each slot, (slots,)."""
        ahead_s = self.start_s - series.start_at.timestamp() + np.arange(self.slots) * self.slot_s
        index = np.clip(ahead_s // series.step_s, 0, len(series.values) - 1).astype(np.int64)
        values: Floats = np.array(series.values, dtype=np.float64)[index]
        return values


@dataclass(slots=True)
class Spans:
    """Spans of time in which something is used of a cluster, and what their means per slot are."""

    # Numpy takes these over as they are.
    row: "array[int]" = field(default_factory=lambda: array("q"))
    start_s: "array[float]" = field(default_factory=lambda: array("d"))
    end_s: "array[float]" = field(default_factory=lambda: array("d"))
    gpus: "array[float]" = field(default_factory=lambda: array("d"))
    kw: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, row: int, span: Span, gpus: float, kw: float) -> None:
        """Notes that so much is used of the cluster of a row."""
        self.row.append(row)
        self.start_s.append(span.start_at.timestamp())
        self.end_s.append(span.end_at.timestamp())
        self.gpus.append(gpus)
        self.kw.append(kw)

    def means(self, grid: Grid, rows: int) -> tuple[Floats, Floats]:
        """Accelerators and kW, each (rows, slots)."""
        size = grid.slots + 1
        changes = np.zeros((2, rows * size))
        for sign, times_s in ((1.0, self.start_s), (-1.0, self.end_s)):
            slots = (np.array(times_s) - grid.start_s) / grid.slot_s
            slots = np.clip(slots, 0.0, grid.slots)
            whole = np.minimum(slots.astype(np.int64), grid.slots - 1)
            later = slots - whole  # the part of the slot that has passed by then
            index = np.array(self.row, dtype=np.int64) * size + whole
            for n, amount in enumerate((self.gpus, self.kw)):
                weight = sign * np.array(amount)
                changes[n] += np.bincount(index, weight * (1 - later), minlength=rows * size)
                changes[n] += np.bincount(index + 1, weight * later, minlength=rows * size)
        sums = changes.reshape(2, rows, size).cumsum(axis=2)[:, :, : grid.slots]
        # Sums of parts leave dust where nothing is.
        gpus, kw = np.maximum(np.round(sums, 6), 0.0)
        return gpus, kw


class Known(Protocol):
    """What agents have told."""

    def sites(self) -> dict[str, Site]: ...

    def nodes(self) -> tuple[Node, ...]: ...


class Timelines:
    """Answers from what the parts know."""

    def __init__(
        self,
        active: Mapping[str, Job],
        fleet: Known,
        planned: Callable[[], Sequence[PlacementRecord]],
        clock: Clock,
        slot_s: float,
    ) -> None:
        """``active``: all jobs that are not final, a live view; ``planned`` gives what is planned
        and not committed."""
        self._active = active
        self._fleet = fleet
        self._planned = planned
        self._clock = clock
        self._slot_s = slot_s

    async def timeline(
        self, request: timeline_pb2.TimelineRequest
    ) -> timeline_pb2.TimelineResponse:
        """One answer.

        Raises:
            StatusError: the hours are out of range, or the cluster is not known.
        """
        now_at = self._clock.now()
        grid = Grid.around(now_at, self._slot_s, _hours(request))
        sites = self._sites(request.cluster)
        row = {cluster: n for n, cluster in enumerate(sites)}
        nodes, gpus = dict[str, Node](), Counter[str]()
        async for node in _in_pieces(self._fleet.nodes(), NODES_AT_ONCE):
            nodes[node.id] = node
            gpus[node.cluster] += node.gpus
        running = await self._running(row, grid, nodes, now_at)
        planned, starts = await self._ahead(row, grid)
        busy, it_kw = running.means(grid, len(sites))
        await _others()
        held, door_kw = planned.means(grid, len(sites))
        await _others()
        answer = timeline_pb2.TimelineResponse(
            now_at=convert_jobs.stamp(now_at),
            power_clock=convert_nodes.power_clock(self._clock),
            start_at=convert_jobs.stamp(grid.start_at),
            slot_s=grid.slot_s,
            starts_total=len(starts),
        )
        async for n, site in _in_pieces(enumerate(sites.values()), SITES_AT_ONCE):
            made = _cluster(site, grid, it_kw[n], door_kw[n])
            made.gpus_total = gpus[site.cluster]
            made.gpus_busy.extend(busy[n].tolist())
            made.gpus_planned.extend(held[n].tolist())
            answer.clusters.append(made)
        most = min(request.starts or STARTS_DEFAULT, STARTS_MOST)
        first = heapq.nsmallest(most, starts)
        async for _, job_id, record in _in_pieces(first, AT_ONCE):
            if job := self._active.get(job_id):
                answer.starts.append(_planned_job(job, record))
        return answer

    def _sites(self, cluster: str) -> Mapping[str, Site]:
        sites = self._fleet.sites()
        if not cluster:
            return sites
        if cluster not in sites:
            known = ", ".join(sites) or "none yet"
            raise not_found(f"no cluster {cluster!r} has reported; known: {known}")
        return {cluster: sites[cluster]}

    async def _running(
        self, row: Mapping[str, int], grid: Grid, nodes: Mapping[str, Node], now_at: datetime
    ) -> Spans:
        """What attempts hold until they are expected to end, in the slot of now as if all along;
        kW without PUE."""
        spans = Spans()
        async for job in _in_pieces(list(self._active.values()), AT_ONCE):
            attempt = job.attempt
            if attempt is None or not job.state.live or attempt.cluster not in row:
                continue
            held = as_of(running_attempt(job, attempt), now_at)
            kw = sum(worker_kw(job.spec.per_worker, nodes[n]) for n in attempt.nodes if n in nodes)
            until = Span(grid.start_at, max(held.expected_end_at, now_at))
            spans.add(row[attempt.cluster], until, job.spec.gpus, kw)
        return spans

    async def _ahead(
        self, row: Mapping[str, int], grid: Grid
    ) -> tuple[Spans, list[tuple[float, str, PlacementRecord]]]:
        """What planned runs will hold, kW at the door, and which of them start when."""
        spans, starts, end_at = Spans(), list[tuple[float, str, PlacementRecord]](), grid.end_at
        async for record in _in_pieces(self._planned(), AT_ONCE):
            job = self._active.get(record.job_id)
            if job is None or record.cluster not in row or record.start_at >= end_at:
                continue
            starts.append((record.start_at.timestamp(), record.job_id, record))
            hours = sum(run.seconds for run in record.runs) / 3600
            for run in record.runs:
                kw = record.energy_kwh / hours if hours > 0 else 0.0
                spans.add(row[record.cluster], run, job.spec.gpus, kw)
        return spans, starts


async def _in_pieces(items: Iterable[Item], size: int) -> AsyncIterator[Item]:
    """The items; others have their turn after each so many."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await _others()


async def _others() -> None:
    """Lets whatever else is due have its turn."""
    await asyncio.sleep(0)  # no waiting: the event loop goes round once


def _hours(request: timeline_pb2.TimelineRequest) -> int:
    if request.hours > HOURS_MOST:
        raise invalid([Violation("hours", f"{request.hours} is not 1 to {HOURS_MOST}")])
    return request.hours or HOURS_DEFAULT


def _cluster(
    site: Site, grid: Grid, running_it_kw: Floats, planned_kw: Floats
) -> timeline_pb2.ClusterTimeline:
    pue, green_kw = grid.values(site.pue), grid.values(site.green_supply_kw)
    load_kw = np.round(running_it_kw * pue + planned_kw, 6)
    carbon = site.grid_carbon_g_per_kwh
    grid_g = grid.values(carbon if isinstance(carbon, Series) else constant(carbon, grid.start_at))
    return timeline_pb2.ClusterTimeline(
        name=site.cluster,
        load_kw=load_kw.tolist(),
        green_supply_kw=green_kw.tolist(),
        # Whatever its minimum share, all load takes of the supply as far as it goes: the planner's
        # ledger gives minimum shares first, and then the rest to all.
        green_allocated_kw=np.minimum(load_kw, green_kw).tolist(),
        price_yuan_per_kwh=grid.values(site.price_yuan_per_kwh).tolist(),
        grid_carbon_g_per_kwh=grid_g.tolist(),
        pue=pue.tolist(),
    )


def _planned_job(job: Job, record: PlacementRecord) -> timeline_pb2.PlannedJob:
    return timeline_pb2.PlannedJob(
        job_id=job.id,
        job_name=job.spec.name,
        tenant=job.spec.tenant,
        region=job.spec.region,
        cluster=record.cluster,
        accelerator=record.accelerator,
        gpus=job.spec.gpus,
        runs=[convert_placements.span_to_pb(run) for run in record.runs],
    )
