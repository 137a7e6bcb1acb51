"""Operators hold jobs and let them go on, whatever these are doing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.domain.job import AttemptState, Job, JobState
from scheduler.domain.transitions import Event
from scheduler.state.jobs import AlreadyEndedError, JobBook
from scheduler.state.wishes import NotInterruptibleError, resume, suspend
from scheduler.store.errors import StaleVersionError
from tests.fakes.jobs import a_change, a_spec, assign, end, opened


@pytest_asyncio.fixture
async def book(tmp_path: Path) -> AsyncIterator[JobBook]:
    async with opened(f"sqlite:///{tmp_path}/westward.db") as (_, book):
        yield book


async def running(book: JobBook, *, interruptible: bool = True) -> Job:
    job, _ = await book.submit(a_spec(interruptible=interruptible))
    return await assign(book, job)


async def test_what_waits_is_held_whether_or_not_it_could_be_stopped(book: JobBook) -> None:
    job, _ = await book.submit(a_spec())
    held = await suspend(book, job.id, "budget", "ops")
    assert (held.state, held.reason.message) == (JobState.SUSPENDED, "suspended by ops: budget")
    assert await suspend(book, job.id) == held, "again is no error"
    back = await resume(book, job.id)
    assert back.state is JobState.PENDING
    assert await resume(book, job.id) == back, "one that is not held is left as it is"


async def test_what_runs_is_held_only_if_it_can_go_on_later(book: JobBook) -> None:
    job = await running(book, interruptible=False)
    with pytest.raises(NotInterruptibleError, match="stopping it would lose its work"):
        await suspend(book, job.id)
    job = await running(book)
    assert (await suspend(book, job.id)).state is JobState.SUSPENDING
    # Its attempt is on the way out whatever is wished now: it starts anew when that is gone.
    assert (await resume(book, job.id)).state is JobState.PREEMPTING
    assert (await suspend(book, job.id)).state is JobState.SUSPENDING
    stopped = await end(book, await book.get(job.id), Event.STOPPED, AttemptState.STOPPED)
    assert stopped.state is JobState.SUSPENDED


async def test_one_that_is_over_or_to_be_cancelled_is_neither_held_nor_resumed(
    book: JobBook,
) -> None:
    ended = await end(book, await running(book), Event.SUCCEED, AttemptState.SUCCEEDED)
    cancelling = await book.cancel((await running(book)).id)
    assert cancelling.state is JobState.CANCELLING
    for job in (ended, cancelling):
        for wish in (suspend, resume):
            with pytest.raises(AlreadyEndedError):
                await wish(book, job.id)


async def test_of_a_wish_and_what_happens_meanwhile_one_counts(book: JobBook) -> None:
    job = await running(book)
    preempt = book.apply(a_change(job.id, Event.PREEMPT))
    _, late = await asyncio.gather(preempt, suspend(book, job.id), return_exceptions=True)
    assert isinstance(late, StaleVersionError)
    assert (await book.get(job.id)).state is JobState.PREEMPTING
    assert (await suspend(book, job.id)).state is JobState.SUSPENDING
