"""The asynchronous client: the same calls as the synchronous one, awaited."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import grpc
import grpc.aio

from scheduler.client import channel, errors, requests, workdir
from scheduler.client.jobfile import JobDocument
from scheduler.client.sync import Client
from westward.v1 import job_pb2, placement_pb2
from westward.v1.job_pb2_grpc import JobServiceStub
from westward.v1.placement_pb2_grpc import PlacementServiceStub

# Calls that stream their request at a time; more wait for their turn.
STREAMED_MOST = 32

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


def _call(
    build: Callable[P, requests.Call[Answer]],
) -> "Callable[Concatenate[AsyncClient, P], Awaitable[Answer]]":
    @functools.wraps(build)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self.call(build(*args, **kwargs))

    return method


def _stream(
    build: Callable[P, requests.Stream[Item]],
) -> "Callable[Concatenate[AsyncClient, P], AsyncIterator[Item]]":
    @functools.wraps(build)
    def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return self.stream(build(*args, **kwargs))

    return method


class AsyncClient:
    """A connection to the scheduler; use it as an asynchronous context manager.

    Arguments and errors are those of ``Client``.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls_ca: Path | None = None,
        actor: str | None = None,
    ) -> None:
        self.address = address
        self._synchronous = functools.partial(
            Client, address, token=token, tls_ca=tls_ca, actor=actor
        )
        # Calls that stream their request, each in a thread with a client of its own.
        self._open = set[Client]()
        self._threads = ThreadPoolExecutor(STREAMED_MOST, "westward-client")
        self._closed = False
        self._metadata = channel.metadata(token, actor)
        trust = channel.credentials(tls_ca)
        self._channel = (
            grpc.aio.secure_channel(address, trust, options=channel.OPTIONS)
            if trust
            else grpc.aio.insecure_channel(address, options=channel.OPTIONS)
        )
        self._stubs = requests.Stubs(
            JobServiceStub(self._channel), PlacementServiceStub(self._channel)
        )

    submit = _call(requests.submit)
    submit_batch = _call(requests.submit_batch)
    get = _call(requests.get)
    list_page = _call(requests.list_page)
    list_tasks = _call(requests.list_tasks)
    cancel = _call(requests.cancel)
    suspend = _call(requests.suspend)
    resume = _call(requests.resume)
    force_retry = _call(requests.force_retry)
    explain = _call(requests.explain)
    why = _call(requests.why)
    preview = _call(requests.preview)
    what_if = _call(requests.what_if)
    placements_page = _call(requests.placements_page)
    clusters = _call(requests.clusters)
    nodes = _call(requests.nodes)
    cordon_node = _call(requests.cordon_node)
    drain_node = _call(requests.drain_node)
    uncordon_node = _call(requests.uncordon_node)
    rounds = _call(requests.rounds)
    get_round = _call(requests.get_round)
    list_events = _call(requests.list_events)
    export_round = _call(requests.export_round)
    timeline = _call(requests.timeline)
    watch = _stream(requests.watch)
    logs = _stream(requests.logs)
    watch_events = _stream(requests.watch_events)

    async def jobs(
        self,
        *,
        states: "Sequence[job_pb2.JobState.ValueType]" = (),
        tenant: str = "",
        region: str = "",
        cluster: str = "",
        name_prefix: str = "",
        array_id: str = "",
    ) -> AsyncIterator[job_pb2.Job]:
        """Jobs that pass every filter, newest first; pages are fetched as they are needed."""
        token = ""
        while True:
            page = await self.list_page(
                states=states,
                tenant=tenant,
                region=region,
                cluster=cluster,
                name_prefix=name_prefix,
                array_id=array_id,
                page_token=token,
            )
            for job in page.jobs:
                yield job
            token = page.next_page_token
            if not token:
                return

    async def tasks(
        self, job_id: str, *, states: "Sequence[job_pb2.TaskState.ValueType]" = ()
    ) -> AsyncIterator[job_pb2.Task]:
        """The tasks of an array, or of one chunk, in the order of their indices; pages are
        fetched as they are needed."""
        token = ""
        while True:
            page = await self.list_tasks(job_id, states=states, page_token=token)
            for task in page.tasks:
                yield task
            token = page.next_page_token
            if not token:
                return

    async def placements(
        self, *, cluster: str = "", tenant: str = "", include_final: bool = False
    ) -> placement_pb2.ListPlacementsResponse:
        """All committed and planned placements, the latest start first; from as many pages as it
        takes."""
        found: list[placement_pb2.Placement] = []
        token = ""
        while True:
            page = await self.placements_page(
                cluster=cluster, tenant=tenant, include_final=include_final, page_token=token
            )
            found += page.placements
            token = page.next_page_token
            if not token:
                return requests.by_start(found)

    async def upload(self, directory: Path) -> str:
        """Stores a working directory, unless the scheduler has the same content; its SHA-256."""
        with await asyncio.to_thread(workdir.pack, directory) as packed:
            return (await self.call(requests.upload(packed))).sha256

    async def now_at(self) -> datetime:
        """The scheduler's power clock, aware, UTC."""
        return (await self.clusters()).now_at.ToDatetime(UTC)

    async def prepare(self, document: JobDocument) -> job_pb2.JobSpec:
        """A job file's job, ready to submit: working directory uploaded, relative times counted
        from the scheduler's power clock."""
        sha256 = await self.upload(document.working_dir) if document.working_dir else ""
        now_at = await self.now_at() if document.request.needs_clock else None
        return document.request.to_spec(now_at=now_at, working_dir_sha256=sha256)

    async def call(self, call: requests.Call[Answer]) -> Answer:
        """Makes a call."""
        if isinstance(call.request, Iterator):
            # Where the scheduler answers before it has read everything, grpc.aio may forget that
            # answer over a write of ours that fails then, and tell INTERNAL instead
            # (https://github.com/grpc/grpc/issues/36066). The synchronous stack does not.
            return await self._in_thread(call)
        # The stubs of an asynchronous channel answer with awaitables.
        method = cast(Callable[..., Awaitable[Answer]], call.method(self._stubs))
        try:
            return await method(call.request, timeout=call.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from error

    async def _in_thread(self, call: requests.Call[Answer]) -> Answer:
        if self._closed:
            raise grpc.aio.UsageError("the client is closed")
        # One for each, as closing it is what ends the call when this task is cancelled.
        with self._synchronous() as client:
            self._open.add(client)
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, client.call, call)
            finally:
                self._open.discard(client)

    async def stream(self, stream: requests.Stream[Item]) -> AsyncIterator[Item]:
        """Reads a stream to its end; opens it anew when it breaks after it had begun."""
        method = cast(
            Callable[..., grpc.aio.UnaryStreamCall[object, Item]], stream.method(self._stubs)
        )
        while True:
            answers = method(stream.request, metadata=self._metadata)
            begun = False
            try:
                async for answer in answers:
                    begun = True
                    new = stream.cursor.accept(answer)
                    if new is not None:
                        yield new
                return
            except grpc.RpcError as error:
                if not begun or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise errors.from_rpc(error, self.address) from error
                await self._await_return(error)
                stream.cursor.reopen()
            finally:
                answers.cancel()

    async def _await_return(self, broke: grpc.RpcError) -> None:
        """Waits until the scheduler answers again, for as long as ``RETURN_TIMEOUT_S``."""
        probe = requests.list_page(page_size=1)
        method = cast(Callable[..., Awaitable[job_pb2.ListResponse]], probe.method(self._stubs))
        try:
            await method(
                probe.request,
                timeout=channel.RETURN_TIMEOUT_S,
                metadata=self._metadata,
                wait_for_ready=True,
            )
        except grpc.RpcError:
            raise errors.from_rpc(broke, self.address) from broke

    async def close(self) -> None:
        """Ends every call of this client."""
        self._closed = True
        for client in tuple(self._open):
            client.close()
        self._threads.shutdown(wait=False)
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
