"""The way between agents and scheduler: what gRPC promises, and a good deal less."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tests.simulation.loop import CURRENT, Process
from westward.v1 import node_pb2

DELAY_S = (0.001, 0.08)
# After which gRPC's keepalive gives a silent peer up.
KEEPALIVE_S = 15.0

Accept = Callable[["Stream"], None]


class AbortedError(Exception):
    """The servicer ended a call with a status."""


class Way:
    """The way of one cluster to the scheduler. ``harsh`` is the share of messages that are lost,
    doubled or overtaken, none of which a gRPC stream would do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self.loop = loop
        self.chance = chance
        self.harsh = 0.0
        # What is sent to one side before this time arrives after it, as after a retransmission.
        self.stalled_until_s = {"agent": 0.0, "scheduler": 0.0}
        self.cut_until_s = 0.0
        self.streams: list[Stream] = []
        self.accept: Accept | None = None

    @property
    def cut(self) -> bool:
        return self.loop.time() < self.cut_until_s

    def arrival_s(self, to: str) -> float:
        """When something that leaves now arrives."""
        base_s = max(self.loop.time(), self.stalled_until_s[to])
        return base_s + self.chance.uniform(*DELAY_S)

    def break_streams(self) -> None:
        """Both sides notice, each at its time."""
        for stream in list(self.streams):
            stream.close("agent", self.chance.choice([0.01, self.chance.uniform(0, KEEPALIVE_S)]))
            stream.close(
                "scheduler", self.chance.choice([0.01, self.chance.uniform(0, KEEPALIVE_S)])
            )


class Stream:
    """One bidirectional call: two ordered queues, and two sides that end each at its time."""

    def __init__(self, way: Way, agent: Process) -> None:
        self.way = way
        self.agent = agent
        self.server: Process | None = None
        self.inbox: dict[str, asyncio.Queue[Any]] = {
            "agent": asyncio.Queue(),
            "scheduler": asyncio.Queue(),
        }
        self.closed = {"agent": False, "scheduler": False}
        self._last_s = {"agent": 0.0, "scheduler": 0.0}
        self._handler: asyncio.Task[None] | None = None
        way.streams.append(self)

    def send(self, to: str, message: Any) -> None:
        """Puts a message on its way; a dead sender says nothing."""
        sender = self.server if to == "agent" else self.agent
        if sender is None or not sender.alive or self.way.cut:
            return
        chance = self.way.chance
        copies = 1
        if chance.random() < self.way.harsh:
            copies = chance.choice([0, 2])
        for _ in range(copies):
            at_s = self.way.arrival_s(to)
            if chance.random() >= self.way.harsh:
                at_s = max(at_s, self._last_s[to])
                self._last_s[to] = at_s
            self.way.loop.call_at(at_s, self.inbox[to].put_nowait, message)

    def close(self, side: str, after_s: float) -> None:
        """Lets one side notice, after a while, that the stream is over."""
        self.way.loop.call_later(after_s, self._close, side)

    def _close(self, side: str) -> None:
        if self.closed[side]:
            return
        self.closed[side] = True
        self.inbox[side].put_nowait(grpc.aio.EOF)
        if side == "scheduler" and self._handler is not None:
            self._handler.cancel()
        if all(self.closed.values()):
            self.way.streams.remove(self)

    # The scheduler's side.

    def open(self) -> None:
        """The call has reached the scheduler's host."""
        if self.way.cut or self.way.accept is None:
            self.close("agent", self.way.chance.uniform(0.001, 0.5))
            self.close("scheduler", 0.0)
            return
        self.way.accept(self)

    def serve(self, server: Process, servicer: Any) -> None:
        """Runs the servicer's method for this call, in the scheduler's process."""
        self.server = server
        self._handler = server.spawn(self._served(servicer))

    async def _served(self, servicer: Any) -> None:
        try:
            async for response in servicer.Connect(self._requests(), Context()):
                self.send("agent", response)
        except AbortedError:
            pass
        finally:
            self.close("agent", self.way.chance.uniform(0.001, 0.1))
            self.close("scheduler", 0.0)

    async def _requests(self) -> AsyncIterator[node_pb2.ConnectRequest]:
        while (message := await self.inbox["scheduler"].get()) is not grpc.aio.EOF:
            yield message

    # The agent's side: as much of a grpc.aio call as the agent uses.

    async def write(self, message: node_pb2.ConnectRequest) -> None:
        if self.closed["agent"]:
            raise asyncio.InvalidStateError("the stream is over")
        self.send("scheduler", message)

    async def read(self) -> Any:
        if self.closed["agent"] and self.inbox["agent"].empty():
            return grpc.aio.EOF
        return await self.inbox["agent"].get()

    def cancel(self) -> None:
        self.close("agent", 0.0)
        noticed_s = 0.01 if self.agent.alive and not self.way.cut else KEEPALIVE_S
        self.close("scheduler", self.way.chance.uniform(0.0, noticed_s))


class Context:
    """As much of a servicer's context as it uses."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise AbortedError(f"{code.name}: {details}")


@asynccontextmanager
async def channel(way: Way) -> AsyncIterator[Any]:
    """As much of a grpc.aio channel as a stub uses."""
    yield _Channel(way)


class _Channel:
    def __init__(self, way: Way) -> None:
        self._way = way

    def stream_stream(self, *_: Any, **__: Any) -> Callable[..., Stream]:
        def call(**_: Any) -> Stream:
            stream = Stream(self._way, CURRENT.get())
            self._way.loop.call_at(self._way.arrival_s("scheduler"), stream.open)
            return stream

        return call
