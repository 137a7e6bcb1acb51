"""What policies judge: the snapshot as arrays.

Times are seconds since the beginning of slot 0. K classes of jobs, P pools, C sites, S slots in
which a run may start, A ≥ S slots in which it may go on. The last slot of the axis stands for
everything after it.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from policies.weights import Weights
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import JobSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# An overlap of a run with a slot that is shorter than this does not count.
OVERLAP_S = 1e-3
# Resource figures closer than this are equal.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class JobClass:
    """Jobs that no rule can tell apart. ``jobs`` are indices into the snapshot, oldest first.

    ``ready_s`` is when they may start, ``overdue_s`` from when on waiting is not allowed any more
    (on a slot's beginning), ``deadline_s`` when they must have ended (inf: never); ``done_s`` is
    the work that ended attempts have kept, in seconds at relative speed 1.
    """

    spec: JobSpec
    jobs: tuple[int, ...]
    ready_s: float
    overdue_s: float
    deadline_s: float
    done_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Nodes of one cluster with one accelerator model; power figures are their greatest.

    ``nodes`` are those that take new work, ``known`` all of them. ``free_*`` have the shape
    (nodes, S + 1): what running attempts leave free, never falling over time; the last column is
    the empty node.
    """

    cluster: str
    accelerator: str
    site: int
    nodes: tuple[Node, ...]
    known: tuple[Node, ...]
    gpu_power_kw: float
    cpu_power_kw: float
    free_gpus: Floats
    free_cpus: Floats
    free_memory_gb: Floats

    def room(self, spec: JobSpec) -> Ints:
        """Workers of the job that fit on the nodes, per slot; shape (S + 1,)."""
        shape = spec.per_worker
        fits = np.full(self.free_gpus.shape, float(spec.workers))
        for need, free in (
            (float(shape.gpus), self.free_gpus),
            (shape.cpus, self.free_cpus),
            (shape.memory_gb, self.free_memory_gb),
        ):
            if need > 0:
                np.minimum(fits, np.floor(free / need + TOLERANCE), out=fits)
        return np.asarray(fits.sum(axis=0), dtype=np.int64)


def room_when_empty(nodes: Iterable[Node], spec: JobSpec) -> int:
    """Workers of the job that would fit on empty nodes."""
    shape, room = spec.per_worker, 0
    needs = (float(shape.gpus), shape.cpus, shape.memory_gb)
    for node in nodes:
        has = (float(node.gpus), node.cpus, node.memory_gb)
        fits = [int(h / n + TOLERANCE) for n, h in zip(needs, has, strict=True) if n > 0]
        room += min([spec.workers, *fits])
    return room


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """A site over the axis; each array has the shape (A,). Power and energy are at the door.

    ``running_kw`` is the draw of what runs, in every slot it touches; ``running_held_kw`` the
    green supply it holds; ``running_kwh`` its energy from now on, ``running_held_kwh`` of it held.
    """

    site: Site
    price_yuan_per_kwh: Floats
    pue: Floats
    green_kw: Floats
    running_kw: Floats
    running_held_kw: Floats
    running_kwh: Floats
    running_held_kwh: Floats


@dataclass(frozen=True, slots=True)
class PoolClaim:
    """A pool in which attempts were stopped for a job that has not started yet."""

    pool: int
    job_id: str
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a policy may look at. ``hours`` is what is left of each slot, shape (A,).

    ``run_s``, ``stage_s`` (of it: until the data have arrived) and ``it_kw`` have the shape
    (K, P); a run is infinitely long where the job cannot run at all. ``claims`` are pools that are
    being freed, with the priority of the job for which.
    """

    start_at: datetime
    slot_s: float
    now_s: float
    slots: int
    hours: Floats
    classes: tuple[JobClass, ...]
    pools: tuple[Pool, ...]
    sites: tuple[SiteView, ...]
    regions: dict[str, Region]
    run_s: Floats
    stage_s: Floats
    it_kw: Floats
    weights: Weights
    claims: tuple[PoolClaim, ...] = ()

    @property
    def axis(self) -> int:
        return len(self.hours)

    def site_of(self, pool: int) -> SiteView:
        return self.sites[self.pools[pool].site]

    def time_at(self, since_s: float) -> datetime:
        """The time that lies so many seconds after the beginning of slot 0."""
        return self.start_at + timedelta(seconds=since_s)

    def clock(self, since_s: float) -> str:
        """That time as people read it: with its zone, and with the date where it is not today."""
        when = self.time_at(since_s)
        form = "%H:%M:%S %Z" if self.slot_s % 60 else "%H:%M %Z"
        if when.date() != self.time_at(self.now_s).date():
            form = "%Y-%m-%d " + form
        return when.strftime(form)

    def judge(
        self, key: Callable[[JobSpec], Hashable], allowed: Callable[[JobSpec], Iterable[bool]]
    ) -> Bools:
        """Which pools are allowed, (K, P), judged once for all classes of equal key."""
        known: dict[Hashable, list[bool]] = {}
        rows = []
        for klass in self.classes:
            here = key(klass.spec)
            if here not in known:
                known[here] = list(allowed(klass.spec))
            rows.append(known[here])
        return np.array(rows, dtype=bool).reshape(len(self.classes), len(self.pools))

    def size(self, klass: int) -> float:
        """Accelerators of the gang, or what its cores weigh."""
        return self.weights.size(self.classes[klass].spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time for every option. It touches the slots from the option's own up to ``last``
    (exclusive, at most A); hours are what it covers of the first and of the last slot it touches,
    and of the time beyond the axis. Shapes (m, S).
    """

    last: Ints
    head_h: Floats
    tail_h: Floats
    beyond_h: Floats

    def touched(self, row: int, slot: int, hours: Floats) -> tuple[slice, Floats]:
        """The slots one option touches, and the hours it covers of each."""
        last = int(self.last[row, slot])
        span = hours[slot:last].copy()
        span[-1] = self.tail_h[row, slot]
        span[0] = self.head_h[row, slot]
        return slice(slot, last), span

    def integral(self, rate: Floats, hours: Floats, rows: Ints | slice) -> Floats:
        """∫ rate dt over the windows of some rows, beyond the axis left out.

        Args:
            rate: per hour; shape (A,), the same for all of these rows.
            hours: of each slot; shape (A,).
        Returns:
            Shape (rows, S).
        """
        last = self.last[rows]
        slots = last.shape[1]
        summed = np.concatenate(([0.0], np.cumsum(rate * hours)))
        total = summed[last] - summed[:slots]
        total -= (hours[:slots] - self.head_h[rows]) * rate[:slots]
        many = last > np.arange(1, slots + 1)
        total -= np.where(many, (hours[last - 1] - self.tail_h[rows]) * rate[last - 1], 0.0)
        return np.asarray(total, dtype=np.float64)

    def any_slot(self, flags: Bools, rows: Ints | slice) -> Bools:
        """Whether a flag is up in a slot that the windows of some rows touch.

        Args:
            flags: shape (rows, A), or (A,) for all of these rows.
        Returns:
            Shape (rows, S).
        """
        last = self.last[rows]
        slots = last.shape[1]
        counted = np.zeros((*flags.shape[:-1], flags.shape[-1] + 1), dtype=np.int32)
        np.cumsum(flags, axis=-1, out=counted[..., 1:])
        if flags.ndim == 1:
            return np.asarray(counted[last] > counted[:slots])
        return np.asarray(np.take_along_axis(counted, last, axis=1) > counted[:, :slots])


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Pairs of a class and a pool, sorted by class, with a start in every slot.

    ``klass`` and ``pool`` have the shape (m,), ``start_s`` (m, S). ``stage`` is the part of
    ``run`` in which the data arrive.
    """

    klass: Ints
    pool: Ints
    site: Ints
    it_kw: Floats
    run_s: Floats
    start_s: Floats
    run: Window
    stage: Window

    def per_site(self) -> list[tuple[int, Ints]]:
        """Each site with the rows of its pairs."""
        return [(int(site), np.flatnonzero(self.site == site)) for site in np.unique(self.site)]


def window(start_s: Floats, length_s: Floats, slot_s: float, hours: Floats) -> Window:
    """Windows of a length (m,) from starts (m, S)."""
    axis, slots = len(hours), start_s.shape[1]
    first = np.arange(slots)
    end_s = start_s + length_s[:, None]
    last = np.ceil((end_s - OVERLAP_S) / slot_s)
    last = np.clip(last, first + 1, axis).astype(np.int64)
    head_s = np.minimum(end_s, (first + 1) * slot_s) - start_s
    tail_s = np.minimum(end_s, last * slot_s) - (last - 1) * slot_s
    return Window(
        last=last,
        head_h=np.maximum(head_s, 0.0) / 3600,
        tail_h=np.where(last > first + 1, tail_s, head_s) / 3600,
        beyond_h=np.maximum(end_s - axis * slot_s, 0.0) / 3600,
    )
