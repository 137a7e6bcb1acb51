"""Following the logs of a job over its attempts."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta

from scheduler.clock import Clock
from scheduler.domain.job import Attempt, Command, Job
from scheduler.domain.log import OUTPUTS, LogPiece, LogStream
from scheduler.state.jobs import JobBook
from scheduler.state.tasks import TaskState, TaskTables, TaskView
from scheduler.store.logs import LogProgress, LogStore

# After an attempt's end, how long nothing may come until its last bytes are taken for lost.
GRACE_S = 3.0
# No output grows that long.
FAR = 1 << 62


class LogReader:
    """Reads what a job's workers wrote, attempt after attempt, in order per worker and output."""

    def __init__(self, book: JobBook, logs: LogStore, clock: Clock) -> None:
        self._book = book
        self._logs = logs
        self._clock = clock

    async def pieces(
        self, job_id: str, *, only: int | None, follow: bool
    ) -> AsyncGenerator[LogPiece, None]:
        """The pieces of a known job's logs.

        Args:
            only: number of the one attempt wanted; None for all.
            follow: stay until the job, or the one attempt, has ended and its output is complete.
        """
        number = only or 1
        with self._logs.signal.listen(job_id) as woken:
            while True:
                woken.clear()
                job = await self._book.get(job_id)
                if number <= len(job.attempts):
                    attempt = self._attempt(job_id, number, woken if follow else None)
                    async with aclosing(attempt) as pieces:
                        async for piece in pieces:
                            yield piece
                    if only is not None:
                        return
                    number += 1
                elif job.state.final or not follow:
                    return
                else:
                    await woken.wait()

    async def of_task(
        self, job_id: str, index: int, tables: TaskTables, *, follow: bool
    ) -> AsyncGenerator[LogPiece, None]:
        """What one task of a known chunk wrote, in its newest try.

        Args:
            follow: stay until the task is over, or its job is; when it is tried again meanwhile,
                that try comes after.
        """
        sent: dict[tuple[str, int, LogStream], int] = {}
        over_at_s: float | None = None
        with self._logs.signal.listen(job_id) as woken:
            while True:
                woken.clear()
                job = await self._book.get(job_id)
                view = (await tables.of(job, self._book.progress.of(job))).view(index)
                complete = True
                for part in _parts(view):
                    key = (part.attempt_id, part.rank, part.stream)
                    at = max(sent.get(key, 0), part.begin)
                    while pieces := await self._logs.span(
                        part.attempt_id, part.rank, part.stream, begin=at, end=part.end
                    ):
                        for piece in pieces:
                            at = piece.offset + len(piece.data)
                            yield piece
                    sent[key] = at
                    complete = complete and at >= part.end
                if not follow:
                    return
                wait_s: float | None = None
                if job.state.final or view.state in (TaskState.SUCCEEDED, TaskState.FAILED):
                    now_s = self._clock.monotonic()
                    over_at_s = over_at_s or now_s
                    wait_s = over_at_s + GRACE_S - now_s
                    if wait_s <= 0 or (complete and view.tried is not None):
                        return
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await woken.wait()

    async def _attempt(
        self, job_id: str, number: int, woken: asyncio.Event | None
    ) -> AsyncGenerator[LogPiece, None]:
        """One attempt's pieces; with ``woken``, until its output is complete."""
        after_id = 0
        caught_up = False
        # When the attempt ended, or the last bytes that came after that.
        heard_at_s: float | None = None
        while True:
            if woken is not None:
                woken.clear()
            job = await self._book.get(job_id)
            attempt = job.attempts[number - 1]
            # Asked before reading: complete and nothing read then means that all was read.
            progress = await self._logs.progress(attempt.id)
            pieces = await self._logs.read(attempt.id, after_id)
            for piece in pieces:
                after_id = piece.id
                yield piece
            if pieces:
                if caught_up and attempt.state.final:
                    heard_at_s = self._clock.monotonic()
                continue
            if woken is None:
                return
            caught_up = True
            wait_s: float | None = None
            if attempt.state.final:
                if heard_at_s is None:
                    heard_at_s = self._clock.monotonic() - _ended_ago_s(attempt, job, self._clock)
                wait_s = heard_at_s + GRACE_S - self._clock.monotonic()
                if wait_s <= 0 or _complete(job, attempt, progress):
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await woken.wait()


@dataclass(frozen=True, slots=True)
class _Part:
    """Where one output of one try of a task lies; ``end`` is far away while it still writes."""

    attempt_id: str
    rank: int
    stream: LogStream
    begin: int
    end: int


def _parts(view: TaskView) -> list[_Part]:
    tried = view.tried
    if tried is None:
        return []
    attempt_id = view.job.attempts[view.attempt - 1].id
    ends = (tried.end.stdout[1], tried.end.stderr[1]) if tried.end else (FAR, FAR)
    return [
        _Part(attempt_id, tried.rank, stream, begin, end)
        for stream, begin, end in zip(OUTPUTS, tried.begins_at, ends, strict=True)
    ]


def _ended_ago_s(attempt: Attempt, job: Job, clock: Clock) -> float:
    """Seconds of real time since an attempt ended; 0 for an end in the future."""
    ago = clock.now() - (attempt.ended_at or job.updated_at)
    return max(ago, timedelta()).total_seconds() / clock.speedup


def _complete(job: Job, attempt: Attempt, progress: LogProgress) -> bool:
    """Every output has told its end. A Ray driver has one worker's outputs at most."""
    of_command = isinstance(job.spec.work, Command)
    outputs = len(attempt.nodes) * len(OUTPUTS) if of_command else 1
    return progress.streams >= outputs and progress.ended == progress.streams
