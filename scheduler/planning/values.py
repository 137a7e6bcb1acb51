"""Between the job book's values and the planner's: what a round sees and what it leaves behind."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.domain.explanation import Explanation
from scheduler.domain.job import STOPPING_STATES, Attempt, AttemptState, Job
from scheduler.domain.reason import ReasonCode
from scheduler.domain.remaining import assumed_s, run_s
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PendingJob, RunningAttempt
from scheduler.planning.messages import Decided

# What ends an attempt so much before its work is done is a planned pause.
PAUSE_LEAST_S = 1.0


def least_s(job: Job) -> float:
    """How long what is left of the job takes where it is fastest."""
    options = job.spec.accelerators if job.spec.per_worker.gpus else ()
    best = max((option.relative_speed for option in options), default=1.0)
    return run_s(job.spec, job.done_s, best)


def pending_job(job: Job) -> PendingJob:
    """A job that waits, as the planner sees it."""
    gave_way = job.reason.code in (
        ReasonCode.PREEMPTED,
        ReasonCode.MIGRATED,
        ReasonCode.PAUSED,
        ReasonCode.DRAINED,
    )
    return PendingJob(
        id=job.id,
        spec=job.spec,
        submitted_at=job.created_at,
        not_before_at=job.not_before_at,
        attempts=len(job.attempts),
        done_s=job.done_s,
        stopped=job.reason if gave_way else None,
    )


def running_attempt(job: Job, attempt: Attempt) -> RunningAttempt:
    """What an attempt holds, as the planner sees it; it ends as long after its start as planned,
    and within its grace if it was asked to stop."""
    started_at = attempt.started_at or attempt.assigned_at
    end_at = started_at + (attempt.expected_end_at - attempt.assigned_at)
    rest_s = 0.0
    if job.state in STOPPING_STATES:
        end_at = min(end_at, job.updated_at + timedelta(seconds=job.spec.stop_grace_s))
    elif job.spec.interruptible:
        unbroken_s = run_s(job.spec, job.done_s, job.spec.speed_on(attempt.accelerator) or 1.0)
        rest_s = unbroken_s - (end_at - started_at).total_seconds()
    return RunningAttempt(
        attempt_id=attempt.id,
        job_id=job.id,
        spec=job.spec,
        cluster=attempt.cluster,
        accelerator=attempt.accelerator,
        nodes=attempt.nodes,
        started_at=started_at,
        expected_end_at=end_at,
        state=job.state,
        done_s=job.done_s,
        submitted_at=job.created_at,
        rest_s=rest_s if rest_s > PAUSE_LEAST_S else 0.0,
    )


def as_of(attempt: RunningAttempt, now_at: datetime) -> RunningAttempt:
    """The attempt with the end that it is taken to have now: what was to pause by now goes on, and
    what overruns is taken to last longer."""
    if attempt.leaving or attempt.expected_end_at > now_at:
        return attempt
    expected_s = (attempt.unbroken_end_at - attempt.started_at).total_seconds()
    ran_s = (now_at - attempt.started_at).total_seconds()
    return replace(
        attempt,
        expected_end_at=attempt.started_at + timedelta(seconds=assumed_s(expected_s, ran_s)),
        rest_s=0.0,
        overruns_s=max(ran_s - expected_s, 0.0),
    )


def next_attempt(job: Job, placement: Placement, at: datetime) -> Attempt:
    """The attempt that a placement makes, assigned now."""
    number = len(job.attempts) + 1
    return Attempt(
        id=f"{job.id}-{number}",
        job_id=job.id,
        number=number,
        epoch=number,
        state=AttemptState.ASSIGNED,
        cluster=placement.cluster,
        accelerator=placement.accelerator,
        nodes=placement.nodes,
        assigned_at=at,
        expected_end_at=at + timedelta(seconds=placement.runs[0].seconds),
        energy_kwh=placement.energy_kwh * placement.first_share,
    )


def placement_record(
    placement: Placement, attempt_id: str | None, explanation: Explanation, round_id: int
) -> PlacementRecord:
    """A placement as it is remembered; without an attempt it is only planned."""
    energy_kwh = placement.energy_kwh
    return PlacementRecord(
        job_id=placement.job_id,
        attempt_id=attempt_id,
        cluster=placement.cluster,
        accelerator=placement.accelerator,
        nodes=placement.nodes,
        start_at=placement.start_at,
        end_at=placement.end_at,
        energy_kwh=energy_kwh,
        green_share=placement.green_kwh / energy_kwh if energy_kwh > 0 else 0.0,
        cost_yuan=placement.cost_yuan,
        carbon_kg=placement.carbon_kg,
        saving=explanation.saving,
        round_id=round_id,
        pauses=placement.pauses if attempt_id is None else (),
    )


def round_record(
    decided: Decided,
    *,
    at: datetime,
    trigger: str,
    placed: int,
    wall_ms: float,
    quick: bool = False,
) -> RoundRecord:
    """A round as it is remembered."""
    return RoundRecord(
        id=decided.round_id,
        at=at,
        trigger=trigger,
        jobs=decided.jobs,
        placed=placed,
        planned=decided.planned,
        unplaced=decided.unplaced,
        objective_yuan=decided.objective_yuan,
        bound_yuan=decided.bound_yuan,
        gap=decided.gap,
        wall_ms=wall_ms,
        stages=tuple((stage.name, stage.ms) for stage in decided.stages),
        reasons=decided.reasons,
        interruptions=dict(Counter(one.kind.value for one in decided.interruptions)),
        running=decided.running,
        nodes=decided.nodes,
        clusters=decided.clusters,
        moved=decided.moved,
        kept=decided.kept,
        quick=quick,
    )
