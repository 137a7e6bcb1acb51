"""Our planner on the case: one round per arrival, with the carbon of the grid as its price.

There is no limit of capacity, so the rounds do not meet, and what a round decides for a job, a
later one would decide again: nothing that it looks at has changed. So each job is planned when it
arrives, alone, and starts when that plan says.
"""

from dataclasses import dataclass
from pathlib import Path

from bench.gaia.rules import DATA, START_AT, TICK_S, Case, Run
from policies.weights import Weights
from scheduler.planner.pipeline import plan
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay import world
from scheduler.replay.case import ReplayJob, ReplayWorld
from scheduler.replay.traces import gaia

WORLD = Path(__file__).resolve().parents[1] / "data" / "worlds" / "gaia.yaml"
TRACE = "pai_1k.csv"
QUARTER_S = 900.0
# Above any carbon that a later start could save, so that none is later than the rules allow.
NEVER_YUAN = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The runs that the planner chose, and the sum of what it certified as the least carbon."""

    runs: list[Run]
    bound: float


def planned(
    case: Case, *, exact: bool, slot_s: float = QUARTER_S, wait_per_cpu_h: float = 0.0
) -> Planned:
    """Plans every job at its arrival: it starts then, or at the beginning of a later slot.

    Args:
        exact: lengths are known; else the average of the job's queue is.
        wait_per_cpu_h: carbon that an hour's wait of one CPU is worth.
    """
    weights = Weights(
        nongreen_yuan_per_kwh=0.0,
        defer_yuan_per_gpu_hour=wait_per_cpu_h * Weights().cpus_per_gpu,
        late_yuan_per_gpu_hour=NEVER_YUAN,
        late_yuan_per_run_gpu_hour=NEVER_YUAN,
    )
    grid = world.load(WORLD).world
    jobs = {
        int(job.id): job for job in gaia.read(DATA / TRACE, start_at=START_AT, exact=exact).jobs
    }
    runs, bound = [], 0.0
    for task in case.tasks:
        job = jobs[task.id]
        answer = plan(_snapshot(job, grid, slot_s), weights=weights)
        (place,) = answer.placements
        start = (place.start_at - START_AT).total_seconds() / TICK_S
        runs.append(Run(task, round(start), task.length))
        bound += answer.bound_yuan
    return Planned(runs=runs, bound=bound)


def _snapshot(job: ReplayJob, grid: ReplayWorld, slot_s: float) -> Snapshot:
    """What a round sees when one job has just arrived."""
    return Snapshot(
        now_at=job.submitted_at,
        slot_s=slot_s,
        slots=int(job.spec.max_delay_s // slot_s) + 2,
        jobs=(PendingJob(id=job.id, spec=job.spec, submitted_at=job.submitted_at),),
        running=(),
        nodes=grid.nodes,
        sites=grid.sites,
        regions=grid.regions,
    )
