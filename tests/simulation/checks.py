"""The promises, checked against the truth of the model: its processes and its disk.

None of this asks the parts under test; each checker answers with what it found wrong.
"""

from collections.abc import Iterable, Mapping, Set

from scheduler.domain.job import Job, JobEvent, JobState
from scheduler.domain.transitions import TRANSITIONS, Event
from tests.simulation.disk import Disk
from tests.simulation.site import Life


def on_birth(life: Life, lives: Iterable[Life], job: Job, forced: Set[str]) -> list[str]:
    """A process starts: it is the only one of its job, the first of its attempt, and wanted.

    Only an attempt that an operator has given up (``forced``) may still be alive.
    """
    found = []
    for other in lives:
        if other is life or other.job_id != life.job_id:
            continue
        if other.ended_s is None and other.attempt_id not in forced:
            found.append(f"{life.attempt_id} starts while {other.attempt_id} is alive")
        if other.attempt_id == life.attempt_id:
            found.append(f"{life.attempt_id} lives a second time")
    wanted = job.state.live and job.attempt is not None and job.attempt.id == life.attempt_id
    if not wanted and life.attempt_id not in forced:
        found.append(f"{life.attempt_id} starts though its job is {job.state}, v{job.version}")
    return found


def on_commit(job: Job, lives: Iterable[Life], forced: Set[str]) -> list[str]:
    """A state is stored: one that frees the job, or ends it, leaves no process behind."""
    mine = [life for life in lives if life.job_id == job.id]
    found = []
    if not job.state.live:
        found += [
            f"job {job.id} is {job.state} while {life.attempt_id} is alive"
            for life in mine
            if life.ended_s is None and life.attempt_id not in forced
        ]
    newest = job.attempt.id if job.attempt is not None else ""
    if job.state is JobState.SUCCEEDED and not any(
        life.attempt_id == newest and life.succeeded for life in mine
    ):
        found.append(f"job {job.id} is SUCCEEDED, but {newest} did not succeed")
    return found


def on_forget(attempt_id: str, job: Job) -> list[str]:
    """An agent drops what it knows of an attempt: how that ended is stored by then."""
    if any(attempt.id == attempt_id and attempt.state.final for attempt in job.attempts):
        return []
    return [f"{attempt_id} is forgotten though its end is not stored: its job is {job.state}"]


def at_the_end(acknowledged: Mapping[str, str], disk: Disk, lives: list[Life]) -> list[str]:
    """Faults are over: what was acknowledged has ended, once, on a legal way."""
    found = []
    for key, job_id in acknowledged.items():
        job = disk.jobs.get(job_id)
        if job is None:
            found.append(f"{key}: acknowledged as {job_id} and lost")
        elif not job.state.final:
            found.append(f"{key}: {job_id} is still {job.state}: {job.reason.message}")
    if len(set(acknowledged.values())) != len(acknowledged):
        found.append(f"two keys have one job: {acknowledged}")
    for job_id, story in disk.stories.items():
        found += [f"job {job_id}: {what}" for what in walk(disk.jobs[job_id], story)]
    found += [
        f"{life.attempt_id} is alive at the end"
        for life in lives
        if life.ended_s is None and disk.jobs[life.job_id].state.final
    ]
    return found


def walk(job: Job, story: list[JobEvent]) -> list[str]:
    """A history is a legal walk of the table that ends where the job is."""
    found = []
    if story[0].event != Event.SUBMIT.value or story[0].to_state is not JobState.PENDING:
        found.append(f"begins with {story[0].event}")
    at = JobState.PENDING
    for event in story[1:]:
        row = TRANSITIONS.get((at, Event(event.event)))
        if event.from_state is not at or row is None or row[0] is not event.to_state:
            found.append(f"{event.from_state} –{event.event}→ {event.to_state} out of {at}")
        at = event.to_state
    if at is not job.state or job.version != len(story):
        found.append(f"is {job.state}, version {job.version}; told {at}, {len(story)} events")
    successes = sum(event.event == Event.SUCCEED.value for event in story)
    if successes > 1:
        found.append(f"succeeded {successes} times")
    return found
