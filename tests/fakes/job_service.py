"""The real job servicer over a real store, on a loopback socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from scheduler.clock import Clock
from scheduler.rpc.jobs import JobServicer
from scheduler.state.jobs import JobBook
from scheduler.store import Store
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import SmallWorld, opened
from westward.v1 import job_pb2_grpc


@dataclass(frozen=True, slots=True)
class Service:
    """What a test may touch of a running service."""

    stub: "job_pb2_grpc.JobServiceAsyncStub"  # known to type checkers alone
    store: Store
    book: JobBook
    world: SmallWorld
    clock: Clock
    address: str


@asynccontextmanager
async def serving(folder: Path, clock: Clock | None = None) -> AsyncIterator[Service]:
    """A job service on a port of its own, until the block ends."""
    clock = clock or ManualClock()
    async with opened(folder, clock) as (store, book):
        world = SmallWorld()
        server = grpc.aio.server()
        job_pb2_grpc.add_JobServiceServicer_to_server(
            JobServicer(book, store, world, clock), server
        )
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                stub = job_pb2_grpc.JobServiceStub(channel)
                yield Service(stub, store, book, world, clock, address)
        finally:
            await server.stop(None)
