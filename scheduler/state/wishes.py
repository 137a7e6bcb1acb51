"""What operators wish of a job besides its cancellation: to hold it, and to let it go on."""

from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.state.jobs import AlreadyEndedError, Change, JobBook

HELD_STATES = frozenset({JobState.SUSPENDING, JobState.SUSPENDED})


class NotInterruptibleError(Exception):
    """A job whose work would be lost."""


async def suspend(book: JobBook, job_id: str, reason: str = "", actor: str = "user") -> Job:
    """Holds a job until it is resumed; again is no error. What runs is stopped as preemption
    stops it: with a signal, the job's grace and its checkpoint.

    Raises:
        AlreadyEndedError: it had ended, or is being cancelled.
        NotInterruptibleError: it runs and could not be resumed.
        StaleVersionError: it changed meanwhile; ask again.
        UnknownJobError: there is no such job.
        StoreError: nothing was stored.
    """
    job = await book.get(job_id)
    if job.state in HELD_STATES:
        return job
    if job.state.final or job.state is JobState.CANCELLING:
        raise AlreadyEndedError(job, "suspend")
    if job.state.live and not job.spec.interruptible:
        raise NotInterruptibleError(
            f"job {job.id} is {job.state} and not interruptible: stopping it would lose its work; "
            "cancel it, or wait until it has ended"
        )
    told = f"suspended by {actor}" + (f": {reason}" if reason else "")
    return await _apply(book, job, Event.SUSPEND, Reason(ReasonCode.SUSPENDED, told), actor)


async def resume(book: JobBook, job_id: str, reason: str = "", actor: str = "user") -> Job:
    """Lets a suspended job be planned again; one that is not suspended is left as it is.

    Raises:
        AlreadyEndedError: it had ended, or is being cancelled.
        StaleVersionError: it changed meanwhile; ask again.
        UnknownJobError: there is no such job.
        StoreError: nothing was stored.
    """
    job = await book.get(job_id)
    if job.state.final or job.state is JobState.CANCELLING:
        raise AlreadyEndedError(job, "resume")
    if job.state not in HELD_STATES:
        return job
    told = f"resumed by {actor}" + (f": {reason}" if reason else "")
    return await _apply(book, job, Event.RESUME, Reason(ReasonCode.RESUMED, told), actor)


async def _apply(book: JobBook, job: Job, event: Event, reason: Reason, actor: str) -> Job:
    change = Change(
        job_id=job.id, event=event, actor=actor, reason=reason, expect_version=job.version
    )
    return (await book.apply(change)).job
