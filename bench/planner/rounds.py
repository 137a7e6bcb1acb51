"""What becomes of an instance by its next round: a slot later, with one job in twenty new."""

from dataclasses import replace
from datetime import timedelta

from bench.instances import Instance, build
from scheduler.planner.pipeline import Round
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, PlannedStart, RunningAttempt, Snapshot
from scheduler.planner.stability import changed

NEW_SHARE = 0.05
# The new jobs are those of an instance of another seed.
OTHER_SEED = 1_000_000


def next_round(instance: Instance, made: Round) -> Snapshot:
    """What started runs, what has ended is gone, new jobs are there, and the plan and its prices
    are remembered."""
    snapshot, plan = instance.snapshot, made.plan
    passed = timedelta(seconds=snapshot.slot_s)
    now_at = snapshot.now_at + passed
    jobs = {job.id: job for job in snapshot.jobs}
    starts = [placement for placement in plan.placements if placement.now]
    waiting = [placement for placement in plan.placements if not placement.now]
    started = {placement.job_id for placement in starts}
    running = (*snapshot.running, *(_attempt(jobs[p.job_id], p) for p in starts))
    return replace(
        snapshot,
        now_at=now_at,
        jobs=(
            *(job for job in snapshot.jobs if job.id not in started),
            *_new_jobs(instance, passed),
        ),
        running=tuple(attempt for attempt in running if attempt.expected_end_at > now_at),
        previous={p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at) for p in waiting},
        prices=made.prices,
    )


def moved_shares(snapshot: Snapshot, plan: Plan) -> tuple[float, float]:
    """Of the jobs for which the round before had planned a start that still lies ahead, the share
    that this plan starts later at another time or place, or not at all; and the share of those that
    need not wait for it any more and start now."""
    found = changed(snapshot.previous, snapshot.now_at, plan.placements)
    return found.moved_share, found.at_once / max(found.ahead, 1)


def _attempt(job: PendingJob, placement: Placement) -> RunningAttempt:
    return RunningAttempt(
        attempt_id=f"{job.id}-1",
        job_id=job.id,
        spec=job.spec,
        cluster=placement.cluster,
        accelerator=placement.accelerator,
        nodes=placement.nodes,
        started_at=placement.start_at,
        expected_end_at=placement.end_at,
    )


def _new_jobs(instance: Instance, passed: timedelta) -> list[PendingJob]:
    other = build(replace(instance.recipe, seed=instance.recipe.seed + OTHER_SEED))
    made = []
    for job in other.snapshot.jobs[:: round(1 / NEW_SHARE)]:
        spec = job.spec
        if spec.earliest_start_at is not None:
            spec = replace(spec, earliest_start_at=spec.earliest_start_at + passed)
        if spec.deadline_at is not None:
            spec = replace(spec, deadline_at=spec.deadline_at + passed)
        at = job.submitted_at + passed
        made.append(PendingJob(id=f"new-{job.id}", spec=spec, submitted_at=at))
    return made
