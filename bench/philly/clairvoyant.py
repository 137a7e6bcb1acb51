"""One plan that knows every job before it comes: how near a schedule can come to the bound at all.

All jobs are handed to the planner at once, each to start no earlier than it arrives, with energy as
the only thing that costs, later starts than a job allows aside. What that plan costs is above the
best that can be done, and the bound below it: the bound is loose by their difference at most, and
what the replay costs beside it is the price of not knowing what comes.
"""

from dataclasses import replace
from datetime import timedelta

from policies.weights import Weights
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay.case import ReplayCase
from scheduler.replay.fleet import Fleet

# Enough for ties to go to the earlier start.
TIE_YUAN_PER_GPU_HOUR = 1e-5
ENERGY_ALONE = Weights(nongreen_yuan_per_kwh=0.0, defer_yuan_per_gpu_hour=TIE_YUAN_PER_GPU_HOUR)
BUDGET = Budget(explained=0, dual_passes=120, tries=24, sweeps=6, looks=4_000_000)


def energy_yuan(case: ReplayCase) -> float | None:
    """What the energy of all jobs costs under that plan; None if it leaves some without a place."""
    last_at = max(j.submitted_at + timedelta(seconds=j.spec.max_delay_s) for j in case.jobs)
    span_s = (last_at - case.start_at).total_seconds()
    jobs = tuple(
        PendingJob(
            id=job.id,
            spec=replace(
                job.spec,
                earliest_start_at=max(
                    job.submitted_at, job.spec.earliest_start_at or job.submitted_at
                ),
                expected_duration_s=job.actual_s,
            ),
            submitted_at=job.submitted_at,
        )
        for job in case.jobs
    )
    made = plan(
        Snapshot(
            now_at=case.start_at,
            slot_s=case.slot_s,
            slots=int(span_s // case.slot_s) + 1,
            jobs=jobs,
            running=(),
            nodes=case.world.nodes,
            sites=case.world.sites,
            regions=case.world.regions,
        ),
        BUDGET,
        weights=ENERGY_ALONE,
    )
    if len(made.placements) < len(jobs):
        return None
    fleet, specs = (
        Fleet(case.world.nodes, case.world.sites),
        {job.id: job.spec for job in case.jobs},
    )
    total = 0.0
    for placed in made.placements:
        pool = next(
            p
            for p in fleet.pools
            if (p.cluster, p.accelerator) == (placed.cluster, placed.accelerator)
        )
        yuan = fleet.curves[placed.cluster].yuan
        total += pool.it_kw(specs[placed.job_id]) * yuan.integral(
            placed.start_at.timestamp(), placed.end_at.timestamp()
        )
    return total
