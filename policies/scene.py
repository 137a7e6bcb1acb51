"""What policies judge: the snapshot as arrays.

Times are seconds since the beginning of slot 0. K classes of jobs, P pools, C sites, S slots in
which a run may start, A ≥ S slots in which it may go on, m pairs of a class and a pool. The last
slot of the axis stands for everything after it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from policies.classes import Classes, Key
from policies.rules import Rules
from policies.ways import Ways
from policies.weights import Weights
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import JobSpec
from scheduler.domain.rules import Maintenance

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.signedinteger[Any]]
Bools = npt.NDArray[np.bool_]

# An overlap of a run with a slot that is shorter than this does not count.
OVERLAP_S = 1e-3
# Resource figures closer than this are equal.
TOLERANCE = 1e-6
# Times beyond these years are told as their ends: a calendar ends with 9999, a day sooner or later
# by zone.
YEARS = (1000, 9998)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The classes as columns, each of shape (K,).

    ``workers`` times (``gpus``, ``cpus``, ``memory_gb``) is the gang; ``size`` its accelerators, or
    what its cores weigh; ``left_s`` its work to do at relative speed 1, ``resume_s`` what going on
    takes beside it. ``green_share`` is 0 where none is asked for, ``green_by_run``
    whether it holds over the run as a whole. ``speeds`` is a row of
    ``Scene.speeds``. ``gang`` numbers the distinct gangs; ``like`` (gangs,) is a class with each.
    """

    workers: Ints
    gpus: Ints
    cpus: Floats
    memory_gb: Floats
    size: Floats
    priority: Ints
    urgency: Floats
    green_share: Floats
    green_by_run: Bools
    ready_s: Floats
    overdue_s: Floats
    deadline_s: Floats
    left_s: Floats
    resume_s: Floats
    speeds: Ints
    gang: Ints
    like: Ints

    @property
    def idle_cores(self) -> Floats:
        """Cores of a worker that draw power of their own: those of workers without accelerators."""
        return np.where(self.gpus > 0, 0.0, self.cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Nodes by what they have when empty: ``has`` (n, 3) accelerators, cores and GB, ``count``
    (n,) of each."""

    has: Floats
    count: Ints

    def room(self, columns: Columns) -> Ints:
        """Workers of each class that fit on the empty nodes, at most its own; shape (K,)."""
        total, like = np.zeros(len(columns.like), dtype=np.int64), columns.like
        needs = (columns.gpus[like].astype(float), columns.cpus[like], columns.memory_gb[like])
        for has, count in zip(self.has, self.count.tolist(), strict=True):
            fits = columns.workers[like]
            for have, need in zip(has.tolist(), needs, strict=True):
                some = need > 0
                whole = np.floor(have / np.where(some, need, 1.0) + TOLERANCE)
                np.minimum(fits, np.where(some, whole, fits).astype(np.int64), out=fits)
            total += fits * count
        return np.asarray(total[columns.gang])


def shapes(has: Floats) -> Shapes:
    """Nodes (n, 3) by what they have."""
    rows, count = np.unique(has.reshape(-1, 3), axis=0, return_counts=True)
    return Shapes(has=rows, count=count.astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Nodes of one cluster with one accelerator model; power figures are their greatest.

    ``nodes`` are those that take new work, ``known`` all of them. ``free_*`` have the shape
    (nodes, S + 1): what running attempts leave free, never falling over time; the last column is
    the empty node. ``over`` (nodes, 3) is what they hold beyond what a node has: of one that has
    less now than when they started.
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
    over: Floats
    ready_shapes: Shapes
    known_shapes: Shapes

    @property
    def name(self) -> str:
        return f"{self.cluster}/{self.accelerator or 'cpu'}"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """A site over the axis; each array has the shape (A,). Power and energy are at the door.

    ``carbon_g_per_kwh`` is of energy that is not green. ``running_kw`` is the draw of what runs, in
    every slot it touches; ``running_held_kw`` the green supply it holds; ``running_kwh`` its energy
    from now on, ``running_held_kwh`` of it held. ``running_gb`` is what still comes here for what
    runs, in each slot, by where it lies.
    """

    site: Site
    price_yuan_per_kwh: Floats
    pue: Floats
    carbon_g_per_kwh: Floats
    green_kw: Floats
    running_kw: Floats
    running_held_kw: Floats
    running_kwh: Floats
    running_held_kwh: Floats
    running_gb: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class PoolClaim:
    """A pool in which attempts were stopped for a job that has not started yet."""

    pool: int
    job_id: str
    priority: int


@dataclass(frozen=True, slots=True)
class Closure:
    """Nodes of a pool, as rows of ``Pool.nodes``, in maintenance in some slots, (A,); ``whole`` if
    they are all that it has."""

    pool: int
    nodes: Ints
    slots: Bools
    whole: bool
    declared: Maintenance


@dataclass(frozen=True, slots=True)
class Quota:
    """The most accelerators that a tenant may hold, and those that its running jobs hold, (A,)."""

    tenant: str
    gpus: int
    running_gpus: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a policy may look at. ``hours`` is what is left of each slot, shape (A,).

    ``speeds`` (profiles, P) are relative speeds of jobs that accept the same accelerators, nan
    where a pool's is not among them. ``ways`` are those of the data, None if no class has any.
    ``claims`` are pools that are being freed, with the priority of the job for which. ``closures``
    are nodes in maintenance; where they are not the whole pool, nothing on them counts as free.
    """

    start_at: datetime
    slot_s: float
    now_s: float
    slots: int
    hours: Floats
    classes: Classes
    columns: Columns
    pools: tuple[Pool, ...]
    sites: tuple[SiteView, ...]
    regions: dict[str, Region]
    speeds: Floats
    ways: Ways | None
    rules: Rules
    claims: tuple[PoolClaim, ...] = ()
    closures: tuple[Closure, ...] = ()
    quotas: tuple[Quota, ...] = ()

    @property
    def weights(self) -> Weights:
        return self.rules.weights

    @property
    def axis(self) -> int:
        return len(self.hours)

    @property
    def site_of_pool(self) -> Ints:
        return np.array([pool.site for pool in self.pools], dtype=np.int64)

    def site_of(self, pool: int) -> SiteView:
        return self.sites[self.pools[pool].site]

    def time_at(self, since_s: float) -> datetime:
        """The time that lies so many seconds after the beginning of slot 0; what no calendar has
        is the first or the last that it may have."""
        try:
            when = self.start_at + timedelta(seconds=since_s)
        except OverflowError:
            pass
        else:
            if YEARS[0] <= when.year <= YEARS[1]:
                return when
        zone = self.start_at.tzinfo
        if since_s < 0:
            return datetime(YEARS[0], 1, 1, tzinfo=zone)
        return datetime(YEARS[1], 12, 31, 23, 59, tzinfo=zone)

    def clock(self, since_s: float) -> str:
        """That time as people read it: with its zone, and with the date where it is not today."""
        when = self.time_at(since_s)
        form = "%H:%M:%S %Z" if self.slot_s % 60 else "%H:%M %Z"
        if when.date() != self.time_at(self.now_s).date():
            form = "%Y-%m-%d " + form
        return when.strftime(form)

    def label(self, row: str, group: str, slot: int) -> str:
        """The name of one row, e.g. ``capacity/qingyang/A800/2026-11-20T12:00``."""
        when = self.time_at(slot * self.slot_s)
        form = "%Y-%m-%dT%H:%M:%S" if self.slot_s % 60 else "%Y-%m-%dT%H:%M"
        return f"{row}/{group}/{when.strftime(form)}"

    def judge(self, key: Key, allowed: Callable[[JobSpec], Iterable[bool]]) -> Bools:
        """Which pools are allowed, (K, P), judged once for all specs of equal key."""
        number, like = self.classes.numbering(key)
        rows = [list(allowed(spec)) for spec in like]
        return np.array(rows, dtype=bool).reshape(len(rows), len(self.pools))[number]

    def it_kw(self, klass: int, pool: int) -> float:
        """IT power of a gang in a pool."""
        where, columns = self.pools[pool], self.columns
        draw_kw = columns.gpus[klass] * where.gpu_power_kw
        if not columns.gpus[klass]:
            draw_kw = columns.cpus[klass] * where.cpu_power_kw
        return float(columns.workers[klass] * draw_kw)

    def it_of_class(self) -> Floats:
        """What draws power in each gang: accelerators, and cores of workers without; (K, 2)."""
        columns = self.columns
        return np.stack(
            [columns.workers * columns.gpus, columns.workers * columns.idle_cores], axis=1
        ).astype(float)

    def it_of_pool(self) -> Floats:
        """The kW of each of those; (P, 2)."""
        kw = [[pool.gpu_power_kw, pool.cpu_power_kw] for pool in self.pools]
        return np.array(kw, dtype=float).reshape(len(self.pools), 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Pairs:
    """Classes in pools, sorted by class and pool; each array has the shape (m,), but ``ready_s``
    (K,): when each class may start. A run takes ``run_s``, its first ``stage_s`` for its data.
    What rules find out about all of them can be kept as long as they live.
    """

    klass: Ints
    pool: Ints
    site: Ints
    stage_s: Floats
    run_s: Floats
    ready_s: Floats

    def start_s(self, rows: Ints | slice | int) -> Floats:
        """The earliest time of a start of some pairs; later ones lie at the beginnings of slots."""
        return np.asarray(self.ready_s[self.klass[rows]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time for every start of some pairs. It touches the slots from the start's own up to
    ``last`` (exclusive, at most A); hours are what it covers of the first and of the last slot it
    touches, and of the time beyond the axis. Shapes (n, S).
    """

    last: Ints
    head_h: Floats
    tail_h: Floats
    beyond_h: Floats

    def touched(self, row: int, slot: int, hours: Floats) -> tuple[slice, Floats]:
        """The slots one start touches, and the hours it covers of each."""
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


def window(start_s: Floats, length_s: Floats, slot_s: float, hours: Floats) -> Window:
    """Windows of a length (n,) from starts (n, S)."""
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
