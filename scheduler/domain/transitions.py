"""The job state machine: one table, and the one function that walks it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from scheduler.domain.job import Attempt, Job, JobEvent, JobState
from scheduler.domain.reason import Reason


class Event(StrEnum):
    """What can happen to a job."""

    SUBMIT = "SUBMIT"  # the birth of every job; in the table of none
    ASSIGN = "ASSIGN"  # the planner's placement was committed
    START = "START"  # the agent says that its processes run
    SUCCEED = "SUCCEED"
    FAIL_RETRY = "FAIL_RETRY"  # the attempt failed, the retry policy grants another
    FAIL_FINAL = "FAIL_FINAL"  # the attempt failed for good
    STOPPED = "STOPPED"  # the attempt was stopped because we asked
    LOSE_CONTACT = "LOSE_CONTACT"  # the cluster is silent
    REGAIN_CONTACT = "REGAIN_CONTACT"
    PREEMPT = "PREEMPT"  # the planner wants the attempt's place, or a better one for the job
    SUSPEND = "SUSPEND"  # an operator's wish
    RESUME = "RESUME"
    FORCE_RETRY = "FORCE_RETRY"  # an operator gives up on an attempt that may still be alive
    CANCEL = "CANCEL"  # the user's wish
    EXPIRE = "EXPIRE"  # the deadline passed before a placement


class Effect(StrEnum):
    """What must follow a transition; performed elsewhere."""

    DISPATCH = "DISPATCH"  # the cluster's desired state changed
    REPLAN = "REPLAN"  # the next round has something to do


S, E = JobState, Event
_FREED = frozenset({Effect.DISPATCH, Effect.REPLAN})
_DISPATCH = frozenset({Effect.DISPATCH})
_NONE: frozenset[Effect] = frozenset()

TRANSITIONS: dict[tuple[JobState, Event], tuple[JobState, frozenset[Effect]]] = {
    (S.PENDING, E.ASSIGN): (S.ASSIGNED, _DISPATCH),
    (S.PENDING, E.SUSPEND): (S.SUSPENDED, _NONE),
    (S.PENDING, E.CANCEL): (S.CANCELLED, _NONE),
    (S.PENDING, E.EXPIRE): (S.FAILED, _NONE),
    (S.ASSIGNED, E.START): (S.RUNNING, _NONE),
    (S.ASSIGNED, E.SUCCEED): (S.SUCCEEDED, _FREED),
    (S.ASSIGNED, E.FAIL_RETRY): (S.PENDING, _FREED),
    (S.ASSIGNED, E.FAIL_FINAL): (S.FAILED, _FREED),
    (S.ASSIGNED, E.LOSE_CONTACT): (S.UNREACHABLE, _NONE),
    (S.ASSIGNED, E.PREEMPT): (S.PREEMPTING, _DISPATCH),
    (S.ASSIGNED, E.SUSPEND): (S.SUSPENDING, _DISPATCH),
    (S.ASSIGNED, E.CANCEL): (S.CANCELLING, _DISPATCH),
    (S.RUNNING, E.SUCCEED): (S.SUCCEEDED, _FREED),
    (S.RUNNING, E.FAIL_RETRY): (S.PENDING, _FREED),
    (S.RUNNING, E.FAIL_FINAL): (S.FAILED, _FREED),
    (S.RUNNING, E.LOSE_CONTACT): (S.UNREACHABLE, _NONE),
    (S.RUNNING, E.PREEMPT): (S.PREEMPTING, _DISPATCH),
    (S.RUNNING, E.SUSPEND): (S.SUSPENDING, _DISPATCH),
    (S.RUNNING, E.CANCEL): (S.CANCELLING, _DISPATCH),
    (S.UNREACHABLE, E.START): (S.RUNNING, _NONE),
    (S.UNREACHABLE, E.REGAIN_CONTACT): (S.ASSIGNED, _NONE),
    (S.UNREACHABLE, E.SUCCEED): (S.SUCCEEDED, _FREED),
    (S.UNREACHABLE, E.FAIL_RETRY): (S.PENDING, _FREED),
    (S.UNREACHABLE, E.FAIL_FINAL): (S.FAILED, _FREED),
    (S.UNREACHABLE, E.FORCE_RETRY): (S.PENDING, _FREED),
    (S.UNREACHABLE, E.SUSPEND): (S.SUSPENDING, _DISPATCH),
    (S.UNREACHABLE, E.CANCEL): (S.CANCELLING, _DISPATCH),
    # However the attempt ends, unless it has succeeded or failed for good, the job goes on.
    (S.PREEMPTING, E.STOPPED): (S.PENDING, _FREED),
    (S.PREEMPTING, E.FAIL_RETRY): (S.PENDING, _FREED),
    (S.PREEMPTING, E.FORCE_RETRY): (S.PENDING, _FREED),
    (S.PREEMPTING, E.SUCCEED): (S.SUCCEEDED, _FREED),
    (S.PREEMPTING, E.FAIL_FINAL): (S.FAILED, _FREED),
    (S.PREEMPTING, E.SUSPEND): (S.SUSPENDING, _NONE),
    (S.PREEMPTING, E.CANCEL): (S.CANCELLING, _NONE),
    (S.SUSPENDING, E.STOPPED): (S.SUSPENDED, _FREED),
    (S.SUSPENDING, E.FAIL_RETRY): (S.SUSPENDED, _FREED),
    (S.SUSPENDING, E.FORCE_RETRY): (S.SUSPENDED, _FREED),
    (S.SUSPENDING, E.SUCCEED): (S.SUCCEEDED, _FREED),
    (S.SUSPENDING, E.FAIL_FINAL): (S.FAILED, _FREED),
    (S.SUSPENDING, E.RESUME): (S.PREEMPTING, _NONE),
    (S.SUSPENDING, E.CANCEL): (S.CANCELLING, _NONE),
    (S.SUSPENDED, E.RESUME): (S.PENDING, frozenset({Effect.REPLAN})),
    (S.SUSPENDED, E.CANCEL): (S.CANCELLED, _NONE),
    # Cancel is final: however the attempt ends, the job is cancelled.
    (S.CANCELLING, E.STOPPED): (S.CANCELLED, _FREED),
    (S.CANCELLING, E.FORCE_RETRY): (S.CANCELLED, _FREED),
    (S.CANCELLING, E.SUCCEED): (S.CANCELLED, _FREED),
    (S.CANCELLING, E.FAIL_RETRY): (S.CANCELLED, _FREED),
    (S.CANCELLING, E.FAIL_FINAL): (S.CANCELLED, _FREED),
}


class IllegalTransitionError(Exception):
    """An event that the job's state has no row for; the message tells the job's story so far."""

    def __init__(self, job: Job, event: Event, story: Sequence[JobEvent]) -> None:
        told = " → ".join([f"{e.from_state} –{e.event}→ {e.to_state}" for e in story])
        super().__init__(
            f"job {job.id} is {job.state}, version {job.version}: {event} is not allowed here"
            + (f"; so far: {told}" if told else "")
        )
        self.job = job
        self.event = event


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one transition: the job after it, the event to store with it, the effects."""

    job: Job
    event: JobEvent
    effects: frozenset[Effect]


def advance(
    job: Job,
    event: Event,
    *,
    at: datetime,
    actor: str,
    reason: Reason,
    attempt: Attempt | None = None,
    not_before_at: datetime | None = None,
    story: Sequence[JobEvent] = (),
) -> Step:
    """Walks the table by one event.

    Args:
        attempt: the newest attempt as it is after the event: appended when its number is new,
            else put in place of the one it continues. None leaves the attempts as they are.
        not_before_at: the back-off of a retry; cleared by every other event.
        story: the job's events so far, for the error.

    Raises:
        IllegalTransitionError: the table has no row for (state, event).
    """
    row = TRANSITIONS.get((job.state, event))
    if row is None:
        raise IllegalTransitionError(job, event, story)
    state, effects = row
    attempts = job.attempts
    if attempt is not None:
        kept = attempts[:-1] if attempts and attempts[-1].number == attempt.number else attempts
        attempts = (*kept, attempt)
    after = replace(
        job,
        state=state,
        reason=reason,
        version=job.version + 1,
        updated_at=at,
        attempts=attempts,
        not_before_at=not_before_at,
    )
    stored = JobEvent(
        id=0,
        job_id=job.id,
        at=at,
        actor=actor,
        event=event.value,
        from_state=job.state,
        to_state=state,
        reason=reason,
        attempt_id=after.attempt.id if after.attempt else None,
    )
    return Step(after, stored, effects)
