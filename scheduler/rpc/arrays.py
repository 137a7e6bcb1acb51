"""What is asked about the tasks of an array: their states, page by page, and what one wrote."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import islice

from scheduler.clock import Clock
from scheduler.domain import arrays
from scheduler.domain.job import Attempt, Job
from scheduler.domain.log import LogPiece
from scheduler.domain.validation import Violation
from scheduler.rpc.convert_jobs import stamp, task_counts_to_pb
from scheduler.rpc.errors import invalid, not_found
from scheduler.rpc.job_logs import LogReader
from scheduler.state.ids import is_array_id
from scheduler.state.jobs import JobBook
from scheduler.state.tasks import TaskState, TaskTables, TaskView, indices
from scheduler.store.logs import LogStore
from westward.v1 import job_pb2

PAGE_DEFAULT = 100
PAGE_MOST = 1000


def one_job(job_id: str, wish: str) -> str:
    """The id, if it is not that of an array.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if is_array_id(job_id):
        text = f"{job_id} is an array, which is not {wish} as a whole; name one of its chunks"
        raise invalid([Violation("job_id", text)])
    return job_id


class ArrayCalls:
    """Answers what is asked about tasks."""

    def __init__(self, book: JobBook, logs: LogStore, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._tables = TaskTables(logs)
        self._reader = LogReader(book, logs, clock)

    async def list_tasks(self, request: job_pb2.ListTasksRequest) -> job_pb2.ListTasksResponse:
        """A page of tasks in the order of their indices."""
        chunks = await self._chunks(request.job_id)
        begin, size = _begin(request.page_token), min(request.page_size or PAGE_DEFAULT, PAGE_MOST)
        wanted = frozenset(map(_state, request.states))
        found: list[TaskView] = []
        for job in chunks:
            if indices(job).stop <= begin:
                continue
            tasks = await self._tables.of(job, self._book.progress.of(job))
            # One more than asked for tells whether there is a next page.
            views = islice(tasks.views(begin, wanted), size + 1 - len(found))
            found += await asyncio.to_thread(list, views)
            if len(found) > size:
                break
        counted = arrays.total(self._book.progress.counts(job) for job in chunks)
        return job_pb2.ListTasksResponse(
            tasks=[self._shown(view) for view in found[:size]],
            next_page_token=str(found[size].index) if len(found) > size else "",
            counts=task_counts_to_pb(counted),
        )

    async def pieces(self, request: job_pb2.LogsRequest) -> AsyncGenerator[LogPiece, None]:
        """What a request for logs asks for."""
        if request.HasField("task"):
            if request.attempt:
                text = "is not for one task, whose newest try is what is sent; drop it"
                raise invalid([Violation("attempt", text)])
            job = await self._chunk_of(request.job_id, request.task)
            asked = self._reader.of_task(job.id, request.task, self._tables, follow=request.follow)
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if request.attempt:
            one_job(request.job_id, "attempted")
        if is_array_id(request.job_id):
            jobs = await self._book.chunks(request.job_id)
        else:
            jobs = [await self._book.get(request.job_id)]
        for job in jobs:
            if request.attempt > len(job.attempts):
                raise not_found(
                    f"job {job.id} has no attempt {request.attempt}; so far: {len(job.attempts)}"
                )
            only = request.attempt or None
            asked = self._reader.pieces(job.id, only=only, follow=request.follow)
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    yield piece

    async def _chunks(self, job_id: str) -> list[Job]:
        """Those of an array, or the one that is named."""
        if is_array_id(job_id):
            return await self._book.chunks(job_id)
        job = await self._book.get(job_id)
        if job.spec.array is None:
            raise invalid([Violation("job_id", f"job {job.id} is no array; it has no tasks")])
        return [job]

    async def _chunk_of(self, job_id: str, task: int) -> Job:
        chunks = await self._chunks(job_id)
        for job in chunks:
            if task in indices(job):
                return job
        first, last = indices(chunks[0]).start, indices(chunks[-1]).stop - 1
        raise not_found(f"{job_id} has no task {task}; its tasks are {first} to {last}")

    def _shown(self, view: TaskView) -> job_pb2.Task:
        message = job_pb2.Task(
            index=view.index,
            state=job_pb2.TaskState.Value(f"TASK_STATE_{view.state}"),
            tries=view.tries,
        )
        tried = view.tried
        if tried is None:
            return message
        attempt = view.job.attempts[view.attempt - 1]
        message.attempt_id = attempt.id
        message.rank = tried.rank
        message.node_id = attempt.nodes[tried.rank]
        if tried.started_at_s is not None:
            message.started_at.CopyFrom(stamp(self._power_time(tried.started_at_s, attempt)))
        if tried.end is not None and tried.ended_at_s is not None:
            message.exit_code = tried.end.exit_code
            message.ended_at.CopyFrom(stamp(self._power_time(tried.ended_at_s, attempt)))
        return message

    def _power_time(self, real_s: float, attempt: Attempt) -> datetime:
        """What the power clock showed at a moment of real time, to the millisecond. A node's clock
        may be wrong: it is believed between the attempt's assignment and now."""
        now_at = self._clock.now()
        ago_s = (datetime.now(UTC).timestamp() - real_s) * self._clock.speedup
        most_s = max(0.0, (now_at - attempt.assigned_at).total_seconds())
        at = now_at - timedelta(seconds=min(max(ago_s, 0.0), most_s))
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _begin(token: str) -> int:
    if token and not (token.isdecimal() and token.isascii() and len(token) <= len("100000")):
        raise invalid([Violation("page_token", f"{token[:80]!r} is not from an answer")])
    return int(token or 0)


def _state(value: job_pb2.TaskState.ValueType) -> TaskState:
    known = {number: name for name, number in job_pb2.TaskState.items() if number}
    if value not in known:
        text = f"{value} is no state of a task; one of {', '.join(sorted(known.values()))}"
        raise invalid([Violation("states", text)])
    return TaskState(known[value].removeprefix("TASK_STATE_"))
