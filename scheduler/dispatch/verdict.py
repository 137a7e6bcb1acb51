"""What an agent's observation of an attempt means for its job: pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.domain.arrays import Progress
from scheduler.domain.job import STOPPING_STATES, Attempt, AttemptState, Job, JobState
from scheduler.domain.progress import settled
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.retry import decide
from scheduler.domain.transitions import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One attempt as the head agent sees it; times in the power clock."""

    attempt_id: str
    epoch: int
    state: AttemptState
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: Reason | None = None
    tasks: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The event to apply to the job, with the attempt as it is after it."""

    event: Event
    reason: Reason
    attempt: Attempt
    not_before_at: datetime | None = None


def judge(job: Job, seen: Seen, *, at: datetime, speedup: float) -> Verdict | None:
    """What to do about an observation; None when it tells nothing new or is of another epoch.

    An agent's clock may be wrong: its times count as far as they lie between the assignment and
    now.

    Args:
        at: now, in the power clock, for ends that carry no time.
        speedup: seconds of the power clock per real second, for the back-off.
    """
    attempt = job.attempt
    if attempt is None or attempt.id != seen.attempt_id or attempt.epoch != seen.epoch:
        return None
    if not job.state.live:
        return None
    started_at = attempt.started_at
    if started_at is None and (seen.started_at or seen.state is AttemptState.RUNNING):
        started_at = _believed(attempt, seen.started_at, at)
    after = replace(
        attempt,
        state=seen.state,
        started_at=started_at,
        exit_code=seen.exit_code,
        reason=seen.reason,
    )
    if seen.state.final:
        ended = replace(after, ended_at=_believed(attempt, seen.ended_at, at))
        return _ended(job, ended, at=at, speedup=speedup)
    if seen.state is AttemptState.RUNNING:
        return _running(job, after)
    if job.state is JobState.UNREACHABLE:
        back = Reason(ReasonCode.OK, f"{attempt.cluster} is back and still starts the attempt")
        return Verdict(event=Event.REGAIN_CONTACT, reason=back, attempt=after)
    return None


def lost(job: Job, reason: Reason, *, at: datetime, speedup: float) -> Verdict | None:
    """What to do about an attempt that certainly has no process left, though nobody saw its end."""
    if job.attempt is None or not job.state.live:
        return None
    state = AttemptState.STOPPED if reason.code is ReasonCode.STOPPED else AttemptState.LOST
    ended = replace(job.attempt, state=state, ended_at=at, reason=reason)
    return _ended(job, ended, at=at, speedup=speedup)


def _believed(attempt: Attempt, told: datetime | None, at: datetime) -> datetime:
    return max(min(told or at, at), attempt.assigned_at)


def _running(job: Job, attempt: Attempt) -> Verdict | None:
    if job.state not in (JobState.ASSIGNED, JobState.UNREACHABLE):
        return None
    reason = Reason(ReasonCode.OK, f"runs on {attempt.cluster}")
    if job.state is JobState.UNREACHABLE:
        reason = Reason(ReasonCode.OK, f"{attempt.cluster} is back and the attempt still runs")
    return Verdict(event=Event.START, reason=reason, attempt=attempt)


def _ended(job: Job, ended: Attempt, *, at: datetime, speedup: float) -> Verdict:
    attempt = settled(job.spec, ended, done_s=job.done_s)
    reason = attempt.reason or Reason(ReasonCode.WORKER_LOST, "the agent gave no reason")
    if job.state is JobState.CANCELLING:
        told = f"cancelled; the attempt on {attempt.cluster} is over ({attempt.state.lower()})"
        cancelled = Reason(ReasonCode.CANCELLED, told)
        return Verdict(event=Event.STOPPED, reason=cancelled, attempt=attempt)
    if attempt.state is AttemptState.SUCCEEDED:
        ok = Reason(ReasonCode.OK, f"attempt {attempt.number} succeeded on {attempt.cluster}")
        return Verdict(event=Event.SUCCEED, reason=ok, attempt=attempt)
    if job.state in STOPPING_STATES and attempt.state is AttemptState.STOPPED:
        stopped = Reason(job.reason.code, _stopped(job, attempt))
        return Verdict(event=Event.STOPPED, reason=stopped, attempt=attempt)
    decision = decide(job, reason)
    if not decision.retry:
        return Verdict(event=Event.FAIL_FINAL, reason=decision.reason, attempt=attempt)
    return Verdict(
        event=Event.FAIL_RETRY,
        reason=decision.reason,
        attempt=attempt,
        not_before_at=at + timedelta(seconds=decision.delay_s * speedup),
    )


def _stopped(job: Job, attempt: Attempt) -> str:
    """What a stop has cost, after why it was asked for."""
    kept = f"{job.done_s + attempt.kept_s:.0f} of {job.spec.expected_duration_s:.0f} s of work done"
    lost = ""
    if attempt.lost_s >= 1:
        lost = f", {attempt.lost_s:.0f} s and {attempt.lost_kwh:.2g} kWh lost"
    return f"{job.reason.message}; stopped: {kept}{lost}"
