"""The one stream to the scheduler: opened, kept, and opened again while the agent lives."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import grpc
import structlog
from google.protobuf.message import Message

from agents.config import SchedulerAddress
from agents.lease import lease_clock_s
from agents.wire import RefusedMessageError, Terms, terms
from westward.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger()

# A scheduler that thousands come back to at once answers late; who gave up would come again.
WELCOME_LIMIT_S = 20.0
# Reports are acknowledged one by one: a scheduler silent for several intervals hangs, or the
# way to it swallows packets; a fresh stream may find another way.
SILENT_REPORTS = 4
SILENT_LEAST_S = 15.0
BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 10.0
# A stream that lived for so long was a good one: the next back-off starts from the first again.
SETTLED_S = 5.0
REMEMBERED_SENDS = 8192
MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024
SILENCE_LOOK_S = 0.001
WINDOW_BYTES = 8 * 1024 * 1024

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
    # To size its window, gRPC sends a ping after what comes: with one small message in seconds,
    # pings make half of the wake-ups at both ends. So the window is a fixed one, large enough for a
    # working directory over a long way: with gRPC's own 64 KiB, 40 ms let 6 MB/s through.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    # Each attempt to connect is ours, with our back-off and not that of an earlier channel.
    ("grpc.use_local_subchannel_pool", 1),
)


class DisconnectedError(Exception):
    """The stream is over; the message says why."""


class Session:
    """One open stream. Messages of all senders are numbered in the order they are written."""

    def __init__(
        self, call: "grpc.aio.StreamStreamCall[node_pb2.ConnectRequest, node_pb2.ConnectResponse]"
    ) -> None:
        self._call = call
        self._lock = asyncio.Lock()
        self._seq = 0
        # The newest report that was sent.
        self.report: node_pb2.ConnectRequest | None = None
        # Since when the scheduler's next word has been waited for, by the loop's clock; infinite
        # while the last one is being handled.
        self.waits_since_s = math.inf
        self._sent_at_s: dict[int, float] = {}

    async def send(self, **body: Message) -> int:
        """Writes one message, waiting while the way is congested; answers its seq.

        Raises:
            grpc.aio.AioRpcError, asyncio.InvalidStateError: the stream is over.
        """
        async with self._lock:
            self._seq += 1
            message = node_pb2.ConnectRequest(seq=self._seq, **body)  # type: ignore[arg-type]
            message.sent_at.FromNanoseconds(time.time_ns())
            # Before the write: a lease counted from here ends earlier, never later.
            self._sent_at_s[self._seq] = lease_clock_s()
            self._sent_at_s.pop(self._seq - REMEMBERED_SENDS, None)
            await self._call.write(message)
            if "report" in body:
                self.report = message
            return self._seq

    def sent_at_s(self, seq: int) -> float | None:
        """When a message was sent, on the lease clock; None if it is not remembered."""
        return self._sent_at_s.get(seq)

    async def receive(self) -> node_pb2.ConnectResponse:
        """The next message.

        Raises:
            DisconnectedError: the scheduler closed the stream.
            grpc.aio.AioRpcError: the stream broke.
        """
        self.waits_since_s = asyncio.get_running_loop().time()
        message = await self._call.read()
        self.waits_since_s = math.inf
        if not isinstance(message, node_pb2.ConnectResponse):
            raise DisconnectedError("the scheduler closed the stream")
        return message

    async def silence(self, limit_s: float) -> None:
        """Watches until the scheduler has been silent for ``limit_s``: one timer for all messages,
        as one for each would be set and cancelled for every report.

        Raises:
            DisconnectedError: it has been.
        """
        loop = asyncio.get_running_loop()
        while True:
            waited_s = max(0.0, loop.time() - self.waits_since_s)
            if waited_s >= limit_s:
                raise DisconnectedError(f"the scheduler was silent for {limit_s:g} s")
            # What it waits for is that nothing comes. The least time moves every clock on: what is
            # left by a rounding error would not.
            await asyncio.sleep(max(limit_s - waited_s, SILENCE_LOOK_S))


Handler = Callable[[Session, node_pb2.ConnectResponse], Awaitable[None]]
Worker = Callable[[Session, Terms], Awaitable[None]]


class Link:
    """Connects, says hello, then runs the workers and hands messages to the handlers until the
    stream breaks; and so on with exponential back-off and full jitter.

    Args:
        handlers: by name of the message's body; bodies without one are ignored.
        workers: run once per stream from its Welcome on, and are cancelled when it ends.
    """

    def __init__(
        self,
        scheduler: SchedulerAddress,
        hello: node_pb2.Hello,
        *,
        handlers: Mapping[str, Handler],
        workers: Sequence[Worker],
    ) -> None:
        self._scheduler = scheduler
        self._hello = hello
        self._handlers = handlers
        self._workers = workers
        # The stream while it is open, and since when it is or is not, with why not.
        self.session: Session | None = None
        self.since_at = datetime.now(UTC)
        self.why = "not connected yet"

    async def run(self) -> None:
        """Runs until cancelled; nothing that the other side does ends it."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            opened_s = loop.time()
            why = await self._one_stream()
            if self.session is not None:
                self.session, self.since_at = None, datetime.now(UTC)
            self.why = why
            failures = 0 if loop.time() - opened_s > SETTLED_S else failures + 1
            most_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures, 16))
            pause_s = random.uniform(0, most_s)  # noqa: S311
            log.warning("scheduler_away", why=why, retry_in_s=round(pause_s, 2))
            await asyncio.sleep(pause_s)

    async def _one_stream(self) -> str:
        """Holds one stream to its end and answers why it ended."""
        try:
            async with self._channel() as channel:
                await self._hold(channel)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except asyncio.InvalidStateError:
            return "the stream was closed"
        except (DisconnectedError, RefusedMessageError, OSError) as error:
            return str(error)
        except Exception as error:
            # A bug met by one message must not end the daemon, which keeps attempts safe.
            log.exception("link_broke")
            return repr(error)
        return "the stream ended"

    def _channel(self) -> grpc.aio.Channel:
        where, ca = self._scheduler.address, self._scheduler.tls_ca
        compression = grpc.Compression.Gzip
        if ca is None:
            return grpc.aio.insecure_channel(where, CHANNEL_OPTIONS, compression)
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        return grpc.aio.secure_channel(where, credentials, CHANNEL_OPTIONS, compression)

    async def _hold(self, channel: grpc.aio.Channel) -> None:
        token = self._scheduler.token
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        call = node_pb2_grpc.NodeServiceStub(channel).Connect(metadata=metadata)
        session = Session(call)
        await session.send(hello=self._hello)
        first = await _welcome(session)
        if first.WhichOneof("body") != "welcome":
            raise DisconnectedError("the scheduler's first message was no welcome")
        agreed = terms(first.welcome)
        log.info("scheduler_connected", address=self._scheduler.address)
        self.session, self.since_at, self.why = session, datetime.now(UTC), ""
        silence_s = max(SILENT_LEAST_S, SILENT_REPORTS * agreed.report_interval_s)
        tasks = [asyncio.create_task(self._read(session))]
        tasks += [asyncio.create_task(session.silence(silence_s))]
        tasks += [asyncio.ensure_future(worker(session, agreed)) for worker in self._workers]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    async def _read(self, session: Session) -> None:
        while True:
            message = await session.receive()
            handler = self._handlers.get(message.WhichOneof("body") or "")
            if handler is None:
                continue
            try:
                await handler(session, message)
            except RefusedMessageError as error:
                log.warning("message_refused", seq=message.seq, error=str(error))


async def _welcome(session: Session) -> node_pb2.ConnectResponse:
    try:
        async with asyncio.timeout(WELCOME_LIMIT_S):
            return await session.receive()
    except TimeoutError as error:
        raise DisconnectedError(f"the scheduler was silent for {WELCOME_LIMIT_S:g} s") from error
