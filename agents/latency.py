"""Round-trip times to the origin regions' gateways, measured over real sockets."""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
import structlog

from westward.v1 import gateway_pb2, gateway_pb2_grpc

log = structlog.get_logger()

WINDOW_PROBES = 60
PROBE_EVERY_S = 1.0
# Quick ones at first, so that the first report stands on enough samples.
FIRST_PROBES = 10
FIRST_EVERY_S = 0.05
# Without an answer by then a probe is lost.
PROBE_LIMIT_S = 2.0
PAYLOAD = bytes(32)


@dataclass(frozen=True, slots=True)
class RttStatistics:
    """Percentiles over the ``samples`` answered probes of the window; ``loss`` is the share
    unanswered.

    Percentiles are by nearest rank (the smallest value that at least p % of values do not
    exceed), hence always a time that was measured.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    loss: float
    samples: int


def statistics(outcomes: Sequence[float | None]) -> RttStatistics | None:
    """Summarises a window of round-trip times in ms, None standing for a lost probe.

    None when no probe was answered: there is no time to tell.
    """
    answered = sorted(rtt_ms for rtt_ms in outcomes if rtt_ms is not None)
    if not answered:
        return None

    def rank(share: float) -> float:
        return round(answered[max(0, math.ceil(share * len(answered)) - 1)], 3)

    loss = 1 - len(answered) / len(outcomes)
    return RttStatistics(rank(0.50), rank(0.95), rank(0.99), loss, len(answered))


class GatewayProbe:
    """Probes one region's gateway, once a second with jitter, over one kept connection.

    Time to connect is never counted: while there is no connection, a probe is lost.
    """

    def __init__(self, region: str, address: str, cluster: str, ready: Callable[[], None]) -> None:
        self.region = region
        self.address = address
        self.outcomes: deque[float | None] = deque(maxlen=WINDOW_PROBES)
        self._request = gateway_pb2.EchoRequest(payload=PAYLOAD, cluster=cluster)
        self._ready = ready

    async def run(self) -> None:
        """Probes until cancelled; calls ``ready`` once, after the first quick probes."""
        # Its own TCP connection: the round trip must not queue behind other regions' probes.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 2000)]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            stub = gateway_pb2_grpc.GatewayServiceStub(channel)
            count = 0
            while True:
                self._note(await self._probe(channel, stub))
                count += 1
                if count == FIRST_PROBES:
                    self._ready()
                every_s = FIRST_EVERY_S if count < FIRST_PROBES else PROBE_EVERY_S
                await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311

    def _note(self, rtt_ms: float | None) -> None:
        answered_before = not self.outcomes or self.outcomes[-1] is not None
        if (rtt_ms is not None) != answered_before:
            event = "gateway_answers" if rtt_ms is not None else "gateway_silent"
            log.warning(event, region=self.region, address=self.address)
        self.outcomes.append(rtt_ms)

    async def _probe(
        self, channel: grpc.aio.Channel, stub: "gateway_pb2_grpc.GatewayServiceAsyncStub"
    ) -> float | None:
        try:
            if channel.get_state() is not grpc.ChannelConnectivity.READY:
                async with asyncio.timeout(PROBE_LIMIT_S):
                    await channel.channel_ready()
                await stub.Echo(self._request, timeout=PROBE_LIMIT_S)
            sent_s = time.perf_counter()
            answer = await stub.Echo(self._request, timeout=PROBE_LIMIT_S)
            rtt_ms = (time.perf_counter() - sent_s) * 1000
        except (TimeoutError, grpc.aio.AioRpcError):
            return None
        if answer.region != self.region:
            log.warning("gateway_is_another", region=self.region, answers_as=answer.region)
            return None
        return rtt_ms


class Prober:
    """One probe per region that the scheduler names."""

    def __init__(self, cluster: str) -> None:
        # Set whenever a region has its first samples, so that they are reported at once.
        self.news = asyncio.Event()
        self._cluster = cluster
        self._probes: dict[str, tuple[GatewayProbe, asyncio.Task[None]]] = {}

    def probe(self, gateways: Mapping[str, str]) -> None:
        """Probes exactly these gateways (address by region) from now on."""
        for region, (probe, task) in list(self._probes.items()):
            if gateways.get(region) != probe.address:
                task.cancel()
                del self._probes[region]
        for region, address in gateways.items():
            if region not in self._probes:
                probe = GatewayProbe(region, address, self._cluster, self.news.set)
                task = asyncio.create_task(probe.run(), name=f"probe-{region}")
                task.add_done_callback(_log_crash)
                self._probes[region] = (probe, task)

    def measured(self) -> dict[str, RttStatistics]:
        """Statistics by region, of those that have had their first probes and answered any."""
        return {
            region: measured
            for region, (probe, _) in self._probes.items()
            if len(probe.outcomes) >= FIRST_PROBES
            and (measured := statistics(probe.outcomes)) is not None
        }

    async def close(self) -> None:
        tasks = [task for _, task in self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._probes.clear()


def _log_crash(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("probe_broke", task=task.get_name(), error=repr(error))
