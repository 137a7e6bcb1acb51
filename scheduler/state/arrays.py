"""What is asked of an array of tasks as a whole."""

import asyncio
from collections.abc import Iterable

from scheduler.domain import arrays
from scheduler.domain.job import Job, JobState
from scheduler.state.ids import is_array_id
from scheduler.state.jobs import AlreadyEndedError, JobBook


async def cancel(book: JobBook, array_id: str, reason: str = "", actor: str = "user") -> Job:
    """Cancels all chunks of an array; again is no error. Those that have ended stay as they are.

    Returns:
        The first chunk.

    Raises:
        AlreadyEndedError: all had succeeded or failed before.
        UnknownJobError: there is no such array.
        StoreError: nothing was stored of some chunks; ask again.
    """
    going_on = [job for job in await book.chunks(array_id) if not job.state.final]
    cancels = [book.cancel(job.id, reason, actor) for job in going_on]
    for outcome in await asyncio.gather(*cancels, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, AlreadyEndedError):
            raise outcome
    chunks = await book.chunks(array_id)
    if all(job.state.final and job.state is not JobState.CANCELLED for job in chunks):
        raise AlreadyEndedError(arrays.as_one(chunks))
    return chunks[0]


async def expand(book: JobBook, ids: Iterable[str]) -> list[Job]:
    """The jobs of these ids, those of arrays replaced by their chunks; each once.

    Raises:
        UnknownJobError: there is no such job or array.
    """
    found: dict[str, Job] = {}
    for one in ids:
        jobs = await book.chunks(one) if is_array_id(one) else [await book.get(one)]
        found.update((job.id, job) for job in jobs)
    return list(found.values())
