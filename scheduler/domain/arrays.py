"""Arrays of tasks: cut into chunks, and which of a chunk's tasks are done: pure.

Sets of tasks are bitmaps: bit ``i % 8`` of byte ``i // 8`` stands for the chunk's i-th task, and
bytes that are missing at the end for tasks that are not in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scheduler.domain.job import Attempt, AttemptState, Job, JobSpec, JobState
from scheduler.domain.reason import ReasonCode

# Each chunk is a job that is planned on its own.
CHUNKS_MOST = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a live attempt has come, earlier attempts included, as its agent last told."""

    succeeded: bytes = b""
    failed: bytes = b""
    running: int = 0


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks are in which state; the rest of ``total`` is pending. Unfinished are those of
    a chunk that has ended which were not run to their end."""

    total: int
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0


def chunk_count(spec: JobSpec) -> int:
    """How many jobs an array becomes."""
    assert spec.array is not None, f"{spec.name} is no array"
    return -(-spec.array.tasks // spec.array.chunk_tasks)


def chunk_duration_s(spec: JobSpec, tasks: int) -> float:
    """What so many tasks of an array take, each worker one after the other, at speed 1."""
    return -(-tasks // spec.workers) * spec.expected_duration_s


def chunks(spec: JobSpec) -> list[JobSpec]:
    """The specs of an array's chunks, in the order of their tasks. All have ``chunk_tasks`` tasks
    but the last, which has what is left."""
    assert spec.array is not None, f"{spec.name} is no array"
    array, cut = spec.array, []
    for first in range(0, array.tasks, array.chunk_tasks):
        own = min(array.chunk_tasks, array.tasks - first)
        part = replace(array, tasks=own, first_task=first)
        cut.append(replace(spec, array=part, expected_duration_s=chunk_duration_s(spec, own)))
    return cut


def whole(cut: Sequence[JobSpec]) -> JobSpec:
    """The spec that was cut into these; its duration is right to the last digits only."""
    first = cut[0]
    assert first.array is not None, f"{first.name} is no array"
    rounds = -(-first.array.tasks // first.workers)
    tasks = sum(part.array.tasks for part in cut if part.array is not None)
    return replace(
        first,
        array=replace(first.array, tasks=tasks, first_task=0),
        expected_duration_s=first.expected_duration_s / rounds,
    )


def as_one(cut: Sequence[Job]) -> Job:
    """An array as if its chunks were one job, to tell people about: the first, under the array's
    id and with the whole spec."""
    first = cut[0]
    return replace(first, id=first.array_id or first.id, spec=whole([job.spec for job in cut]))


def full(tasks: int) -> bytes:
    """The bitmap of all of so many tasks."""
    return ((1 << tasks) - 1).to_bytes(-(-tasks // 8), "little")


def fitted(bits: bytes, tasks: int) -> bytes:
    """A bitmap without what lies beyond the last task."""
    every = full(tasks)
    return _bytes(_number(bits[: len(every)]) & _number(every))


def union(bitmaps: Iterable[bytes]) -> bytes:
    """The tasks that are in any of the bitmaps."""
    number = 0
    for bits in bitmaps:
        number |= _number(bits)
    return _bytes(number)


def count(bits: bytes) -> int:
    """How many tasks a bitmap holds."""
    return _number(bits).bit_count()


def holds(bits: bytes, task: int) -> bool:
    """Whether a bitmap holds the chunk's task of that number, counted from 0."""
    return task // 8 < len(bits) and bool(bits[task // 8] >> task % 8 & 1)


def tasks_done(job: Job) -> bytes:
    """The tasks of a chunk that its ended attempts have finished, of which none runs again."""
    return union(attempt.tasks_done for attempt in job.attempts)


def counts(job: Job, heard: Progress | None = None) -> TaskCounts:
    """Of a chunk. ``heard`` is the progress of its live attempt, where it has told any. Of a chunk
    that has ended for another reason than its tasks, none counts as failed."""
    assert job.spec.array is not None, f"job {job.id} is no chunk of an array"
    total = job.spec.array.tasks
    if job.state is JobState.SUCCEEDED:
        return TaskCounts(total, succeeded=total)
    done = tasks_done(job)
    if heard is not None and job.state.live:
        done = union((done, heard.succeeded))
        failed = _number(heard.failed) & ~_number(done)
        return TaskCounts(total, heard.running, count(done), failed.bit_count())
    succeeded = count(done)
    tasks_failed = job.state is JobState.FAILED and job.reason.code is ReasonCode.TASKS_FAILED
    rest = total - succeeded
    if tasks_failed:
        return TaskCounts(total, succeeded=succeeded, failed=rest)
    return TaskCounts(total, succeeded=succeeded, unfinished=rest if job.state.final else 0)


def total(parts: Iterable[TaskCounts]) -> TaskCounts:
    """Of a whole array, from those of its chunks."""
    found = list(parts)
    return TaskCounts(
        sum(part.total for part in found),
        sum(part.running for part in found),
        sum(part.succeeded for part in found),
        sum(part.failed for part in found),
        sum(part.unfinished for part in found),
    )


def settled(job: Job, attempt: Attempt, heard: Progress | None) -> Attempt:
    """The ended attempt of a chunk with the tasks that are done since, and the work that is kept:
    a share of the chunk's as large as that of the tasks it has finished."""
    assert job.spec.array is not None, f"job {job.id} is no chunk of an array"
    tasks = job.spec.array.tasks
    before = union(a.tasks_done for a in job.attempts if a.number < attempt.number)
    after = union((before, heard.succeeded if heard is not None else b""))
    if attempt.state is AttemptState.SUCCEEDED:
        after = full(tasks)
    kept_s = job.spec.expected_duration_s * (count(after) - count(before)) / tasks
    if attempt.state is AttemptState.SUCCEEDED:  # however long it took
        return replace(attempt, tasks_done=after, kept_s=kept_s)
    lost_s = max(0.0, attempt.kept_s + attempt.lost_s - kept_s)
    lost_kwh = attempt.lost_kwh * lost_s / attempt.lost_s if attempt.lost_s > 0 else 0.0
    return replace(attempt, tasks_done=after, kept_s=kept_s, lost_s=lost_s, lost_kwh=lost_kwh)


def _number(bits: bytes) -> int:
    return int.from_bytes(bits, "little")


def _bytes(number: int) -> bytes:
    return number.to_bytes(-(-number.bit_length() // 8), "little")
