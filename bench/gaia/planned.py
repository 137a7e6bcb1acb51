"""Our planner on the case, with the carbon of the grid as its price.

There is no limit of capacity, so jobs do not meet, and each can be planned when it arrives, alone,
and start when that plan says: then, or at the beginning of a later slot. A replay plans all that
wait at every round, and whenever there is one, a job may start "now": so it finds a little more
than slots alone allow.
"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bench.gaia.rules import DATA, START_AT, TICK_S, Case, Run
from policies.weights import Weights
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay import world
from scheduler.replay.case import ReplayCase, ReplayJob, ReplayWorld
from scheduler.replay.engine import replay
from scheduler.replay.placers.westward import Westward
from scheduler.replay.traces import gaia

WORLD = Path(__file__).resolve().parents[1] / "data" / "worlds" / "gaia.yaml"
TRACE = "pai_1k.csv"
QUARTER_S = 900.0
# As fine as a day of them can be searched: for jobs of the short queue, and for the others.
FINE_S = (10.0, 30.0)
# Jobs are planned one by one, so that none can be too much.
ENOUGH = Budget(split_states=10**10)
# Above any carbon that a later start could save, so that none is later than the rules allow.
NEVER_YUAN = 1e4


def planned(
    case: Case, *, exact: bool, slot_s: float = QUARTER_S, wait_per_cpu_h: float = 0.0
) -> list[Run]:
    """Plans every job at its arrival: it starts then, or at the beginning of a later slot.

    Args:
        exact: lengths are known; else the average of the job's queue is.
        wait_per_cpu_h: carbon that an hour's wait of one CPU is worth.
    """
    weights = never_late(wait_per_cpu_h)
    return _each_alone(case, exact=exact, slots_s=(slot_s, slot_s), weights=weights)


def paused(case: Case) -> list[Run]:
    """The same with exact lengths, where every job may be stopped and resumed at no cost, at the
    beginnings of FINE_S slots."""
    weights = replace(never_late(0.0), moving_yuan=0.0, lost_yuan_per_gpu_hour=0.0)
    return _each_alone(case, exact=True, slots_s=FINE_S, weights=weights, interruptible=True)


def _each_alone(
    case: Case,
    *,
    exact: bool,
    slots_s: tuple[float, float],
    weights: Weights,
    interruptible: bool = False,
) -> list[Run]:
    """Slots of the first length for jobs of the short queue, of the second for the others."""
    grid = world.load(WORLD).world
    jobs = {
        int(job.id): job for job in gaia.read(DATA / TRACE, start_at=START_AT, exact=exact).jobs
    }
    runs = []
    for task in case.tasks:
        job = jobs[task.id]
        job = replace(job, spec=replace(job.spec, interruptible=interruptible))
        slot_s = slots_s[job.spec.max_delay_s > gaia.SHORT_WAIT_S]
        answer = plan(_snapshot(job, grid, slot_s), ENOUGH, weights=weights)
        (place,) = answer.placements
        starts = [_tick(run.start_at) for run in place.runs]
        lengths = [round(run.seconds / TICK_S) for run in place.runs[:-1]]
        lengths.append(task.length - sum(lengths))
        runs += [Run(task, *run) for run in zip(starts, lengths, strict=True)]
    return runs


def _tick(at: datetime) -> int:
    return round((at - START_AT).total_seconds() / TICK_S)


def replayed(case: Case, *, exact: bool) -> list[Run]:
    """The runs of a whole replay, with a round for every arrival and every end."""
    place = world.load(WORLD)
    trace = gaia.read(DATA / TRACE, start_at=START_AT, exact=exact)
    here = {task.id for task in case.tasks}
    outcome = replay(
        ReplayCase(
            name="gaia",
            world=place.world,
            jobs=tuple(job for job in trace.jobs if int(job.id) in here),
            start_at=START_AT,
            slot_s=QUARTER_S,
            horizon_slots=int(gaia.LONG_WAIT_S // QUARTER_S) + 2,
        ),
        "westward",
        placer=Westward(weights=never_late(0.0)),
        gather_s=0.0,
    )
    started = {
        int(run.job_id): (run.started_at - START_AT).total_seconds() / TICK_S
        for run in outcome.runs
    }
    return [Run(task, round(started[task.id]), task.length) for task in case.tasks]


def never_late(wait_per_cpu_h: float) -> Weights:
    """Nothing counts but carbon and, where it is given, an hour's wait of one CPU."""
    return Weights(
        nongreen_yuan_per_kwh=0.0,
        defer_yuan_per_gpu_hour=wait_per_cpu_h * Weights().cpus_per_gpu,
        late_yuan_per_gpu_hour=NEVER_YUAN,
        late_yuan_per_run_gpu_hour=NEVER_YUAN,
    )


def _snapshot(job: ReplayJob, grid: ReplayWorld, slot_s: float) -> Snapshot:
    """What a round sees when one job has just arrived; it may begin to run for the last time as
    late as its longest wait and its length allow."""
    pauses_s = job.spec.expected_duration_s if job.spec.interruptible else 0.0
    return Snapshot(
        now_at=job.submitted_at,
        slot_s=slot_s,
        slots=int((job.spec.max_delay_s + pauses_s) // slot_s) + 2,
        jobs=(PendingJob(id=job.id, spec=job.spec, submitted_at=job.submitted_at),),
        running=(),
        nodes=grid.nodes,
        sites=grid.sites,
        regions=grid.regions,
    )
