"""The jobs of a case: drawn from the trace by a seed until they make up a load.

What the trace has stays: job types with their measured speeds, sizes, lengths, tenants, and when in
the week jobs come. Seven busy weeks are folded onto one, and jobs are drawn from them. Lengths are
cut at 36 h, since a third of the accelerator-hours would else be runs longer than the replay.
What the trace lacks, wishes and origins, is drawn here; the shares are illustrative.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from scheduler.domain.job import DataInput, JobSpec
from scheduler.replay.case import ReplayCase, ReplayJob
from scheduler.replay.traces import philly
from scheduler.replay.traces.trace import in_order
from scheduler.replay.world import WorldFile

T = TypeVar("T")

DATA = Path(__file__).resolve().parents[1] / "data"
WORLD = DATA / "worlds" / "hubs.yaml"
MODELS = {"v100": "A800", "p100": "910B", "k80": "MLU370"}
FIRST_DAY, WEEKS = 7, 7
WEEK = timedelta(days=7)
LONGEST_S = 36 * 3600.0
# Tariffs change by the hour and runs take hours: rounds by the half hour, two days ahead.
SLOT_S, HORIZON_SLOTS = 1800.0, 96

# Of the wishes, the share of jobs that has each.
ORIGINS = {"beijing": 0.3, "shanghai": 0.25, "shenzhen": 0.2, "guangzhou": 0.15, "hangzhou": 0.1}
DELAYS_S = {2 * 3600.0: 0.10, 8 * 3600.0: 0.45, 48 * 3600.0: 0.45}
RTTS_MS: dict[float | None, float] = {15.0: 0.15, 25.0: 0.35, None: 0.5}
GREEN_SHARES: dict[float | None, float] = {None: 0.7, 0.35: 0.1, 0.5: 0.1, 0.6: 0.1}
# Lognormal, in GB; at the job's origin.
DATA_MEDIAN_GB, DATA_SIGMA, DATA_MOST_GB = math.e, 1.8, 2000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The folded trace, and what the accelerators of the world are worth to it.

    Attributes:
        jobs: a week of them, without wishes.
        capacity: accelerators of the reference model that would do as much.
    """

    jobs: tuple[ReplayJob, ...]
    capacity: float


def pattern(world: WorldFile) -> Pattern:
    """The week that cases are drawn from."""
    trace = philly.read(
        DATA / "gavel" / "philly_vc_traces_seed0.csv.gz",
        DATA / "gavel" / "isolated_throughputs.csv",
        start_at=world.start_at,
        region=next(iter(ORIGINS)),
        models=MODELS,
    )
    first_at = world.start_at + timedelta(days=FIRST_DAY)
    jobs = tuple(
        _shortened(replace(job, submitted_at=world.start_at + (job.submitted_at - first_at) % WEEK))
        for job in trace.jobs
        if first_at <= job.submitted_at < first_at + WEEKS * WEEK
    )
    return Pattern(jobs=jobs, capacity=_capacity(jobs, world))


def _shortened(job: ReplayJob) -> ReplayJob:
    actual_s = min(job.actual_s, LONGEST_S)
    return replace(job, actual_s=actual_s, spec=replace(job.spec, expected_duration_s=actual_s))


def gpu_hours(job: ReplayJob) -> float:
    """On the reference model."""
    return job.spec.gpus * job.actual_s / 3600


def _capacity(jobs: Sequence[ReplayJob], world: WorldFile) -> float:
    """Every accelerator counts as fast as the jobs are on it on average, by GPU-hours."""
    total = sum(map(gpu_hours, jobs))
    speeds = {
        model: sum(gpu_hours(job) * (job.spec.speed_on(model) or 0.0) for job in jobs) / total
        for model in MODELS.values()
    }
    return sum(node.gpus * speeds[node.accelerator] for node in world.world.nodes)


def case(
    world: WorldFile, week: Pattern, *, load: float, seed: int, days: float = 7.0
) -> ReplayCase:
    """Jobs that ask for a load of the world's capacity over the first days of the week.

    Args:
        load: GPU-hours on the reference model ÷ those that the world has in that time.
    """
    draw = random.Random(f"philly {seed}")  # a seed for a bench, no secret
    end_at = world.start_at + timedelta(days=days)
    pool = [job for job in week.jobs if job.submitted_at < end_at]
    draw.shuffle(pool)
    wanted = load * week.capacity * days * 24
    jobs: list[ReplayJob] = []
    for job in pool:
        if wanted <= 0:
            break
        wanted -= gpu_hours(job)
        jobs.append(replace(job, spec=_with_wishes(job.spec, draw)))
    if wanted > 0:
        asked = load * week.capacity * days * 24
        raise ValueError(
            f"load {load:g} over {days:g} days asks for {asked:,.0f} GPU-hours, {wanted:,.0f} more "
            "than the trace has then; take a lower load or more days"
        )
    return ReplayCase(
        name=f"philly, load {load:g}, seed {seed}",
        world=world.world,
        jobs=in_order(jobs),
        start_at=world.start_at,
        slot_s=SLOT_S,
        horizon_slots=HORIZON_SLOTS,
    )


def _with_wishes(spec: JobSpec, draw: random.Random) -> JobSpec:
    region = _one_of(draw, ORIGINS)
    size_gb = draw.lognormvariate(math.log(DATA_MEDIAN_GB), DATA_SIGMA)
    return replace(
        spec,
        region=region,
        max_delay_s=_one_of(draw, DELAYS_S),
        max_rtt_ms=_one_of(draw, RTTS_MS),
        min_green_share=_one_of(draw, GREEN_SHARES),
        data=(DataInput(min(size_gb, DATA_MOST_GB), region),),
    )


def _one_of(draw: random.Random, shares: dict[T, float]) -> T:
    return draw.choices(list(shares), weights=list(shares.values()))[0]
