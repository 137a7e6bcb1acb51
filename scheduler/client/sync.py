"""The synchronous client. Its methods return the messages of the wire."""

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar, cast

import grpc

from scheduler.client import channel, errors, requests, workdir
from scheduler.client.jobfile import JobDocument
from westward.v1 import job_pb2, placement_pb2
from westward.v1.job_pb2_grpc import JobServiceStub
from westward.v1.placement_pb2_grpc import PlacementServiceStub

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item = TypeVar("Item")


def _call(
    build: Callable[P, requests.Call[Answer]],
) -> "Callable[Concatenate[Client, P], Answer]":
    @functools.wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self.call(build(*args, **kwargs))

    return method


def _stream(
    build: Callable[P, requests.Stream[Item]],
) -> "Callable[Concatenate[Client, P], Iterator[Item]]":
    @functools.wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        return self.stream(build(*args, **kwargs))

    return method


class Client:
    """A connection to the scheduler; use it as a context manager, share it between threads.

    Every method raises ``errors.WestwardError``, in the kind that says what to do. A call that
    finds the scheduler away is repeated for a few seconds; a broken watch or log stream is taken
    up again where it broke.

    Args:
        address: ``host:port``.
        token: sent with every call.
        tls_ca: PEM file of the authorities to trust; None speaks plain text.
        actor: who asks, as jobs' events and nodes' marks are to tell it; nobody checks it.
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
        self._metadata = channel.metadata(token, actor)
        trust = channel.credentials(tls_ca)
        self._channel = (
            grpc.secure_channel(address, trust, options=channel.OPTIONS)
            if trust
            else grpc.insecure_channel(address, options=channel.OPTIONS)
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

    def jobs(
        self,
        *,
        states: "Sequence[job_pb2.JobState.ValueType]" = (),
        tenant: str = "",
        region: str = "",
        cluster: str = "",
        name_prefix: str = "",
        array_id: str = "",
    ) -> Iterator[job_pb2.Job]:
        """Jobs that pass every filter, newest first; pages are fetched as they are needed."""
        token = ""
        while True:
            page = self.list_page(
                states=states,
                tenant=tenant,
                region=region,
                cluster=cluster,
                name_prefix=name_prefix,
                array_id=array_id,
                page_token=token,
            )
            yield from page.jobs
            token = page.next_page_token
            if not token:
                return

    def tasks(
        self, job_id: str, *, states: "Sequence[job_pb2.TaskState.ValueType]" = ()
    ) -> Iterator[job_pb2.Task]:
        """The tasks of an array, or of one chunk, in the order of their indices; pages are
        fetched as they are needed."""
        token = ""
        while True:
            page = self.list_tasks(job_id, states=states, page_token=token)
            yield from page.tasks
            token = page.next_page_token
            if not token:
                return

    def placements(
        self, *, cluster: str = "", tenant: str = "", include_final: bool = False
    ) -> placement_pb2.ListPlacementsResponse:
        """All committed and planned placements, the latest start first; from as many pages as it
        takes."""
        found: list[placement_pb2.Placement] = []
        token = ""
        while True:
            page = self.placements_page(
                cluster=cluster, tenant=tenant, include_final=include_final, page_token=token
            )
            found += page.placements
            token = page.next_page_token
            if not token:
                return requests.by_start(found)

    def upload(self, directory: Path) -> str:
        """Stores a working directory, unless the scheduler has the same content; its SHA-256."""
        with workdir.pack(directory) as packed:
            return self.call(requests.upload(packed)).sha256

    def now_at(self) -> datetime:
        """The scheduler's power clock, aware, UTC."""
        return self.clusters().now_at.ToDatetime(UTC)

    def prepare(self, document: JobDocument) -> job_pb2.JobSpec:
        """A job file's job, ready to submit: working directory uploaded, relative times counted
        from the scheduler's power clock."""
        sha256 = self.upload(document.working_dir) if document.working_dir else ""
        now_at = self.now_at() if document.request.needs_clock else None
        return document.request.to_spec(now_at=now_at, working_dir_sha256=sha256)

    def call(self, call: requests.Call[Answer]) -> Answer:
        """Makes a call."""
        method = call.method(self._stubs)
        try:
            return method(call.request, timeout=call.timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from error

    def stream(self, stream: requests.Stream[Item]) -> Iterator[Item]:
        """Reads a stream to its end; opens it anew when it breaks after it had begun."""
        method = stream.method(self._stubs)
        while True:
            answers = method(stream.request, metadata=self._metadata)
            begun = False
            try:
                for answer in answers:
                    begun = True
                    new = stream.cursor.accept(answer)
                    if new is not None:
                        yield new
                return
            except grpc.RpcError as error:
                if not begun or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise errors.from_rpc(error, self.address) from error
                self._await_return(error)
                stream.cursor.reopen()
            finally:
                cast("grpc.Future[None]", answers).cancel()

    def _await_return(self, broke: grpc.RpcError) -> None:
        """Waits until the scheduler answers again, for as long as ``RETURN_TIMEOUT_S``."""
        probe = requests.list_page(page_size=1)
        try:
            probe.method(self._stubs)(
                probe.request,
                timeout=channel.RETURN_TIMEOUT_S,
                metadata=self._metadata,
                wait_for_ready=True,
            )
        except grpc.RpcError:
            raise errors.from_rpc(broke, self.address) from broke

    def close(self) -> None:
        """Ends every call of this client."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
