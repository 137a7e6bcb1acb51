"""Where a job could start now, by every hard rule: what the placers without a planner ask.

Worked out on its own, with plain arithmetic: nothing is shared with the planner or its policies.
A run counts in full in every slot it touches, as the checker has it.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.job import JobSpec, WorkerShape
from scheduler.domain.remaining import run_s
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot
from scheduler.replay.curves import Floats
from scheduler.replay.fleet import Fleet, Option, loads_gb

# A run touches a slot that it overlaps by more.
TOUCH_S = 1e-3
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A job could start now in a pool and would run for so long. ``fits`` are the workers that
    each node of the pool has room for; shape (nodes,)."""

    option: Option
    run_s: float
    fits: NDArray[np.int64]


class Options:
    """The pools where each job may ever run, found once per job; jobs alike share one tuple."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._options: dict[str, tuple[Option, ...]] = {}
        self._shapes: dict[str, int] = {}
        self._known: dict[tuple[WorkerShape, int], int] = {}

    def of(self, job: PendingJob) -> tuple[Option, ...]:
        if job.id not in self._options:
            self._options[job.id] = self.fleet.options(job.spec)
        return self._options[job.id]

    def shape(self, job: PendingJob) -> int:
        """A number for what a gang needs: its workers, and what each of them does."""
        if job.id not in self._shapes:
            needs = (job.spec.per_worker, job.spec.workers)
            self._shapes[job.id] = self._known.setdefault(needs, len(self._known))
        return self._shapes[job.id]


class Room:
    """What one round may give away; every ``take`` leaves less of it."""

    def __init__(self, options: Options, snapshot: Snapshot) -> None:
        self._options = options
        self._fleet = options.fleet
        self._snapshot = snapshot
        self.free = _free(self._fleet, snapshot.running)
        # Built only for sites where a limit or a green share asks for them.
        self._levels: dict[str, _Levels] = {}
        self._taken: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
        # GB by location, cluster and slot.
        self._carried_gb: dict[tuple[str, str, int], float] = defaultdict(float)
        # Shapes that a pool, or all of a job's pools, had no room for: they will have none later
        # in this round either. Long queues are passed over so.
        self._full: set[tuple[int, int]] = set()
        self._all_full: set[tuple[int, int]] = set()
        self._since_s = (snapshot.now_at - snapshot.start_at).total_seconds()
        self._carry_running()

    def ready(self) -> list[PendingJob]:
        """Jobs that may start now by their own times, the oldest first."""
        now_at = self._snapshot.now_at
        jobs = [
            job
            for job in self._snapshot.jobs
            if (job.spec.earliest_start_at is None or job.spec.earliest_start_at <= now_at)
            and (job.not_before_at is None or job.not_before_at <= now_at)
        ]
        return sorted(jobs, key=lambda job: (job.submitted_at, job.id))

    def starts(self, job: PendingJob, options: tuple[Option, ...] | None = None) -> Iterator[Start]:
        """The pools where a job could start now, in the order of the world, as they are asked for.

        Args:
            options: look at these only; a tuple that outlives the round.
        """
        spec, shape = job.spec, self._options.shape(job)
        options = self._options.of(job) if options is None else options
        if (shape, id(options)) in self._all_full:
            return
        for option in options:
            key = (shape, option.pool.index)
            if key in self._full:
                continue
            takes_s = option.stage_s + run_s(spec, job.done_s, option.speed)
            if not self._in_time(job, takes_s):
                continue
            fits = self._fleet.fits(option.pool, spec, self.free)
            if fits.sum() < spec.workers:
                self._full.add(key)
            elif self._powered(job, option, takes_s) and self._linked(job, option):
                yield Start(option, takes_s, fits)
        if all((shape, option.pool.index) in self._full for option in options):
            self._all_full.add((shape, id(options)))

    def take(self, job: PendingJob, start: Start, rows: Sequence[int]) -> Placement:
        """Starts a job now; ``rows[rank]`` is the node of each worker in the fleet."""
        spec, pool = job.spec, start.option.pool
        shape = spec.per_worker
        amounts = (shape.gpus, shape.cpus, shape.memory_gb)
        np.subtract.at(self.free, np.array(rows), np.array(amounts, dtype=np.float64))
        share, it_kw = spec.min_green_share or 0.0, pool.it_kw(spec)
        span = self._span(start.run_s)
        held_kw = share * it_kw * self._site(pool.cluster).pue_most(span) if share else 0.0
        self._taken[pool.cluster].append((span, it_kw, share))
        if pool.cluster in self._levels:
            self._levels[pool.cluster].add([(span, it_kw, share)])
        for key, gb in self._crossing(job, start.option):
            self._carried_gb[key] += gb
        began_s = self._snapshot.now_at.timestamp()
        curves = self._fleet.curves[pool.cluster]
        kwh = it_kw * curves.pue.integral(began_s, began_s + start.run_s)
        site = self._fleet.sites[pool.cluster]
        carbon_g_per_kwh = site.carbon_g_per_kwh_at(self._snapshot.now_at)
        return Placement(
            job_id=job.id,
            cluster=pool.cluster,
            accelerator=pool.accelerator,
            start_at=self._snapshot.now_at,
            end_at=self._snapshot.now_at + timedelta(seconds=start.run_s),
            now=True,
            nodes=tuple(self._fleet.nodes[row].id for row in rows),
            energy_kwh=kwh,
            green_kwh=share * kwh,
            green_held_kw=held_kw,
            cost_yuan=it_kw * curves.yuan.integral(began_s, began_s + start.run_s),
            carbon_kg=(1 - share) * kwh * carbon_g_per_kwh / 1000,
        )

    def price(self, cluster: str) -> float:
        """What a kWh costs at a site now, in yuan."""
        return self._fleet.curves[cluster].price.one_at(self._snapshot.now_at.timestamp())

    def window_yuan(self, start: Start) -> float:
        """The mean price of a kWh at a site over the time of a run, in yuan."""
        began_s = self._snapshot.now_at.timestamp()
        curve = self._fleet.curves[start.option.pool.cluster].price
        return curve.integral(began_s, began_s + start.run_s) / (start.run_s / 3600)

    def _in_time(self, job: PendingJob, takes_s: float) -> bool:
        deadline_at = job.spec.deadline_at
        if deadline_at is None:
            return True
        return takes_s <= (deadline_at - self._snapshot.now_at).total_seconds() + ROUNDING

    def _span(self, takes_s: float) -> int:
        """How many slots a run from now on touches."""
        return max(1, math.ceil((self._since_s + takes_s - TOUCH_S) / self._snapshot.slot_s))

    def _powered(self, job: PendingJob, option: Option, takes_s: float) -> bool:
        """The power cap and the green supply hold in every slot of the run."""
        site = self._fleet.sites[option.pool.cluster]
        share = job.spec.min_green_share or 0.0
        if site.power_cap_kw is None and not share:
            return True
        levels, span = self._site(site.cluster), self._span(takes_s)
        levels.reach(span)
        it_kw, pue = option.pool.it_kw(job.spec), levels.pue[:span]
        load_kw = (levels.kw[:span] + it_kw) * pue
        cap_kw = math.inf if site.power_cap_kw is None else site.power_cap_kw
        if it_kw > 0 and (load_kw > cap_kw + ROUNDING).any():
            return False
        held_kw = (levels.held_kw[:span] + share * it_kw) * pue
        return not (share * it_kw > 0 and (held_kw > levels.green_kw[:span] + ROUNDING).any())

    def _linked(self, job: PendingJob, option: Option) -> bool:
        """Its data cross every link beside those of all that runs or starts in this round."""
        site = self._fleet.sites[option.pool.cluster]
        for (location, cluster, slot), gb in self._crossing(job, option):
            link = self._fleet.link(site, location)
            left_s = self._snapshot.slot_s - (self._since_s if slot == 0 else 0.0)
            most_gb = link.bandwidth_gbps * left_s / 8 if link is not None else 0.0
            if self._carried_gb[location, cluster, slot] + gb > most_gb * (1 + ROUNDING):
                return False
        return True

    def _crossing(
        self, job: PendingJob, option: Option
    ) -> Iterator[tuple[tuple[str, str, int], float]]:
        """(location, cluster, slot) and the GB that cross there if the job starts now."""
        return self._crossed(job.spec, option.pool.cluster, option.stage_s, self._since_s)

    def _carry_running(self) -> None:
        """Enters what still crosses for those that run."""
        for attempt in self._snapshot.running:
            site = self._fleet.sites[attempt.cluster]
            begun_s = (attempt.started_at - self._snapshot.start_at).total_seconds()
            stage_s = self._fleet.stage_s(attempt.spec, site)
            for key, gb in self._crossed(attempt.spec, attempt.cluster, stage_s, begun_s):
                self._carried_gb[key] += gb

    def _crossed(
        self, spec: JobSpec, cluster: str, stage_s: float, begun_s: float
    ) -> Iterator[tuple[tuple[str, str, int], float]]:
        """What crosses from now on of data that began to at a time, at an even pace."""
        slot_s, end_s = self._snapshot.slot_s, begun_s + stage_s
        begin_s = max(begun_s, self._since_s)
        if not begin_s < end_s < math.inf:
            return
        for location, size_gb in loads_gb(spec, self._fleet.sites[cluster]).items():
            for slot in range(math.ceil(end_s / slot_s)):
                low, high = max(begin_s, slot * slot_s), min(end_s, (slot + 1) * slot_s)
                yield (location, cluster, slot), size_gb * (high - low) / stage_s

    def _site(self, cluster: str) -> "_Levels":
        if cluster not in self._levels:
            levels = _Levels(self._fleet, cluster, self._snapshot)
            levels.add(self._taken[cluster])
            self._levels[cluster] = levels
        return self._levels[cluster]


class _Levels:
    """Of a site and the slots from now on: PUE, green supply, IT power, and what of it is promised
    to be green; shapes (slots,)."""

    def __init__(self, fleet: Fleet, cluster: str, snapshot: Snapshot) -> None:
        self._curves, self._slot_s = fleet.curves[cluster], snapshot.slot_s
        self._start_s = snapshot.start_at.timestamp()
        spans = []
        for attempt in snapshot.running:
            if attempt.cluster == cluster:
                end_s = attempt.expected_end_at.timestamp() - self._start_s
                span = max(1, math.ceil((end_s - TOUCH_S) / snapshot.slot_s))
                kw = fleet.run_kw(attempt.spec, attempt.nodes)
                spans.append((span, kw, attempt.spec.min_green_share or 0.0))
        self._sample(snapshot.slots)
        self.add(spans)

    def add(self, spans: Sequence[tuple[int, float, float]]) -> None:
        """Enters runs over their first slots, with their power and green share."""
        if not spans:
            return
        until, kw, share = np.array(spans, dtype=np.float64).T
        last = until.astype(np.int64) - 1
        self.reach(int(last.max()) + 1)
        for level, amount in ((self.kw, kw), (self.held_kw, kw * share)):
            ending = np.bincount(last, weights=amount, minlength=len(level))
            # What runs in a slot is all that ends in it or later.
            np.add(level, np.cumsum(ending[::-1])[::-1], out=level)

    def pue_most(self, span: int) -> float:
        """The highest PUE of the first slots."""
        self.reach(span)
        return float(self.pue[:span].max())

    def reach(self, slots: int) -> None:
        """Looks at so many slots at least."""
        if slots > len(self.kw):
            kw, held_kw = self.kw, self.held_kw
            self._sample(2 * slots)
            self.kw[: len(kw)], self.held_kw[: len(held_kw)] = kw, held_kw

    def _sample(self, slots: int) -> None:
        steps = np.arange(slots, dtype=np.float64)
        times_s = self._start_s + steps * self._slot_s
        self.pue: Floats = self._curves.pue.at(times_s)
        self.green_kw: Floats = self._curves.green_kw.at(times_s)
        self.kw: Floats = np.zeros(slots)
        self.held_kw: Floats = np.zeros(slots)


def _free(fleet: Fleet, running: Sequence[RunningAttempt]) -> Floats:
    """What running attempts leave of every node; shape (N, 3)."""
    rows, amounts = [], []
    for attempt in running:
        shape = attempt.spec.per_worker
        for name in attempt.nodes:
            rows.append(fleet.row[name])
            amounts.append((shape.gpus, shape.cpus, shape.memory_gb))
    free = fleet.capacity.copy()
    if rows:
        np.subtract.at(free, np.array(rows), np.array(amounts, dtype=np.float64))
    return np.maximum(free, 0.0)


def in_order(start: Start, workers: int) -> list[int]:
    """The first nodes of the pool that have room."""
    return _filled(start.option.pool.rows, start.fits, workers)


def tightest(start: Start, workers: int, free: Floats) -> list[int]:
    """The nodes with the least room first, so that whole nodes stay free for gangs."""
    rows = start.option.pool.rows
    order = np.lexsort((rows, free[rows, 1], free[rows, 0]))
    return _filled(rows[order], start.fits[order], workers)


def _filled(rows: NDArray[np.int64], fits: NDArray[np.int64], workers: int) -> list[int]:
    """One node per worker: each is filled before the next."""
    upto = int(np.searchsorted(np.cumsum(fits), workers)) + 1
    return [int(row) for row in np.repeat(rows[:upto], fits[:upto])[:workers]]
