"""One agent's open stream, as the scheduler's end keeps it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from scheduler.rpc.convert_nodes import GarbledError
from scheduler.state.known import Identity
from westward.v1 import node_pb2

# Messages that wait for an agent that does not read; beyond it, nothing more is read from it.
OUTGOING_MOST = 1024
DIRS_MOST = 1024


@dataclass(slots=True, eq=False)
class AgentStream:
    """One agent's open stream: what waits to be sent, whether its cluster's wish changed, and the
    working directories that it asked for."""

    identity: Identity
    received_seq: int = 0
    stored_seq: int = 0
    _sent_seq: int = 0
    _queue: deque[node_pb2.ConnectResponse] = field(default_factory=deque)
    _wished: bool = False
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _dirs: dict[str, None] = field(default_factory=dict)
    _dir_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False
    _works: list[asyncio.Task[None]] = field(default_factory=list)
    _over: asyncio.Task[None] | None = None

    @property
    def cluster(self) -> str:
        return self.identity.cluster

    def work(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something beside the sending; the first that ends, ends the stream."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._works.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._over = self._over or task
        self._ready.set()

    async def close(self) -> None:
        """Ends all that runs beside the sending."""
        for task in self._works:
            task.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)

    async def send(
        self, message: node_pb2.ConnectResponse, waiting_most: int = OUTGOING_MOST
    ) -> None:
        """Queues a message, once there are fewer than ``waiting_most`` that wait."""
        while len(self._queue) >= waiting_most:
            self._room.clear()
            await self._room.wait()
        self.tell(message)

    def wish_changed(self) -> None:
        """The newest wish goes out before anything that waits, once however often this is said."""
        self._wished = True
        self._ready.set()

    def tell(self, message: node_pb2.ConnectResponse) -> None:
        """Queues one of the few messages that do not answer the agent's own."""
        self._queue.append(message)
        self._ready.set()

    def ask_dir(self, sha256: str) -> bool:
        """Notes a wish for a working directory; one that waits already is not sent twice. Whether
        it is the stream's first.

        Raises:
            GarbledError: far more are asked for than anyone can need.
        """
        if len(self._dirs) >= DIRS_MOST:
            raise GarbledError(f"working_dir_request: over {DIRS_MOST} wait to be sent")
        self._dirs[sha256] = None
        self._dir_asked.set()
        first, self._asked = not self._asked, True
        return first

    async def next_dir(self) -> str:
        """Waits for the next working directory to send."""
        while not self._dirs:
            self._dir_asked.clear()
            await self._dir_asked.wait()
        sha256 = next(iter(self._dirs))
        del self._dirs[sha256]
        return sha256

    async def next(
        self, wish: Callable[[int], node_pb2.DesiredState]
    ) -> node_pb2.ConnectResponse | None:
        """Waits for the next message to send; ``wish(seq)`` makes a desired state at the moment
        it leaves, so that no stale one is ever sent. None when the agent has hung up.

        Raises:
            Exception: what ended the work beside.
        """
        while self._over is None and not self._queue and not self._wished:
            self._ready.clear()
            await self._ready.wait()
        if self._over is not None:
            self._over.result()
            return None
        self._sent_seq += 1
        if self._wished and self._sent_seq > 1:  # the first message is the welcome
            self._wished = False
            message = node_pb2.ConnectResponse(desired=wish(self._sent_seq))
        else:
            message = self._queue.popleft()
            self._room.set()
        message.seq = self._sent_seq
        message.sent_at.FromNanoseconds(time.time_ns())
        return message
