"""The composition root: the only place that knows every part."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from scheduler import housekeeping
from scheduler.clock import Clock, PowerClock
from scheduler.config import ConfigError, SchedulerConfig, load
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.drain import Drain
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import Streams
from scheduler.heap import collect_rarely
from scheduler.logsetup import configure
from scheduler.metrics.serving import Figures, measured
from scheduler.planning.loop import PlanningLoop
from scheduler.planning.process import PlannerProcess
from scheduler.policyfile.live import LiveRules
from scheduler.rpc.acceptance import Acceptance
from scheduler.rpc.auth import TokenInterceptor
from scheduler.rpc.jobs import JobServicer
from scheduler.rpc.nodes import NodeServicer
from scheduler.rpc.placements import PlacementServicer
from scheduler.rpc.preview import PreviewCalls, Questions
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.store import Store, granted
from scheduler.store.errors import StoreError
from westward.v1 import (
    job_pb2,
    job_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    placement_pb2,
    placement_pb2_grpc,
)

log = structlog.get_logger()

SERVICES = (
    job_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
    node_pb2.DESCRIPTOR.services_by_name["NodeService"].full_name,
    placement_pb2.DESCRIPTOR.services_by_name["PlacementService"].full_name,
)
SERVER_OPTIONS = [
    # A dead peer is noticed within 15 s even when nobody talks.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A cluster's whole wish can be large; what comes in stays at gRPC's 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]
STOP_GRACE_S = 2.0
# Threads pack and unpack what goes to the planner and the database: how long one of them keeps the
# event loop from answering. Python's own 5 ms add up.
SWITCH_S = 0.001


def _clock(config: SchedulerConfig) -> Clock:
    now = datetime.now(UTC)
    return PowerClock(config.clock.speedup, now, (config.clock.starts_at or now).astimezone(UTC))


def _fleet(config: SchedulerConfig, clock: Clock, store: Store) -> Fleet:
    return Fleet(
        clock,
        config.domain_regions(),
        config.report_interval_s,
        store.marks.all,
        series_trusted_s=config.series_trusted_hours * 3600,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A scheduler, wired."""

    config: SchedulerConfig
    clock: Clock
    store: Store
    planner: PlannerProcess
    book: JobBook
    fleet: Fleet
    audit: Audit
    streams: Streams
    leases: Leases
    dispatcher: Dispatcher
    loop: PlanningLoop


@asynccontextmanager
async def running(config: SchedulerConfig) -> AsyncIterator[str]:
    """A whole scheduler, until the context ends; yields the host:port it serves on.

    Raises:
        StoreError: the database cannot be used.
        ConfigError: the address, the certificate or the policy file cannot be used.
        LoopDiedError: a part that should live for ever did not.
    """
    clock = _clock(config)
    store = await Store.open(config.database_url)
    planner = PlannerProcess()
    tasks: list[asyncio.Task[None]] = []
    server: grpc.aio.Server | None = None
    parts: Parts | None = None
    try:
        parts = await _wired(config, clock, store, planner)
        server = _server(config, *_servicers(parts))
        address = await _listen(server, config)
        tasks = _spawned(_loops(parts))
        async with measured(config.metrics.listen, partial(_figures, parts), store):
            parts.loop.trigger("start")
            log.info("scheduler.serving", address=address, database=store.safe_url)
            yield address
    finally:
        if server is not None:
            await server.stop(STOP_GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        planner.close()
        if parts is not None:
            await parts.audit.end()
        await store.close()
    _raise_ends(tasks)


async def _wired(
    config: SchedulerConfig, clock: Clock, store: Store, planner: PlannerProcess
) -> Parts:
    book = JobBook(store, clock)
    await book.load()
    fleet = _fleet(config, clock, store)
    audit = Audit(store.events, fleet, clock, config.report_interval_s)
    await audit.begin()
    streams = Streams()
    leases = await _leases(store, clock, config.lease_ttl_s)
    dispatcher = Dispatcher(book, fleet, leases, streams, clock)
    loop = _planning(planner, config=config, clock=clock, book=book, fleet=fleet, store=store)
    loop.on_round(audit)
    book.on_step(dispatcher.on_step)
    book.on_step(loop.on_step)
    book.on_step(lambda _: audit.bell.ring())
    return Parts(
        config=config,
        clock=clock,
        store=store,
        planner=planner,
        book=book,
        fleet=fleet,
        audit=audit,
        streams=streams,
        leases=leases,
        dispatcher=dispatcher,
        loop=loop,
    )


def _servicers(parts: Parts) -> tuple[JobServicer, NodeServicer, PlacementServicer]:
    book, store, clock = parts.book, parts.store, parts.clock
    world = World(parts.fleet, parts.loop, parts.dispatcher, parts.config, store=store, clock=clock)
    jobs = JobServicer(book, store, world, clock)
    acceptance = Acceptance(book, store, world, clock)
    nodes = NodeServicer(
        config=parts.config,
        clock=parts.clock,
        fleet=parts.fleet,
        dispatcher=parts.dispatcher,
        streams=parts.streams,
        store=parts.store,
        changed=parts.loop.trigger,
        audit=parts.audit,
    )
    placements = PlacementServicer(
        book=parts.book,
        fleet=parts.fleet,
        loop=parts.loop,
        export=parts.planner.export,
        previews=PreviewCalls(world.questions, acceptance, book, clock),
        store=parts.store,
        clock=parts.clock,
        audit=parts.audit,
    )
    return jobs, nodes, placements


def _loops(parts: Parts) -> dict[str, Coroutine[Any, Any, None]]:
    """What runs for ever."""
    store, clock = parts.store, parts.clock
    return {
        "planning loop": _plan(parts.loop, parts.planner),
        "contact watch": parts.dispatcher.watch_contact(),
        "drain": Drain(parts.book, store.marks.all, clock).watch(),
        "leadership watch": store.database.keep_leading(),
        "earlier leases": housekeeping.settle_leases(store, parts.leases),
        "energy": parts.fleet.meters.keep_always(store.energy),
        "audit": parts.audit.watch(),
        "retention": housekeeping.tidy(store, parts.config.keep, clock),
    }


def _figures(parts: Parts) -> Figures:
    return Figures(
        book=parts.book,
        fleet=parts.fleet,
        loop=parts.loop,
        leases=parts.leases,
        clock=parts.clock,
        planner_pid=lambda: parts.planner.pid,
    )


async def _leases(store: Store, clock: Clock, lease_ttl_s: float) -> Leases:
    """Leases that bear in mind what a scheduler before this one may have granted."""
    return Leases(
        clock,
        lease_ttl_s,
        earlier_ttl_s=await granted.begin(store.database, lease_ttl_s),
        others_act_s=store.database.others_act_s,
    )


def _planning(
    planner: PlannerProcess,
    *,
    config: SchedulerConfig,
    clock: Clock,
    book: JobBook,
    fleet: Fleet,
    store: Store,
) -> PlanningLoop:
    """The loop, with the rules that the policy file puts in force."""
    return PlanningLoop(
        config=config,
        clock=clock,
        book=book,
        fleet=fleet,
        store=store,
        planner=planner,
        rules=LiveRules(config.policies).now,
    )


async def _plan(loop: PlanningLoop, planner: PlannerProcess) -> None:
    await planner.ready()  # else the first round would pass for a long one
    await loop.run()


def _spawned(works: Mapping[str, Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    for task in tasks:
        task.add_done_callback(_stop_at_end)
    return tasks


class LoopDiedError(Exception):
    """A scheduler without one of its loops does not go on."""


def _stop_at_end(task: asyncio.Task[None]) -> None:
    """A scheduler that has lost one of its loops must not go on as if nothing were."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("scheduler.loop_died", loop=task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def _raise_ends(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise LoopDiedError(f"the {task.get_name()} ended by itself") from error


def _server(
    config: SchedulerConfig,
    jobs: JobServicer,
    nodes: NodeServicer,
    placements: PlacementServicer,
) -> grpc.aio.Server:
    interceptors = [TokenInterceptor(config.token)] if config.token else []
    server = grpc.aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    node_pb2_grpc.add_NodeServiceServicer_to_server(nodes, server)
    placement_pb2_grpc.add_PlacementServiceServicer_to_server(placements, server)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection(
        (
            *SERVICES,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        ),
        server,
    )
    return server


async def _listen(server: grpc.aio.Server, config: SchedulerConfig) -> str:
    host = config.listen.rpartition(":")[0]
    try:
        if config.tls is None:
            port = server.add_insecure_port(config.listen)
        else:
            pair = (config.tls.key.read_bytes(), config.tls.cert.read_bytes())
            port = server.add_secure_port(config.listen, grpc.ssl_server_credentials([pair]))
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"listen = {config.listen!r}: cannot serve there ({error}); "
            "is another scheduler running, or a file of `tls` missing?"
        ) from error
    await server.start()
    return f"{host}:{port}"


class World:
    """What the job servicer may know and ask of the rest."""

    def __init__(
        self,
        fleet: Fleet,
        loop: PlanningLoop,
        dispatcher: Dispatcher,
        config: SchedulerConfig,
        *,
        store: Store,
        clock: Clock,
    ) -> None:
        self.region_names = fleet.region_names
        self.place_names = fleet.place_names
        self.nodes = fleet.nodes
        self.energy_of = fleet.meters.of
        self.recall_energy = partial(fleet.meters.recall, store=store.energy)
        self.planned_start = loop.planned_start
        self.waits_because = loop.waits_because
        self.force_retry = dispatcher.force_retry
        self.questions = Questions(loop, clock, config.slot_s)
        self.confirm = self.questions.confirm
        self.expect = self.questions.expect
        self.keeps_checkpoints = config.checkpoints_at() is not None


async def _serve(config: SchedulerConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(config):
        await stop.wait()
        log.info("scheduler.stopping")


def main(config_path: Path | None) -> int:
    """Runs a scheduler until SIGTERM or Ctrl-C; returns the exit code: 0, 1 when it broke, or 2
    when it could not start as configured."""
    configure()
    collect_rarely()
    sys.setswitchinterval(SWITCH_S)
    try:
        asyncio.run(_serve(load(config_path)))
    except (ConfigError, StoreError) as error:
        print(f"westward scheduler: {error}", file=sys.stderr)
        return 2
    except LoopDiedError as error:
        print(f"westward scheduler: {error}; its log says why", file=sys.stderr)
        return 1
    return 0
