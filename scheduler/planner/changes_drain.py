"""What runs on nodes that are emptied: what can go on elsewhere leaves at once, the rest ends."""

from collections.abc import Set
from dataclasses import replace
from datetime import timedelta

from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot


def without(snapshot: Snapshot, names: Set[str]) -> Snapshot:
    """The snapshot in which no attempt on one of the nodes goes on that can be stopped: its job
    waits, with all that it has done, until its grace is over. A gang leaves as a whole."""
    leaving = [a for a in snapshot.running if a.stoppable and not names.isdisjoint(a.nodes)]
    if not leaving:
        return snapshot
    gone = {attempt.attempt_id for attempt in leaving}
    rests = [_rest(attempt, snapshot) for attempt in leaving]
    return replace(
        snapshot,
        jobs=tuple(sorted([*snapshot.jobs, *rests], key=lambda job: job.id)),
        running=tuple(a for a in snapshot.running if a.attempt_id not in gone),
    )


def _rest(attempt: RunningAttempt, snapshot: Snapshot) -> PendingJob:
    """What is left of it, told to stop now. What it is to do within its grace does not count."""
    spec = attempt.spec
    ran_s = max((snapshot.now_at - attempt.started_at).total_seconds(), 0.0)
    worked_s = max(ran_s - (spec.restart_s if attempt.done_s > 0 else 0.0), 0.0)
    speed = spec.speed_on(attempt.accelerator) or 1.0
    told = f"What if {attempt.cluster} is drained: it goes on elsewhere."
    return PendingJob(
        id=attempt.job_id,
        spec=spec,
        submitted_at=attempt.submitted_at or attempt.started_at,
        not_before_at=snapshot.now_at + timedelta(seconds=spec.stop_grace_s),
        attempts=1,
        done_s=attempt.done_s + worked_s * speed,
        stopped=Reason(ReasonCode.DRAINED, told),
    )
