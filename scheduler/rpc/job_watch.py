"""Watching jobs: the state of each, then every change of it, none missed and none twice."""

from collections.abc import AsyncGenerator, Iterable

from scheduler.domain.job import Job, JobEvent
from scheduler.domain.validation import Violation
from scheduler.rpc.errors import invalid
from scheduler.state import arrays
from scheduler.state.jobs import JobBook
from westward.v1 import job_pb2

WATCHED_MOST = 10_000


async def changes(
    book: JobBook, request: job_pb2.WatchRequest
) -> AsyncGenerator[tuple[Job, JobEvent | None], None]:
    """Jobs as they are and as they become, each change with its event."""
    ids = await _watched(book, request.job_ids)

    def wanted(job: Job) -> bool:
        named = not ids or job.id in ids
        return named and request.tenant in ("", job.spec.tenant)

    # Subscribed before the first look: what changes in between is in both, by version.
    with book.feed.subscribe(wanted) as following:
        versions: dict[str, int] = {}
        going_on: set[str] = set()
        now = [await book.get(i) for i in ids] or list(book.active().values())
        for job in filter(wanted, now):
            versions[job.id] = job.version
            if not job.state.final:
                going_on.add(job.id)
            yield job, None
        if request.until_final and not going_on:
            return
        async for job, event in following:
            if job.version <= versions.get(job.id, 0):
                continue
            yield job, event
            if job.state.final:
                versions.pop(job.id, None)
                going_on.discard(job.id)
            else:
                versions[job.id] = job.version
                going_on.add(job.id)
            if request.until_final and not going_on:
                return


async def _watched(book: JobBook, ids: Iterable[str]) -> dict[str, None]:
    """Those of the jobs to watch, of arrays those of their chunks; none for all."""
    named = dict.fromkeys(ids)
    if len(named) <= WATCHED_MOST:
        named = dict.fromkeys(job.id for job in await arrays.expand(book, named))
    if len(named) > WATCHED_MOST:
        text = f"{len(named)} jobs are over {WATCHED_MOST}; name none to watch all"
        raise invalid([Violation("job_ids", text)])
    return named
