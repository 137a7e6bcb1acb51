"""The scheduler's end of the agents' streams, on a real socket, played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from agents.waiting import wait
from westward.v1 import node_pb2, node_pb2_grpc

# The power clock of this scheduler shows another time than the clock on the wall.
CLOCK_AHEAD = timedelta(days=1)


def welcome(gateways: dict[str, str] | None = None, **changes: Any) -> node_pb2.Welcome:
    message = node_pb2.Welcome(report_interval_s=0.1, slot_s=900.0, horizon_s=86400.0)
    message.power_clock.speedup = 1.0
    message.power_clock.real_at.GetCurrentTime()
    message.power_clock.clock_at.FromDatetime(datetime.now(UTC) + CLOCK_AHEAD)
    for region, address in (gateways or {}).items():
        message.gateways.add(region=region, address=address)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@dataclass
class Stream:
    """One stream of one agent: all that it sent, by kind."""

    hello: node_pb2.Hello
    metadata: dict[str, str]
    received: list[node_pb2.ConnectRequest] = field(default_factory=list)
    outgoing: asyncio.Queue[node_pb2.ConnectResponse] = field(default_factory=asyncio.Queue)
    seq: int = 0

    @property
    def reports(self) -> list[node_pb2.ConnectRequest]:
        return self._of("report")

    @property
    def observed(self) -> list[node_pb2.ConnectRequest]:
        return self._of("observed")

    @property
    def logs(self) -> list[node_pb2.ConnectRequest]:
        return self._of("log")

    @property
    def requests(self) -> list[node_pb2.ConnectRequest]:
        return self._of("working_dir_request")

    def states(self) -> dict[str, int]:
        """The newest observed state by attempt."""
        return {a.attempt_id: a.state for a in self.observed[-1].observed.attempts}

    def send(self, seq: int | None = None, **body: Any) -> None:
        self.seq = self.seq + 1 if seq is None else seq
        self.outgoing.put_nowait(node_pb2.ConnectResponse(seq=self.seq, **body))

    def desire(
        self, *attempts: node_pb2.DesiredAttempt, ttl_s: float = 30.0, seq: int | None = None
    ) -> None:
        """Sends a desired state that answers the newest message, with all that came stored."""
        newest = self.received[-1].seq
        desired = node_pb2.DesiredState(
            attempts=attempts, lease_answers_seq=newest, lease_ttl_s=ttl_s, stored_seq=newest
        )
        self.send(desired=desired, seq=seq)

    def _of(self, kind: str) -> list[node_pb2.ConnectRequest]:
        return [message for message in self.received if message.WhichOneof("body") == kind]


class FakeScheduler(node_pb2_grpc.NodeServiceServicer):
    """Welcomes agents and acknowledges reports (unless told not to); the rest is the test's."""

    def __init__(self, greeting: node_pb2.Welcome | None = None) -> None:
        self.greeting = greeting or welcome()
        self.acknowledge = True
        self.streams: list[Stream] = []
        self.on_message: Callable[[Stream, node_pb2.ConnectRequest], None] | None = None
        self._news = asyncio.Event()

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        first = await context.read()
        stream = Stream(first.hello, dict(context.invocation_metadata()))
        stream.received.append(first)
        stream.send(welcome=self.greeting)
        self.streams.append(stream)
        writing = asyncio.create_task(self._write(stream, context))
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                stream.received.append(message)
                if message.WhichOneof("body") == "report" and self.acknowledge:
                    stream.send(report_ack=node_pb2.ReportAck(seq=message.seq))
                if self.on_message is not None:
                    self.on_message(stream, message)
                self._news.set()
        finally:
            writing.cancel()

    async def until(self, holds: Callable[[], Any], limit_s: float = 10.0) -> None:
        """Waits, message by message, until something holds.

        Raises:
            TimeoutError: it never did.
        """
        async with asyncio.timeout(limit_s):
            while not holds():
                self._news.clear()
                await wait(self._news, 0.05)

    async def _write(self, stream: Stream, context: Any) -> None:
        while True:
            await context.write(await stream.outgoing.get())


@asynccontextmanager
async def served(scheduler: FakeScheduler, port: int = 0) -> AsyncIterator[int]:
    """Serves on a loopback port while entered; leaving breaks all streams at once."""
    server = grpc.aio.server()
    node_pb2_grpc.add_NodeServiceServicer_to_server(scheduler, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=None)
