"""Arrays in the job book: all chunks or none, one key, tasks that stay done."""

import asyncio

import pytest

from scheduler.domain import arrays
from scheduler.domain.arrays import Progress
from scheduler.domain.job import ArraySpec, AttemptState, JobSpec, JobState
from scheduler.domain.transitions import Event
from scheduler.state import arrays as whole_arrays
from scheduler.state.ids import is_array_id
from scheduler.state.jobs import AlreadyEndedError, KeyConflictError, UnknownJobError
from tests.fakes.jobs import a_spec, assign, end, opened


def sweep(tasks: int = 25, **changes: object) -> JobSpec:
    return a_spec(name="sweep", array=ArraySpec(tasks=tasks, chunk_tasks=10), **changes)


async def test_an_array_is_there_after_a_restart(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        jobs, existed = await book.submit_array(sweep(), "key")
        assert not existed
        [array_id] = {job.array_id for job in jobs}
        assert array_id is not None
        assert is_array_id(array_id)
        assert not any(is_array_id(job.id) for job in jobs)
        assert array_id[1:] == jobs[0].id[1:]
        assert [job.spec.array and job.spec.array.tasks for job in jobs] == [10, 10, 5]
    async with opened(database_url) as (_, book):
        assert dict(book.active()) == {job.id: job for job in jobs}
        assert await book.chunks(array_id) == jobs
        assert await book.submit_array(sweep(), "key") == (jobs, True)


async def test_many_at_once_with_one_key_make_one_array(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        results = await asyncio.gather(*(book.submit_array(sweep(), "key") for _ in range(5)))
        assert len({jobs[0].array_id for jobs, _ in results}) == 1
        assert [existed for _, existed in results] == [False] + [True] * 4
        assert len(book.active()) == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (sweep(24), "now ArraySpec(tasks=24"),
        (sweep(35), "now ArraySpec(tasks=35"),
        (sweep(workers=2), "workers was 1, now 2"),
        (sweep(expected_duration_s=601.0), "expected_duration_s was 600.0, now 601.0"),
    ],
)
async def test_a_key_belongs_to_the_whole_array(
    database_url: str, spec: JobSpec, said: str
) -> None:
    async with opened(database_url) as (_, book):
        [first, *_], _ = await book.submit_array(sweep(), "key")
        with pytest.raises(KeyConflictError) as caught:
            await book.submit_array(spec, "key")
        assert said in str(caught.value)
        assert str(first.array_id) in str(caught.value)
        assert len(book.active()) == 3


async def test_a_key_of_a_job_is_no_key_of_an_array(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        await book.submit(a_spec(), "job")
        await book.submit_array(sweep(5), "array")
        with pytest.raises(KeyConflictError, match="array was None, now"):
            await book.submit_array(sweep(5), "job")
        with pytest.raises(KeyConflictError):
            await book.submit(a_spec(name="sweep"), "array")


async def test_cancelling_an_array_leaves_what_has_ended(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        jobs, _ = await book.submit_array(sweep())
        array_id = str(jobs[0].array_id)
        done = await assign(book, jobs[0])
        await end(book, done, Event.SUCCEED, AttemptState.SUCCEEDED)
        await assign(book, jobs[1])
        for _ in range(2):
            first = await whole_arrays.cancel(book, array_id, "no more")
            assert first.id == jobs[0].id
            states = [job.state for job in await book.chunks(array_id)]
            assert states == [JobState.SUCCEEDED, JobState.CANCELLING, JobState.CANCELLED]


async def test_there_is_nothing_to_cancel_once_all_have_ended(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        [job], _ = await book.submit_array(sweep(5))
        await end(book, await assign(book, job), Event.SUCCEED, AttemptState.SUCCEEDED)
        with pytest.raises(AlreadyEndedError, match=f"{job.array_id} is already SUCCEEDED"):
            await whole_arrays.cancel(book, str(job.array_id))
        with pytest.raises(UnknownJobError, match="no array 'a0000000000'"):
            await whole_arrays.cancel(book, "a0000000000")
        with pytest.raises(UnknownJobError, match="for one of its chunks"):
            await book.get(str(job.array_id))


async def test_a_lost_attempt_keeps_the_tasks_that_were_heard_of(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        [job], _ = await book.submit_array(sweep(10))
        job = await assign(book, job)
        book.progress.heard(job, f"{job.id}-1", Progress(b"\x07", b"\x08", 2))
        # One that forgets what it has told, and bits beyond the last task.
        book.progress.heard(job, f"{job.id}-1", Progress(b"\x01\xff\xff", b"", 99))
        assert book.progress.counts(job) == arrays.TaskCounts(10, running=10, succeeded=5)
        book.progress.heard(job, "another-1", Progress(b"\xff", b"", 1))
        job = await end(book, job, Event.FAIL_RETRY, AttemptState.LOST)
        job = await assign(book, job, 2)
        book.progress.heard(job, f"{job.id}-2", Progress(b"\x10", b"", 1))
        job = await end(book, job, Event.FAIL_RETRY, AttemptState.FAILED)
        assert [attempt.tasks_done for attempt in job.attempts] == [b"\x07\x03", b"\x17\x03"]
    async with opened(database_url) as (_, book):
        again = await book.get(job.id)
        assert arrays.tasks_done(again) == b"\x17\x03"
        assert book.progress.counts(again).succeeded == 6
        assert again == job
