"""A clairvoyant lower bound on the energy cost of a case: no schedule can spend less.

All arrivals and real lengths are known. Each job runs in one of the pools that may hold it and
starts, at any moment, between its arrival and the end of its allowed delay (or when the first of
the compared policies started it, if that was later). What couples jobs is relaxed to
one family of constraints, the accelerators of a pool at every moment; each row (pool, cell of
time) has a price λ ≥ 0 in yuan per accelerator-hour. For any λ

    L(λ) = Σ_job min over (pool, start) of ∫ (power × PUE × tariff + accelerators × λ) dt
           - Σ_rows λ × accelerators × hours

is a lower bound (weak duality), so the best of a few dozen subgradient steps is one too. Rates are
constant within a cell, so a job's cost is piecewise linear in its start: its minimum lies where
the start or the end meets the edge of a cell, and the inner minimum is exact in continuous time.
λ = 0 gives every job its own optimum, the bound of a world without capacity limits.

A job that some compared policy ran in several runs may be split here at will, in its cheapest
cells between its arrival and its latest end under any policy: a fractional knapsack, again a
relaxation.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.job import JobSpec, JobState
from scheduler.replay.case import ReplayCase, ReplayJob
from scheduler.replay.curves import Curve, Floats
from scheduler.replay.fleet import Fleet, Option, PoolView
from scheduler.replay.outcome import Outcome, Run

Ints = NDArray[np.int64]
ITERATIONS = 60
# A step's length is cut after so many steps that gained nothing.
PATIENCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Of ``jobs`` jobs, those that some compared policy ran. ``independent_yuan`` is the bound
    without capacity limits. They hold for every schedule that runs all these jobs and starts none
    later than its ``max_delay_s`` allows, or than the first of the compared policies did: a policy
    that starts jobs later than they allow may buy below the bound."""

    energy_yuan: float
    independent_yuan: float
    jobs: int


@dataclass(frozen=True, slots=True)
class _Whole:
    """Jobs that run in one piece in a pool. A row is one start of one job (rows are grouped by
    job; ``first`` is where each group
    begins, ``group`` the one of each row, ``of`` a group's job); times in epoch seconds."""

    start_s: Floats
    end_s: Floats
    size: Floats
    first: Ints
    group: Ints
    of: Ints


@dataclass(frozen=True, slots=True)
class _Split:
    """A job that may run in pieces, in any of its pools, between two times. ``size``: accelerators,
    or cores where it is not ``accelerated``."""

    accelerated: bool
    ready_s: float
    end_s: float
    size: float
    work_s: float
    options: tuple[Option, ...]


def lower_bound(outcomes: Sequence[Outcome], energy_yuan: float) -> Bound:
    """The bound for some outcomes of one case.

    Args:
        energy_yuan: what the energy of the first outcome cost: how far the steps try to go. It has
            no part in the proof.
    """
    problem = _Problem(outcomes)
    prices = np.zeros_like(problem.capacity_h)
    best, gain, used_h = -np.inf, 1.0, prices
    independent, idle = 0.0, 0
    for step in range(ITERATIONS):
        value, used_h = problem.value(prices)
        if step == 0:
            independent = value
        idle = 0 if value > best else idle + 1
        best = max(best, value)
        if idle >= PATIENCE:
            gain, idle = gain / 2, 0
        # Rows are scaled by their capacity, or the large pools would decide alone.
        scale = np.maximum(problem.capacity_h, 1e-9)
        slope = (used_h - problem.capacity_h) / scale
        slope[(prices <= 0) & (slope < 0)] = 0.0
        steep = float((slope**2 * scale).sum())
        if steep <= 0 or energy_yuan <= best:
            break
        prices = np.maximum(prices + gain * (energy_yuan - value) / steep * slope, 0.0)
    return Bound(energy_yuan=best, independent_yuan=independent, jobs=problem.jobs)


class _Problem:
    """The case as arrays: cells of time, what a size costs in each, every option of every job."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        case = outcomes[0].case
        self._fleet = Fleet(case.world.nodes, case.world.sites)
        runs: dict[str, list[Run]] = defaultdict(list)
        for outcome in outcomes:
            for run in outcome.runs:
                runs[run.job_id].append(run)
        started = {run.job_id: run for run in reversed(outcomes[0].runs)}
        several = {run.job_id for runs_of in runs.values() for run in runs_of if run.stopped}
        done = {k for o in outcomes for k, s in o.states.items() if s is JobState.SUCCEEDED}
        jobs = [(j, self._fleet.options(j.spec)) for j in case.jobs if j.id in done]
        self.jobs = len(jobs)
        latest = [_latest_s(job, started.get(job.id)) for job, _ in jobs]
        self._edges_s = self._cells(case, jobs, latest)
        self._hours = np.diff(self._edges_s) / 3600
        self._rates = {kind: self._rate(kind) for kind in (True, False)}
        gpus = self._fleet.capacity[:, 0]
        have = np.array([gpus[pool.rows].sum() for pool in self._fleet.pools])
        self.capacity_h = have[:, None] * self._hours
        self._splits: list[_Split] = []
        self._wholes: dict[tuple[int, bool], list[tuple[int, Floats, float, float]]] = {}
        for number, ((job, options), latest_s) in enumerate(zip(jobs, latest, strict=True)):
            if job.id in several:
                self._split(job, options, max(r.ended_at.timestamp() for r in runs[job.id]))
            else:
                self._whole(number, job, options, latest_s)
        self._packed = {key: _pack(entries) for key, entries in self._wholes.items()}

    def value(self, prices: Floats) -> tuple[float, Floats]:
        """L(λ), and the accelerator-hours that its minimum uses; shapes (pools, cells)."""
        least, owner = np.full(self.jobs, np.inf), np.full(self.jobs, -1, dtype=np.int64)
        rows = np.zeros(self.jobs, dtype=np.int64)
        for key, whole in self._packed.items():
            rate = self._rates[key[1]][key[0]] + (prices[key[0]] if key[1] else 0.0)
            sums = np.concatenate(([0.0], np.cumsum(rate * self._hours)))
            low = np.interp(whole.start_s, self._edges_s, sums)
            cost = (np.interp(whole.end_s, self._edges_s, sums) - low) * whole.size
            best, row = _least(cost, whole)
            less = best < least[whole.of]
            jobs = whole.of[less]
            least[jobs], rows[jobs], owner[jobs] = best[less], row[less], key[0]
        used_h = np.zeros_like(prices)
        for (pool, accelerated), whole in self._packed.items():
            if accelerated:
                mine = rows[whole.of[owner[whole.of] == pool]]
                held = self._held(whole.start_s[mine], whole.end_s[mine], whole.size[mine])
                used_h[pool] += held
        total = float(least[owner >= 0].sum())
        for split in self._splits:
            total += self._knapsack(split, prices, used_h)
        return total - float((prices * self.capacity_h).sum()), used_h

    def _held(self, start_s: Floats, end_s: Floats, size: Floats) -> Floats:
        """Size × hours in each cell."""
        if not len(start_s):
            return np.zeros_like(self._hours)
        times_s = np.concatenate((start_s, end_s))
        order = np.argsort(times_s, kind="stable")
        level = np.cumsum(np.concatenate((size, -size))[order])
        return np.asarray(np.diff(_before(times_s[order], level, self._edges_s)))

    def _knapsack(self, split: _Split, prices: Floats, used_h: Floats) -> float:
        """The cheapest cells for a job's work; enters what they use."""
        low = np.maximum(self._edges_s[:-1], split.ready_s)
        open_s = np.maximum(np.minimum(self._edges_s[1:], split.end_s) - low, 0.0)
        pools = [o.pool.index for o in split.options]
        speeds = np.array([o.speed for o in split.options])
        rates = self._rates[split.accelerated][pools]
        if split.accelerated:
            rates = rates + prices[pools]
        yuan_per_work_s = (rates / 3600 / speeds[:, None]).ravel()
        work_s = (open_s * speeds[:, None]).ravel()
        order = np.argsort(yuan_per_work_s, kind="stable")
        done = np.minimum(np.cumsum(work_s[order]), split.work_s)
        took_s = np.diff(done, prepend=0.0)
        if split.accelerated:
            hours = np.zeros(len(order))
            hours[order] = took_s / np.repeat(speeds, len(open_s))[order] / 3600
            used_h[pools] += split.size * hours.reshape(len(pools), -1)
        return split.size * float((took_s * yuan_per_work_s[order]).sum())

    def _rate(self, accelerated: bool) -> Floats:
        """Yuan per hour of one accelerator (or core) under load; shape (pools, cells)."""
        rates = []
        for pool in self._fleet.pools:
            yuan = self._fleet.curves[pool.cluster].yuan.at(self._edges_s[:-1])
            rates.append(yuan * _least_kw(self._fleet, pool, accelerated))
        return np.array(rates).reshape(len(rates), len(self._hours))

    def _cells(
        self, case: ReplayCase, jobs: Sequence[tuple[ReplayJob, object]], latest: Sequence[float]
    ) -> Floats:
        """Edges of the slots and of every tariff, from the first arrival to the last end."""
        if not jobs:
            return np.array([0.0, 1.0])
        begin_s = min(job.submitted_at.timestamp() for job, _ in jobs)
        longest = [self._longest_s(job) for job, _ in jobs]
        end_s = max(t + s for t, s in zip(latest, longest, strict=True))
        slots = np.arange(begin_s // case.slot_s, end_s // case.slot_s + 2) * case.slot_s
        curves: list[Curve] = [c.yuan for c in self._fleet.curves.values()]
        inner = [c.edges_s[(c.edges_s > slots[0]) & (c.edges_s < slots[-1])] for c in curves]
        return np.unique(np.concatenate([slots, *inner]))

    def _longest_s(self, job: ReplayJob) -> float:
        return max(o.stage_s + job.actual_s / o.speed for o in self._fleet.options(job.spec))

    def _whole(
        self, number: int, job: ReplayJob, options: Sequence[Option], latest_s: float
    ) -> None:
        """Enters every start that may be a job's best."""
        ready_s = _ready_s(job)
        for option in options:
            takes_s = option.stage_s + job.actual_s / option.speed
            edges_s = self._edges_s
            low, high = np.searchsorted(edges_s, [ready_s, latest_s])
            begun = edges_s[low:high]
            low, high = np.searchsorted(edges_s, [ready_s + takes_s, latest_s + takes_s])
            starts_s = np.concatenate(([ready_s, latest_s], begun, edges_s[low:high] - takes_s))
            key = (option.pool.index, job.spec.gpus > 0)
            entry = (number, starts_s, takes_s, _size(job.spec))
            self._wholes.setdefault(key, []).append(entry)

    def _split(self, job: ReplayJob, options: tuple[Option, ...], end_s: float) -> None:
        accelerated, size = job.spec.gpus > 0, _size(job.spec)
        ready_s = _ready_s(job)
        self._splits.append(_Split(accelerated, ready_s, end_s, size, job.actual_s, options))


def _pack(entries: Sequence[tuple[int, Floats, float, float]]) -> _Whole:
    lengths = np.array([len(starts) for _, starts, _, _ in entries])
    start_s = np.concatenate([starts for _, starts, _, _ in entries])
    takes_s = np.repeat([takes for _, _, takes, _ in entries], lengths)
    return _Whole(
        start_s=start_s,
        end_s=start_s + takes_s,
        size=np.repeat([size for *_, size in entries], lengths),
        first=np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64),
        group=np.repeat(np.arange(len(lengths)), lengths),
        of=np.array([number for number, *_ in entries], dtype=np.int64),
    )


def _least(cost: Floats, whole: _Whole) -> tuple[Floats, Ints]:
    """The least of each group and the row it stands in."""
    best = np.minimum.reduceat(cost, whole.first)
    hit = np.flatnonzero(cost <= best[whole.group])
    _, at = np.unique(whole.group[hit], return_index=True)
    return best, hit[at].astype(np.int64)


def _before(times_s: Floats, level: Floats, edges_s: Floats) -> Floats:
    """The integral, up to each edge, of a level that changes at some times; in hours."""
    sums = np.concatenate(([0.0], np.cumsum(level[:-1] * np.diff(times_s))))
    piece = np.searchsorted(times_s, edges_s, "right") - 1
    at = np.maximum(piece, 0)
    after = np.where(piece >= 0, (edges_s - times_s[at]) * level[at], 0.0)
    return np.asarray((sums[at] + after) / 3600)


def _latest_s(job: ReplayJob, run: Run | None) -> float:
    """The latest start that the job allows, or its first start under the first policy."""
    allowed_s = _ready_s(job) + job.spec.max_delay_s
    return max(allowed_s, run.started_at.timestamp()) if run is not None else allowed_s


def _ready_s(job: ReplayJob) -> float:
    return max(job.submitted_at, job.spec.earliest_start_at or job.submitted_at).timestamp()


def _size(spec: JobSpec) -> float:
    """Accelerators of the gang, or its cores where it has none."""
    return float(spec.gpus or spec.workers * spec.per_worker.cpus)


def _least_kw(fleet: Fleet, pool: PoolView, accelerated: bool) -> float:
    """The draw of one accelerator (or core) on the most frugal node of a pool."""
    nodes = [fleet.nodes[int(row)] for row in pool.rows]
    powers: list[float] = [n.gpu_power_kw if accelerated else n.cpu_power_kw for n in nodes]
    return min(powers)
