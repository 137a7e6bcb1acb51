"""Scheduler and agent, put together from the product's own parts, as processes that can die.

The product's: job book, dispatcher, leases, streams, fleet, servicer, link, attempts. Ours: the
database, the network, Ray, and a planner that takes any reachable cluster.
"""

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import structlog

from agents.attempts import Attempts
from agents.config import SchedulerAddress
from agents.link import Link
from scheduler.config import SchedulerConfig
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import Streams
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planner.plan import Placement
from scheduler.planning.values import next_attempt
from scheduler.rpc.nodes import NodeServicer
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import Change, JobBook
from scheduler.store.errors import StoreError
from tests.simulation.disk import Disk, MemoryStore
from tests.simulation.executor import SimulatedExecutor
from tests.simulation.loop import HostClock, Process
from tests.simulation.network import Stream, Way, channel
from tests.simulation.site import Site
from westward.v1 import node_pb2

log = structlog.get_logger()

BEGIN_AT = datetime(2026, 6, 18, tzinfo=UTC)
LEASE_TTL_S = 15.0
REPORT_INTERVAL_S = 2.0
ROUND_EVERY_S = 1.0
PREEMPTED_SHARE = 0.02
CHOSEN = Reason(ReasonCode.CHOSEN, "any that is reachable")


class SimulatedClock:
    """The scheduler's clocks: the power clock is true, the monotonic one its host's."""

    speedup = 1.0

    def __init__(self, host: HostClock) -> None:
        self._host = host

    def now(self) -> datetime:
        return BEGIN_AT + timedelta(seconds=self._host.loop.time())

    def monotonic(self) -> float:
        return self._host.now_s()


class Scheduler:
    """One life of the scheduler, over a disk that outlives it."""

    def __init__(
        self, process: Process, disk: Disk, clusters: list[str], chance: random.Random
    ) -> None:
        self.process = process
        self._chance = chance
        self._clusters = clusters
        clock = self.clock = SimulatedClock(process.clock)
        store = cast(Any, MemoryStore(disk, process, chance))
        config = SchedulerConfig(lease_ttl_s=LEASE_TTL_S, report_interval_s=REPORT_INTERVAL_S)
        self.book = JobBook(store, clock)
        self._fleet = Fleet(clock, {}, REPORT_INTERVAL_S)
        streams = Streams()
        self.dispatcher = Dispatcher(
            self.book, self._fleet, Leases(clock, LEASE_TTL_S), streams, clock
        )
        self._servicer = NodeServicer(
            config=config,
            clock=clock,
            fleet=self._fleet,
            dispatcher=self.dispatcher,
            streams=streams,
            store=store,
            changed=lambda _: None,
            # Nothing is stored of what it notes.
            audit=Audit(cast(Any, None), self._fleet, clock, REPORT_INTERVAL_S),
        )

    async def run(self, ways: list[Way]) -> None:
        """Reads the disk, then serves and plans until killed."""
        await self.book.load()
        self.book.on_step(self.dispatcher.on_step)
        for way in ways:
            way.accept = self._accept
        async with asyncio.TaskGroup() as group:
            group.create_task(self.dispatcher.watch_contact())
            group.create_task(self._plan())

    def _accept(self, stream: Stream) -> None:
        stream.serve(self.process, self._servicer)

    async def _plan(self) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0.1, ROUND_EVERY_S))
            pending = [
                job
                for job in self.book.active().values()
                if job.state is JobState.PENDING
                and (job.not_before_at is None or job.not_before_at <= self.clock.now())
            ]
            placed = [(job, cluster) for job in pending if (cluster := self._any_cluster())]
            # The planner takes its time; what it saw may no longer be so.
            await asyncio.sleep(self._chance.choice([0.01, self._chance.uniform(0, 2)]))
            changes = [
                self._assigned(job, cluster)
                for job, cluster in placed
                if self._fleet.reachable(cluster)
            ]
            changes += [self._preempted(job) for job in self._unlucky()]
            try:
                await self.book.apply_many(changes)
            except StoreError as error:
                log.info("round.not_stored", why=str(error))

    def _any_cluster(self) -> str | None:
        reachable = [cluster for cluster in self._clusters if self._fleet.reachable(cluster)]
        return self._chance.choice(reachable) if reachable else None

    def _unlucky(self) -> list[Job]:
        """Interruptible jobs that run, now and then, as if others needed their place."""
        return [
            job
            for job in self.book.active().values()
            if job.spec.interruptible
            and job.state in (JobState.ASSIGNED, JobState.RUNNING)
            and self._chance.random() < PREEMPTED_SHARE
        ]

    def _preempted(self, job: Job) -> Change:
        return Change(
            job_id=job.id,
            event=Event.PREEMPT,
            actor="planner",
            reason=Reason(ReasonCode.PREEMPTED, "others need its place"),
            expect_version=job.version,
        )

    def _assigned(self, job: Job, cluster: str) -> Change:
        now = self.clock.now()
        placement = Placement(
            job_id=job.id,
            cluster=cluster,
            accelerator="A800",
            start_at=now,
            end_at=now + timedelta(minutes=1),
            now=True,
            nodes=(f"{cluster}-1",),
            energy_kwh=0.0,
            green_kwh=0.0,
            green_held_kw=0.0,
            cost_yuan=0.0,
            carbon_kg=0.0,
        )
        return Change(
            job_id=job.id,
            event=Event.ASSIGN,
            actor="planner",
            reason=CHOSEN,
            attempt=next_attempt(job, placement, now),
            expect_version=job.version,
        )


class SimulatedLink(Link):
    """The agent's link, dialling into the simulated network."""

    way: Way

    def _channel(self) -> Any:
        made: AbstractAsyncContextManager[Any] = channel(self.way)
        return made


class Agent:
    """One life of a head node's daemon, over a site that outlives it."""

    def __init__(self, process: Process, site: Site, way: Way, chance: random.Random) -> None:
        self.process = process
        executor = SimulatedExecutor(site, process, chance)
        attempts = Attempts(executor, cast(Any, None), cast(Any, site.lease_file))
        hello = node_pb2.Hello(
            node_id=f"{site.name}-1",
            cluster=site.name,
            head=True,
            agent_version="0",
            incarnation=f"{chance.getrandbits(64):x}",
        )
        link = SimulatedLink(
            SchedulerAddress(address="scheduler:1"),
            hello,
            handlers={"desired": attempts.on_desired},
            workers=[attempts.tell],
        )
        link.way = way
        self._runs = (executor.run, attempts.run, link.run)

    async def run(self) -> None:
        """Until killed."""
        async with asyncio.TaskGroup() as group:
            for run in self._runs:
                group.create_task(run())
