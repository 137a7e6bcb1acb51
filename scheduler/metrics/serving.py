"""Counts, and answers whoever scrapes, for as long as the scheduler runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import prometheus_client
import psutil
from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from scheduler.clock import Clock
from scheduler.config import ConfigError
from scheduler.dispatch.leases import Leases
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.metrics.catalogue import BY_NAME
from scheduler.metrics.tally import Tally, kind
from scheduler.metrics.world import WorldCollector
from scheduler.planning.loop import PlanningLoop
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.store import Store

LAG_EVERY_S = 0.25
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ROUND_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
# Attempts that are live when the scheduler starts; what they save is counted when they end.
LIVE_MOST = 1_000_000
STOP_S = 1.0


class Figures:
    """All figures of one scheduler."""

    def __init__(
        self,
        *,
        book: JobBook,
        fleet: Fleet,
        loop: PlanningLoop,
        leases: Leases,
        clock: Clock,
        planner_pid: Callable[[], int | None],
    ) -> None:
        """Counts from now on. ``planner_pid`` is the planner's process, if it has one."""
        # When a figure was first counted is of no use to anyone, and doubles the series.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.tally = Tally(book.active(), fleet.told)
        self._planner_pid = planner_pid
        book.on_step(self.tally.on_step)
        loop.on_round(self.tally)
        loop.on_round(self)
        self._round_s = self._histogram("westward_round_seconds", ROUND_BUCKETS)
        self._lag_s = self._histogram("westward_event_loop_lag_seconds", LAG_BUCKETS)
        ProcessCollector(registry=self.registry)
        self.registry.register(
            WorldCollector(
                tally=self.tally,
                fleet=fleet,
                leases=leases,
                clock=clock,
                waiting=loop.waiting,
                planner_bytes=self._planner_bytes,
            )
        )

    def made(self, record: RoundRecord) -> None:
        """Takes in how long a round took."""
        self._round_s.labels(kind(record)).observe(record.wall_ms / 1000)

    def placed(self, placements: Sequence[PlacementRecord]) -> None:
        """Counted by the tally."""

    def failed(self, round_id: int, why: str) -> None:
        """Counted by the tally."""

    async def watch_lag(self) -> None:
        """Measures for ever how late the event loop wakes who sleeps on it."""
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(LAG_EVERY_S)  # what is over is what others held the loop for
            self._lag_s.observe(max(time.perf_counter() - began_s - LAG_EVERY_S, 0.0))

    def _histogram(self, name: str, buckets: Sequence[float]) -> Histogram:
        metric = BY_NAME[name]
        return Histogram(name, metric.told, metric.labels, buckets=buckets, registry=self.registry)

    def _planner_bytes(self) -> int | None:
        pid = self._planner_pid()
        # It may just have died, and be started anew.
        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss) if pid is not None else None
        return None


@asynccontextmanager
async def measured(
    listen: str | None, figures: Callable[[], Figures], store: Store
) -> AsyncIterator[None]:
    """Counts and serves within the block; neither where there is no address.

    Args:
        listen: host:port.

    Raises:
        ConfigError: nothing can be served there.
    """
    if listen is None:
        yield
        return
    made = figures()
    known = await store.jobs.placements(limit=LIVE_MOST)
    made.tally.placed([placement for _, placement in known])
    lag = asyncio.create_task(made.watch_lag(), name="event loop lag")
    try:
        async with served(listen, made.registry):
            yield
    finally:
        lag.cancel()
        await asyncio.gather(lag, return_exceptions=True)


@asynccontextmanager
async def served(listen: str, registry: CollectorRegistry) -> AsyncIterator[int]:
    """Answers ``GET /metrics`` within the block; yields the port.

    Raises:
        ConfigError: nothing can be served there.
    """

    async def metrics(request: web.Request) -> web.Response:
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": kind})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        yield runner.addresses[0][1]
    except OSError as error:
        raise ConfigError(
            f"metrics.listen = {listen!r}: cannot serve there ({error}); is another scheduler "
            "running?"
        ) from error
    finally:
        await runner.cleanup()
