"""The responder that an origin region runs, so that agents can measure the way to it."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager

import grpc
import structlog

from agents.datagrams import Echo
from scheduler import logsetup
from westward.v1 import gateway_pb2, gateway_pb2_grpc

log = structlog.get_logger()

PAYLOAD_LIMIT_BYTES = 1024
# Share by which a delay varies from answer to answer, so that demos have percentiles.
DELAY_JITTER = 0.03
TIMER_LATE_S = 0.002


class GatewayService(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers each echo at once, or late for the clusters in ``delays_ms``."""

    def __init__(self, region: str, delays_ms: Mapping[str, float]) -> None:
        self._region = region
        self._delays_ms = dict(delays_ms)

    async def Echo(
        self,
        request: gateway_pb2.EchoRequest,
        context: "grpc.aio.ServicerContext[gateway_pb2.EchoRequest, gateway_pb2.EchoResponse]",
    ) -> gateway_pb2.EchoResponse:
        if len(request.payload) > PAYLOAD_LIMIT_BYTES:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"payload of {len(request.payload)} bytes; at most {PAYLOAD_LIMIT_BYTES}",
            )
        late = self.late(request.cluster)
        if late is not None:
            await late
        return gateway_pb2.EchoResponse(payload=request.payload, region=self._region)

    def late(self, cluster: str) -> Awaitable[None] | None:
        """What to wait for before a cluster is answered that arrived now; None for nothing."""
        delay_ms = self._delays_ms.get(cluster, 0.0)
        if delay_ms <= 0:
            return None
        jitter = random.uniform(-DELAY_JITTER, DELAY_JITTER)  # noqa: S311
        return _until(time.monotonic() + delay_ms * (1 + jitter) / 1000)


async def _until(moment_s: float) -> None:
    """Until a moment of the monotonic clock. The event loop's timers are late by up to 2 ms, which
    would be a sixth of a usual delay, so the last bit is polled."""
    await asyncio.sleep(max(0.0, moment_s - time.monotonic() - TIMER_LATE_S))
    while time.monotonic() < moment_s:  # noqa: ASYNC110 - no event tells the time
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(region: str, address: str, delays_ms: Mapping[str, float]) -> AsyncIterator[int]:
    """Serves while entered; yields the port, of TCP for echoes and of UDP for datagrams, which the
    system chose if ``address`` ends in :0.

    Raises:
        RuntimeError: the address cannot be bound.
    """
    server = grpc.aio.server()
    service = GatewayService(region, delays_ms)
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(service, server)
    port = server.add_insecure_port(address)
    await server.start()
    host = address.rpartition(":")[0].strip("[]")
    try:
        datagrams, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Echo(region, service.late), local_addr=(host, port)
        )
    except OSError as error:
        await server.stop(grace=None)
        raise RuntimeError(f"UDP port {port} of {host} cannot be bound: {error}") from error
    try:
        yield port
    finally:
        datagrams.close()
        await server.stop(grace=1.0)


async def serve(region: str, address: str, delays_ms: Mapping[str, float]) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        address: host:port to listen on.
        delays_ms: by cluster, how much later to answer it; for demos.

    Raises:
        RuntimeError: the address cannot be bound.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(region, address, delays_ms) as port:
        log.info("gateway_serves", region=region, address=address, port=port, delays_ms=delays_ms)
        await stopped.wait()
    log.info("gateway_stopped", region=region)


def main(region: str, address: str, delays_ms: Mapping[str, float]) -> int:
    """Runs a gateway until it is told to stop; answers the exit code, 2 for a bad address."""
    logsetup.configure()
    try:
        asyncio.run(serve(region, address, delays_ms))
    except RuntimeError as error:
        log.error("gateway_cannot_serve", region=region, address=address, error=str(error))
        return 2
    return 0
