"""Jobs: submitted, listed, watched, cancelled, and their logs."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

import grpc

from scheduler.clock import Clock
from scheduler.domain.energy import Energy
from scheduler.domain.job import Job, JobSpec, JobState
from scheduler.domain.reason import Reason
from scheduler.domain.validation import Violation
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.preview import PreviewedJob
from scheduler.rpc import callers, job_watch
from scheduler.rpc.acceptance import Acceptance, Known
from scheduler.rpc.arrays import ArrayCalls, one_job
from scheduler.rpc.convert_jobs import (
    event_to_pb,
    job_to_pb,
    log_piece_to_pb,
    reason_to_pb,
    stamp,
    state_from_pb,
    task_counts_to_pb,
)
from scheduler.rpc.errors import StatusError, answers, invalid, status_error
from scheduler.state import arrays, wishes
from scheduler.state.ids import is_array_id
from scheduler.state.jobs import JobBook, KeyConflictError
from scheduler.store import Store
from scheduler.store.blobs import SIZE_MOST_BYTES
from scheduler.store.errors import StoreError
from scheduler.store.jobs import JobFilter
from westward.v1 import job_pb2, job_pb2_grpc

REASON_MOST = 1024
PAGE_DEFAULT = 100
PAGE_MOST = 1000
# One transaction of a batch, and all that one answer has room for.
BATCH_CHUNK = 250
BATCH_MOST = 10_000
SHA256_DIGITS = 64


class World(Known, Protocol):
    """What is known of the rest when a job comes in or is shown."""

    def planned_start(self, job_id: str) -> PlannedStart | None:
        """Where the last round means to start a pending job."""
        ...

    def waits_because(self, job_id: str) -> Reason | None:
        """Why the last round left a job pending."""
        ...

    def energy_of(self, attempt_id: str, nodes: Collection[str]) -> Energy | None:
        """What an attempt has used, as far as its nodes have metered it."""
        ...

    async def recall_energy(self, jobs: Iterable[Job]) -> None:
        """Looks up what is stored of what they have used. Raises StoreError."""
        ...

    async def force_retry(self, job_id: str, reason: str, actor: str) -> Job:
        """Gives up on an attempt whose cluster is silent."""
        ...

    async def confirm(self, plan_token: str, spec: JobSpec) -> PreviewedJob:
        """What would become of a job; refuses one that would fare materially worse than its plan
        token has it."""
        ...

    def expect(self, job_id: str, told: PreviewedJob) -> None:
        """The job was stored with that answer."""
        ...


class JobServicer(job_pb2_grpc.JobServiceServicer):
    """Converts, calls the job book and the store, answers."""

    def __init__(self, book: JobBook, store: Store, world: World, clock: Clock) -> None:
        self._book = book
        self._store = store
        self._world = world
        self._acceptance = Acceptance(book, store, world, clock)
        self._arrays = ArrayCalls(book, store.logs, clock)
        # Whoever follows a job's logs must also see that it moved on.
        book.on_step(lambda step: store.logs.signal.notify(step.job.id))

    @answers
    async def Submit(
        self,
        request: job_pb2.SubmitRequest,
        context: grpc.aio.ServicerContext[job_pb2.SubmitRequest, job_pb2.SubmitResponse],
    ) -> job_pb2.SubmitResponse:
        accepted = await self._acceptance.accept(request)
        if isinstance(accepted, Job):
            return job_pb2.SubmitResponse(job=self._shown(accepted), existed=True)
        actor = callers.actor(context)
        told = None
        if request.plan_token and not await self._acceptance.known(accepted, request):
            told = await self._world.confirm(request.plan_token, accepted)
        if accepted.array is not None:
            chunks, existed = await self._book.submit_array(
                accepted, request.idempotency_key or None, actor
            )
            return job_pb2.SubmitResponse(job=self._shown(chunks[0]), existed=existed)
        job, existed = await self._book.submit(accepted, request.idempotency_key or None, actor)
        if told is not None:
            self._world.expect(job.id, told)
        return job_pb2.SubmitResponse(job=self._shown(job), existed=existed)

    @answers
    async def SubmitBatch(
        self,
        request_iterator: AsyncIterator[job_pb2.SubmitBatchRequest],
        context: grpc.aio.ServicerContext[job_pb2.SubmitBatchRequest, job_pb2.SubmitBatchResponse],
    ) -> job_pb2.SubmitBatchResponse:
        results: list[job_pb2.SubmitResult] = []
        actor = callers.actor(context)
        count, chunk = 0, list[job_pb2.SubmitBatchRequest]()
        # While one chunk waits for the disk, the next one arrives.
        before: asyncio.Task[list[job_pb2.SubmitResult]] | None = None
        async for request in request_iterator:
            count += 1
            if count <= BATCH_MOST:
                chunk.append(request)
            if len(chunk) == BATCH_CHUNK:
                results += await before if before is not None else []
                before, chunk = asyncio.create_task(self._submit_chunk(chunk, actor)), []
        results += await before if before is not None else []
        results += await self._submit_chunk(chunk, actor)
        text = f"a batch takes {BATCH_MOST} items; send this one in another batch"
        full = _failed(StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, text))
        results += [full] * (count - len(results))
        return job_pb2.SubmitBatchResponse(results=results)

    @answers
    async def UploadWorkingDir(
        self,
        request_iterator: AsyncIterator[job_pb2.UploadWorkingDirRequest],
        context: grpc.aio.ServicerContext[
            job_pb2.UploadWorkingDirRequest, job_pb2.UploadWorkingDirResponse
        ],
    ) -> job_pb2.UploadWorkingDirResponse:
        first = await anext(aiter(request_iterator), job_pb2.UploadWorkingDirRequest())
        if len(first.sha256) != SHA256_DIGITS or set(first.sha256) - set("0123456789abcdef"):
            text = f"{first.sha256[:80]!r} is not a SHA-256; send its 64 hex digits first"
            raise invalid([Violation("sha256", text)])
        if not 0 < first.size_bytes <= SIZE_MOST_BYTES:
            text = (
                f"{first.size_bytes} is not within 1 to {SIZE_MOST_BYTES} (64 MiB); leave large "
                "data out of the working directory and name it under data"
            )
            raise invalid([Violation("size_bytes", text)])

        async def chunks() -> AsyncIterator[bytes]:
            yield first.data
            async for request in request_iterator:
                yield request.data

        existed = await self._store.blobs.put(first.sha256, first.size_bytes, chunks())
        return job_pb2.UploadWorkingDirResponse(sha256=first.sha256, existed=existed)

    @answers
    async def Get(
        self,
        request: job_pb2.GetRequest,
        context: grpc.aio.ServicerContext[job_pb2.GetRequest, job_pb2.GetResponse],
    ) -> job_pb2.GetResponse:
        [job, *_] = await arrays.expand(self._book, [request.job_id])
        await self._world.recall_energy([job])
        events = await self._store.jobs.events(job.id) if request.include_events else []
        return job_pb2.GetResponse(job=self._shown(job), events=map(event_to_pb, events))

    @answers
    async def List(
        self,
        request: job_pb2.ListRequest,
        context: grpc.aio.ServicerContext[job_pb2.ListRequest, job_pb2.ListResponse],
    ) -> job_pb2.ListResponse:
        wanted = JobFilter(
            states=frozenset(map(state_from_pb, request.states)),
            tenant=request.tenant,
            region=request.region,
            cluster=request.cluster,
            array_id=request.array_id,
            name_prefix=request.name_prefix,
        )
        size = min(request.page_size or PAGE_DEFAULT, PAGE_MOST)
        # One more than asked for tells whether there is a next page.
        jobs = await self._store.jobs.page(wanted, request.page_token or None, size + 1)
        await self._world.recall_energy(jobs[:size])
        return job_pb2.ListResponse(
            jobs=map(self._shown, jobs[:size]),
            next_page_token=jobs[size - 1].id if len(jobs) > size else "",
        )

    @answers
    async def Watch(
        self,
        request: job_pb2.WatchRequest,
        context: grpc.aio.ServicerContext[job_pb2.WatchRequest, job_pb2.WatchResponse],
    ) -> AsyncIterator[job_pb2.WatchResponse]:
        changes = job_watch.changes(self._book, request)
        async with aclosing(changes) as told:
            async for job, event in told:
                yield job_pb2.WatchResponse(
                    job=self._shown(job), event=event_to_pb(event) if event is not None else None
                )

    @answers
    async def Cancel(
        self,
        request: job_pb2.CancelRequest,
        context: grpc.aio.ServicerContext[job_pb2.CancelRequest, job_pb2.CancelResponse],
    ) -> job_pb2.CancelResponse:
        reason, actor = _judged_reason(request.reason), callers.actor(context)
        if is_array_id(request.job_id):
            job = await arrays.cancel(self._book, request.job_id, reason, actor)
        else:
            job = await self._book.cancel(request.job_id, reason, actor)
        return job_pb2.CancelResponse(job=self._shown(job))

    @answers
    async def Suspend(
        self,
        request: job_pb2.SuspendRequest,
        context: grpc.aio.ServicerContext[job_pb2.SuspendRequest, job_pb2.SuspendResponse],
    ) -> job_pb2.SuspendResponse:
        job_id = one_job(request.job_id, "suspended")
        job = await wishes.suspend(
            self._book, job_id, _judged_reason(request.reason), callers.actor(context)
        )
        return job_pb2.SuspendResponse(job=self._shown(job))

    @answers
    async def Resume(
        self,
        request: job_pb2.ResumeRequest,
        context: grpc.aio.ServicerContext[job_pb2.ResumeRequest, job_pb2.ResumeResponse],
    ) -> job_pb2.ResumeResponse:
        job_id = one_job(request.job_id, "resumed")
        job = await wishes.resume(
            self._book, job_id, _judged_reason(request.reason), callers.actor(context)
        )
        return job_pb2.ResumeResponse(job=self._shown(job))

    @answers
    async def ForceRetry(
        self,
        request: job_pb2.ForceRetryRequest,
        context: grpc.aio.ServicerContext[job_pb2.ForceRetryRequest, job_pb2.ForceRetryResponse],
    ) -> job_pb2.ForceRetryResponse:
        reason = _judged_reason(request.reason)
        job_id = one_job(request.job_id, "given up on")
        job = await self._world.force_retry(job_id, reason, callers.actor(context))
        return job_pb2.ForceRetryResponse(job=self._shown(job))

    @answers
    async def Logs(
        self,
        request: job_pb2.LogsRequest,
        context: grpc.aio.ServicerContext[job_pb2.LogsRequest, job_pb2.LogsResponse],
    ) -> AsyncIterator[job_pb2.LogsResponse]:
        async with aclosing(self._arrays.pieces(request)) as pieces:
            async for piece in pieces:
                yield log_piece_to_pb(piece)

    @answers
    async def ListTasks(
        self,
        request: job_pb2.ListTasksRequest,
        context: grpc.aio.ServicerContext[job_pb2.ListTasksRequest, job_pb2.ListTasksResponse],
    ) -> job_pb2.ListTasksResponse:
        return await self._arrays.list_tasks(request)

    def _shown(self, job: Job) -> job_pb2.Job:
        message = job_to_pb(job)
        for attempt, told in zip(job.attempts, message.attempts, strict=True):
            if (used := self._world.energy_of(attempt.id, attempt.nodes)) is not None:
                told.used_kwh, told.estimated_kwh = used.kwh, used.estimated_kwh
        if job.spec.array is not None:
            message.tasks.CopyFrom(task_counts_to_pb(self._book.progress.counts(job)))
        if job.state is not JobState.PENDING:
            return message
        if (waits := self._world.waits_because(job.id)) is not None:
            message.reason.CopyFrom(reason_to_pb(waits))
        if (planned := self._world.planned_start(job.id)) is not None:
            message.planned_cluster = planned.cluster
            message.planned_start_at.CopyFrom(stamp(planned.start_at))
        return message

    async def _submit_chunk(
        self, chunk: Sequence[job_pb2.SubmitBatchRequest], actor: str
    ) -> list[job_pb2.SubmitResult]:
        """Stores the good ones in one transaction; one result per item, in order."""
        results: dict[int, job_pb2.SubmitResult] = {}
        good: dict[int, tuple[JobSpec, str | None]] = {}
        for at, request in enumerate(chunk):
            key = request.idempotency_key or None
            try:
                spec = await self._acceptance.accept(request)
            except (StatusError, StoreError) as error:
                results[at] = _failed(error)
            else:
                if isinstance(spec, Job):
                    results[at] = job_pb2.SubmitResult(job_id=spec.array_id or spec.id)
                elif spec.array is not None:
                    results[at] = await self._submit_array(spec, key, actor)
                else:
                    good[at] = (spec, key)
        try:
            stored = await self._book.submit_many(list(good.values()), actor) if good else []
        except StoreError as error:
            results.update((at, _failed(error)) for at in good)
        else:
            for at, outcome in zip(good, stored, strict=True):
                if isinstance(outcome, Exception):
                    results[at] = _failed(outcome)
                else:
                    results[at] = job_pb2.SubmitResult(job_id=outcome[0].id)
        return [results[at] for at in range(len(chunk))]

    async def _submit_array(
        self, spec: JobSpec, key: str | None, actor: str
    ) -> job_pb2.SubmitResult:
        try:
            [first, *_], _ = await self._book.submit_array(spec, key, actor)
        except (KeyConflictError, StoreError) as error:
            return _failed(error)
        return job_pb2.SubmitResult(job_id=first.array_id or first.id)


def _judged_reason(reason: str) -> str:
    if len(reason) > REASON_MOST:
        text = f"{len(reason)} characters are over {REASON_MOST}; shorten it"
        raise invalid([Violation("reason", text)])
    return reason


def _failed(error: Exception) -> job_pb2.SubmitResult:
    failure = status_error(error)
    return job_pb2.SubmitResult(
        error=job_pb2.SubmitError(
            code=failure.number,
            message=failure.message,
            violations=[
                job_pb2.FieldViolation(field=v.field, description=v.description)
                for v in failure.violations
            ],
        )
    )
