"""What a replay cost and how well it served: exact sums over what really ran."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from scheduler.domain.job import JobState
from scheduler.replay.case import ReplayCase, ReplayJob
from scheduler.replay.fleet import Fleet
from scheduler.replay.green import Energy, RunKey, share_green
from scheduler.replay.outcome import Outcome, RoundNote, Run

# Below this a job's length does not count in its slowdown: the usual bound (Feitelson and
# Rudolph, Metrics and Benchmarking for Parallel Job Scheduling, 1998).
SLOWDOWN_LEAST_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job under one policy. Energy is at the door; money is energy at its tariff, and transfer.
    ``wait_s`` is from submission (or the earliest start) to the first start; None: never started.
    ``slowdown`` is the time from then to the end against the fastest run in this world. Of several
    runs the place is the last one's. ``late``: it waited longer than ``max_delay_s`` and a slot.
    """

    policy: str
    job_id: str
    tenant: str
    state: str
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cluster: str
    accelerator: str
    gpus: int
    runs: int
    run_s: float
    wait_s: float | None
    slowdown: float | None
    energy_kwh: float
    green_kwh: float
    energy_yuan: float
    transfer_yuan: float
    carbon_kg: float
    late: bool
    deadline_missed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How the rounds went. ``gap`` figures are None for a policy that proves nothing; ``moved``
    is the share of later starts, planned in the round before, that a round moved; see
    ``stability``."""

    count: int
    p50_ms: float
    p99_ms: float
    total_s: float
    gap_mean: float | None
    gap_most: float | None
    stops: int
    moved_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One policy. An unplaced job has never started; its GPU-hours are those of the fastest run in
    this world. Utilisation is of accelerators, of cores where there are none, from the first
    submission to the end of the last run."""

    policy: str
    jobs: int
    energy_yuan: float
    transfer_yuan: float
    energy_kwh: float
    green_kwh: float
    green_share: float
    carbon_kg: float
    wait_mean_s: float
    wait_p95_s: float
    slowdown_mean: float
    slowdown_p95: float
    late_jobs: int
    deadline_misses: int
    unplaced_jobs: int
    unplaced_gpu_hours: float
    utilisation: float
    makespan_s: float
    rounds: Rounds
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A policy's figures, and its jobs' in the order of the case."""

    metrics: Metrics
    rows: tuple[JobRow, ...]


def measure(outcome: Outcome) -> Measured:
    """Everything that a report says of one policy."""
    fleet = Fleet(outcome.case.world.nodes, outcome.case.world.sites)
    energy = share_green(outcome, fleet)
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in outcome.runs:
        runs[run.job_id].append(run)
    rows = tuple(
        _row(outcome, fleet, job, runs.get(job.id, []), energy) for job in outcome.case.jobs
    )
    return Measured(metrics=_metrics(outcome, fleet, rows), rows=rows)


def _row(
    outcome: Outcome,
    fleet: Fleet,
    job: ReplayJob,
    runs: Sequence[Run],
    energy: dict[RunKey, Energy],
) -> JobRow:
    spec = job.spec
    state = outcome.states.get(job.id, JobState.PENDING)
    ready_at = max(job.submitted_at, spec.earliest_start_at or job.submitted_at)
    ended_at = runs[-1].ended_at if state is JobState.SUCCEEDED else None
    wait_s = (runs[0].started_at - ready_at).total_seconds() if runs else None
    slowdown = None
    if ended_at is not None:
        least_s = max(fastest_s(fleet, job), SLOWDOWN_LEAST_S)
        slowdown = max(1.0, (ended_at - ready_at).total_seconds() / least_s)
    used = [energy[run.attempt_id] for run in runs]
    sites = outcome.case.world.sites
    missed = spec.deadline_at is not None and (ended_at is None or ended_at > spec.deadline_at)
    return JobRow(
        policy=outcome.policy,
        job_id=job.id,
        tenant=spec.tenant,
        state=state.value,
        submitted_at=job.submitted_at,
        started_at=runs[0].started_at if runs else None,
        ended_at=ended_at,
        cluster=runs[-1].cluster if runs else "",
        accelerator=runs[-1].accelerator if runs else "",
        gpus=spec.gpus,
        runs=len(runs),
        run_s=sum((run.ended_at - run.started_at).total_seconds() for run in runs),
        wait_s=wait_s,
        slowdown=slowdown,
        energy_kwh=sum(e.kwh for e in used),
        green_kwh=sum(e.green_kwh for e in used),
        energy_yuan=sum(e.yuan for e in used),
        transfer_yuan=sum(fleet.transfer_yuan(spec, sites[run.cluster]) for run in runs),
        carbon_kg=sum(e.carbon_kg for e in used),
        late=wait_s is not None and wait_s > spec.max_delay_s + outcome.case.slot_s,
        deadline_missed=missed,
    )


def fastest_s(fleet: Fleet, job: ReplayJob) -> float:
    """How long a job would take in the fastest pool of the world, data included; at speed 1 where
    no pool may run it."""
    options = fleet.options(job.spec)
    return min((o.stage_s + job.actual_s / o.speed for o in options), default=job.actual_s)


def _metrics(outcome: Outcome, fleet: Fleet, rows: Sequence[JobRow]) -> Metrics:
    waits = [row.wait_s for row in rows if row.wait_s is not None]
    slowdowns = [row.slowdown for row in rows if row.slowdown is not None]
    kwh, green_kwh = sum(r.energy_kwh for r in rows), sum(r.green_kwh for r in rows)
    unplaced = [j for j, r in zip(outcome.case.jobs, rows, strict=True) if not r.runs]
    return Metrics(
        policy=outcome.policy,
        jobs=len(rows),
        energy_yuan=sum(r.energy_yuan for r in rows),
        transfer_yuan=sum(r.transfer_yuan for r in rows),
        energy_kwh=kwh,
        green_kwh=green_kwh,
        green_share=green_kwh / kwh if kwh > 0 else 0.0,
        carbon_kg=sum(r.carbon_kg for r in rows),
        wait_mean_s=_mean(waits),
        wait_p95_s=_quantile(waits, 0.95),
        slowdown_mean=_mean(slowdowns),
        slowdown_p95=_quantile(slowdowns, 0.95),
        late_jobs=sum(r.late for r in rows),
        deadline_misses=sum(r.deadline_missed for r in rows),
        unplaced_jobs=len(unplaced),
        unplaced_gpu_hours=sum(j.spec.gpus * fastest_s(fleet, j) / 3600 for j in unplaced),
        utilisation=_utilisation(outcome.case, outcome.runs),
        makespan_s=_makespan_s(outcome.case, outcome.runs),
        rounds=_rounds(outcome.rounds),
        wall_s=outcome.wall_s,
    )


def _makespan_s(case: ReplayCase, runs: Sequence[Run]) -> float:
    if not runs:
        return 0.0
    return (max(r.ended_at for r in runs) - case.jobs[0].submitted_at).total_seconds()


def _utilisation(case: ReplayCase, runs: Sequence[Run]) -> float:
    """Of all accelerators (or cores) over the makespan, the part that was held by runs."""
    has_gpus = any(node.gpus for node in case.world.nodes)
    all_of_it = sum(node.gpus if has_gpus else node.cpus for node in case.world.nodes)
    specs = {job.id: job.spec for job in case.jobs}
    held = 0.0
    for run in runs:
        spec = specs[run.job_id]
        amount = spec.gpus if has_gpus else spec.workers * spec.per_worker.cpus
        held += amount * (run.ended_at - run.started_at).total_seconds()
    whole = all_of_it * _makespan_s(case, runs)
    return held / whole if whole > 0 else 0.0


def _rounds(notes: Sequence[RoundNote]) -> Rounds:
    times_ms = [note.wall_ms for note in notes]
    gaps = [note.gap for note in notes if note.gap is not None and note.jobs]
    kept = sum(note.kept for note in notes)
    return Rounds(
        count=len(notes),
        p50_ms=_quantile(times_ms, 0.5),
        p99_ms=_quantile(times_ms, 0.99),
        total_s=sum(times_ms) / 1000,
        gap_mean=_mean(gaps) if gaps else None,
        gap_most=max(gaps, default=None),
        stops=sum(note.stopped for note in notes),
        moved_share=sum(note.moved for note in notes) / kept if kept else 0.0,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed; 0 of none."""
    return float(np.quantile(values, share, method="inverted_cdf")) if values else 0.0
