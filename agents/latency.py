"""Round-trip times to the origin regions' gateways, measured over real sockets.

Three ways of asking: datagrams (`agents.datagrams`), the gRPC echo, and TCP connections. What is
reported are the datagrams, or the echoes where a firewall lets no datagrams through.
"""

import asyncio
import itertools
import math
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import grpc
import structlog

from agents.datagrams import Pinger
from agents.link import Session
from westward.v1 import gateway_pb2, gateway_pb2_grpc, node_pb2

log = structlog.get_logger()

# Quick ones at first, so that the first report stands on enough samples.
FIRST_PROBES = 20
FIRST_EVERY_S = 0.05
PAYLOAD = bytes(32)
WINDOW_ECHOES = 120
# A minute of datagrams for the times; ten for the loss, as one in a hundred is seldom seen: that of
# 1,200 is within 0.9 points of one of 10 %, and within 0.3 of 1 % (one standard deviation).
WINDOW_DATAGRAMS = 120
WINDOW_LOSS = 1200
WINDOW_CONNECTS = 12


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a gateway is asked, and without an answer by when an attempt is lost. Echoes are
    rare while datagrams come back."""

    datagram_every_s: float = 0.5
    echo_every_s: float = 1.0
    spare_echo_every_s: float = 10.0
    connect_every_s: float = 10.0
    limit_s: float = 2.0


@dataclass(frozen=True, slots=True)
class RttStatistics:
    """Percentiles over the ``samples`` answered probes of the window. ``loss`` is the share of
    ``loss_samples`` probes unanswered, ``jitter_ms`` the mean change from one answered probe to
    the next (that of RFC 3550, unsmoothed), ``connect_ms`` the median that a TCP connection took.

    Percentiles are by nearest rank (the smallest value that at least p % of values do not
    exceed), hence always a time that was measured.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    loss: float
    samples: int
    jitter_ms: float = 0.0
    loss_samples: int = 0
    connect_ms: float | None = None

    def facts(self, region: str) -> node_pb2.RttFacts:
        """For the scheduler."""
        return node_pb2.RttFacts(
            region=region,
            p50_ms=self.p50_ms,
            p95_ms=self.p95_ms,
            p99_ms=self.p99_ms,
            loss=self.loss,
            samples=self.samples,
            jitter_ms=self.jitter_ms,
            connect_ms=self.connect_ms,
            loss_samples=self.loss_samples,
        )


def statistics(outcomes: Sequence[float | None], window: int = 0) -> RttStatistics | None:
    """Summarises round-trip times in ms, None standing for a lost probe.

    Args:
        window: of how many newest ones the times count; 0 for all. The loss is that of all.

    None when no probe of the window was answered: there is no time to tell.
    """
    newest = itertools.islice(outcomes, max(0, len(outcomes) - window) if window else 0, None)
    answered = [rtt_ms for rtt_ms in newest if rtt_ms is not None]
    if not answered:
        return None
    changes = [abs(later - earlier) for earlier, later in itertools.pairwise(answered)]
    ranked = sorted(answered)

    def rank(share: float) -> float:
        return round(ranked[max(0, math.ceil(share * len(ranked)) - 1)], 3)

    return RttStatistics(
        rank(0.50),
        rank(0.95),
        rank(0.99),
        round(sum(rtt_ms is None for rtt_ms in outcomes) / len(outcomes), 4),
        len(answered),
        round(sum(changes) / len(changes), 3) if changes else 0.0,
        len(outcomes),
    )


class GatewayProbe:
    """Asks one region's gateway in all three ways.

    Of an echo, time to connect is never counted: while there is no connection, a probe is lost.
    """

    def __init__(
        self,
        region: str,
        address: str,
        cluster: str,
        ready: Callable[[], None],
        pace: Pace = Pace(),
    ) -> None:
        """``ready`` is called once, when there are enough samples for a first report."""
        self.region = region
        self.address = address
        self._pace = pace
        self._pinger = Pinger(region, cluster, WINDOW_LOSS, pace.limit_s)
        self._echoes: deque[float | None] = deque(maxlen=WINDOW_ECHOES)
        self._connects_ms: deque[float] = deque(maxlen=WINDOW_CONNECTS)
        self._request = gateway_pb2.EchoRequest(payload=PAYLOAD, cluster=cluster)
        self._ready = ready

    async def run(self) -> None:
        """Probes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ping())
            group.create_task(self._echo())
            group.create_task(self._connect())

    def measured(self) -> RttStatistics | None:
        """What has been measured, once there are enough samples."""
        for outcomes, window in ((self._pinger.outcomes, WINDOW_DATAGRAMS), (self._echoes, 0)):
            found = statistics(outcomes, window)
            if found is not None and len(outcomes) >= FIRST_PROBES:
                connect_ms = round(median(self._connects_ms), 3) if self._connects_ms else None
                return replace(found, connect_ms=connect_ms)
        return None

    async def _ping(self) -> None:
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        while True:
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: self._pinger, remote_addr=(host.strip("[]"), int(port))
                )
            except (OSError, ValueError, OverflowError):
                await asyncio.sleep(self._pace.spare_echo_every_s)  # no such name at present
                continue
            try:
                await self._ping_on(transport)
            finally:
                transport.close()

    async def _ping_on(self, transport: asyncio.DatagramTransport) -> None:
        for count in itertools.count():
            if transport.is_closing():
                return
            self._pinger.ping()
            if len(self._pinger.outcomes) == FIRST_PROBES:
                self._ready()
            first = count < FIRST_PROBES and self._pace.datagram_every_s > FIRST_EVERY_S
            await _pause(FIRST_EVERY_S if first else self._pace.datagram_every_s)

    async def _echo(self) -> None:
        # Its own TCP connection: the round trip must not queue behind other regions' probes.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Else every echo is followed by a ping of gRPC's own.
            ("grpc.http2.bdp_probe", 0),
        ]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            stub = gateway_pb2_grpc.GatewayServiceStub(channel)
            for count in itertools.count(1):
                self._note(await self._one_echo(channel, stub))
                if count == FIRST_PROBES:
                    self._ready()
                if count < FIRST_PROBES:
                    await _pause(FIRST_EVERY_S)
                elif statistics(self._pinger.outcomes, WINDOW_DATAGRAMS) is not None:
                    await _pause(self._pace.spare_echo_every_s)
                else:
                    await _pause(self._pace.echo_every_s)

    def _note(self, rtt_ms: float | None) -> None:
        answered_before = not self._echoes or self._echoes[-1] is not None
        if (rtt_ms is not None) != answered_before:
            event = "gateway_answers" if rtt_ms is not None else "gateway_silent"
            log.warning(event, region=self.region, address=self.address)
        self._echoes.append(rtt_ms)

    async def _one_echo(
        self, channel: grpc.aio.Channel, stub: "gateway_pb2_grpc.GatewayServiceAsyncStub"
    ) -> float | None:
        limit_s = self._pace.limit_s
        try:
            if channel.get_state() is not grpc.ChannelConnectivity.READY:
                async with asyncio.timeout(limit_s):
                    await channel.channel_ready()
                await stub.Echo(self._request, timeout=limit_s)
            sent_s = time.perf_counter()
            answer = await stub.Echo(self._request, timeout=limit_s)
            rtt_ms = (time.perf_counter() - sent_s) * 1000
        except (TimeoutError, grpc.aio.AioRpcError):
            return None
        if answer.region != self.region:
            log.warning("gateway_is_another", region=self.region, answers_as=answer.region)
            return None
        return rtt_ms

    async def _connect(self) -> None:
        host, _, port = self.address.rpartition(":")
        while True:
            began_s = time.perf_counter()
            try:
                async with asyncio.timeout(self._pace.limit_s):
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                self._connects_ms.append((time.perf_counter() - began_s) * 1000)
                writer.close()
            except (OSError, ValueError, OverflowError, TimeoutError):
                self._connects_ms.clear()
            await _pause(self._pace.connect_every_s)


async def _pause(about_s: float) -> None:
    """With jitter, so that many agents do not fall into step."""
    await asyncio.sleep(about_s * random.uniform(0.8, 1.2))  # noqa: S311


class Prober:
    """One probe per region that the scheduler asks of this agent."""

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

    async def on_duty(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes what the scheduler asks for when others of the cluster come and go."""
        self.probe({g.region: g.address for g in message.probe_duty.gateways})

    def measured(self) -> dict[str, RttStatistics]:
        """Statistics by region, of those that have had their first probes and answered any."""
        found = {region: probe.measured() for region, (probe, _) in self._probes.items()}
        return {region: measured for region, measured in found.items() if measured is not None}

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
