"""The site actor: one per Ray cluster, named and detached; it owns all attempts of the cluster.

It outlives the agent and the agent's bridge, and is found again by name. When it dies, the leashes
of all workers break and their processes end with it.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import ray

from agents.executor import processes, wire
from agents.executor.base import Observation
from agents.executor.gang import Gang, observation_at
from agents.executor.launch import Ending
from agents.executor.probe import reachable
from agents.executor.reservation import Released, Reservations, Reserved
from agents.executor.sick import SickHolds
from agents.executor.wire import PROTOCOL, Order
from agents.executor.worker import LeashAddress
from agents.lease import Lease, lease_clock_s
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode

NAMESPACE = "westward"
NAME = "site"
HELLO_TIMEOUT_S = 10.0
# A GCS that refuses connections this often, once a second, is gone and so is the cluster.
GCS_MISSES_MAX = 3
LEASE_LOOK_S = 0.5
LEASE_OVER = Reason(
    ReasonCode.LEASE_EXPIRED, "stopped before its lease could expire: no agent has renewed it"
)


class Site:
    """The table of attempts, started or finished, until forgotten."""

    def __init__(self) -> None:
        self._id = secrets.token_hex(8)
        self._secret = secrets.token_hex(16)
        self._leash_at: LeashAddress | None = None
        self._lease: Lease | None = None
        self._gangs: dict[str, Gang] = {}
        self._observations: dict[str, Observation] = {}
        self._versions: dict[str, int] = {}
        self._version = 0
        self._changed = asyncio.Condition()
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sick = SickHolds()
        self._drivers = Reservations(self._spawn, self._seek_sick)

    async def open(self) -> dict[str, Any]:
        """Starts listening, once; returns who this actor is. Another id is another table."""
        async with self._opening:
            if self._leash_at is None:
                await self._drivers.recover()
                host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
                server = await asyncio.start_server(self._hold_leash, host, 0)
                port = server.sockets[0].getsockname()[1]
                self._leash_at = LeashAddress(host, port, self._secret)
                self._spawn(self._watch_gcs())
                self._spawn(self._watch_lease())
                self._spawn(self._watch_lease_of_drivers())
        me = processes.read(os.getpid())
        ticks = me.started_ticks if me else 0
        return {"protocol": PROTOCOL, "site": self._id, "pid": os.getpid(), "ticks": ticks}

    async def ping(self) -> str:
        return self._id

    async def until_gone(self) -> None:
        """Never returns: fails when this actor is gone."""
        await asyncio.Event().wait()

    async def start(self, order: Order, working_dir: bytes | None, start_timeout_s: float) -> None:
        """Starts an attempt, unless one of this id is in the table."""
        if order.attempt_id in self._gangs:
            return
        if self._leash_at is None:
            raise RuntimeError("the site actor was not opened")
        gang = Gang(order, self._leash_at, start_timeout_s, self._publish, self._seek_sick)
        self._gangs[order.attempt_id] = gang
        if self._lease_over(gang):
            over = Ending(LEASE_OVER.code, "its lease was over before it could start")
            self._publish(observation_at(order, AttemptState.STOPPED, None, over))
            return
        self._spawn(gang.conduct(working_dir))

    async def hold(self, lease: Lease) -> None:
        """Lets attempts go on until the lease ends; an earlier end than known changes nothing."""
        if self._lease is None or lease.deadline_s > self._lease.deadline_s:
            self._lease = lease

    async def stop(self, attempt_id: str, grace_s: float) -> None:
        gang = self._gangs.get(attempt_id)
        if gang is not None and not self._ended(attempt_id):
            gang.stop(grace_s)

    async def forget(self, attempt_id: str) -> None:
        """Drops a finished attempt from the table."""
        observation = self._observations.get(attempt_id)
        if observation is not None and observation.state.final:
            del self._gangs[attempt_id]
            del self._observations[attempt_id]
            del self._versions[attempt_id]

    async def changes(self, since: int, timeout_s: float) -> tuple[int, list[wire.Message]]:
        """What changed after version ``since``, as soon as something has; 0 asks for all."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._version > since)
        except TimeoutError:
            pass
        return self._version, [
            wire.observation_message(observation)
            for attempt_id, observation in self._observations.items()
            if self._versions[attempt_id] > since
        ]

    # Ray drivers: the bridge starts and watches them, their bundles and their ends are here.

    async def reserve_driver(self, order: Order, start_timeout_s: float) -> Reserved:
        if not order.outlives_lease and self._lease and not self._lease.held(lease_clock_s()):
            self._drivers.stop(order.attempt_id, 0.0, LEASE_OVER)
        if self._leash_at is None:
            raise RuntimeError("the site actor was not opened")
        return await self._drivers.reserve(order, self._leash_at, start_timeout_s)

    async def stop_driver(self, attempt_id: str, grace_s: float) -> None:
        self._drivers.stop(attempt_id, grace_s)

    async def driver_stopped(self, attempt_id: str) -> None:
        await self._drivers.stopped(attempt_id)

    async def release_driver(self, attempt_id: str) -> Released:
        return await self._drivers.release(attempt_id)

    async def forget_driver(self, attempt_id: str) -> None:
        self._drivers.forget(attempt_id)

    async def _watch_lease_of_drivers(self) -> None:
        while True:
            await asyncio.sleep(LEASE_LOOK_S)
            now_s = lease_clock_s()
            if self._lease is not None and not self._lease.held(now_s):
                self._drivers.stop_leased(self._lease.grace_s(now_s), LEASE_OVER)

    def _seek_sick(self, node_id: str, node_dir: Path) -> None:
        self._spawn(asyncio.to_thread(self._sick.seek, node_id, node_dir))

    def _ended(self, attempt_id: str) -> bool:
        observation = self._observations.get(attempt_id)
        return observation is not None and observation.state.final

    def _publish(self, observation: Observation) -> None:
        self._version += 1
        self._observations[observation.attempt_id] = observation
        self._versions[observation.attempt_id] = self._version
        self._spawn(self._announce())

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _hold_leash(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.keep_alive(writer.get_extra_info("socket"))
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = await wire.read(reader)
            if hello is not None and hello["kind"] == "driver":
                await self._drivers.attend(hello, reader, writer)
                return
            gang = self._gangs.get(hello["attempt_id"]) if hello else None
            if hello is None or gang is None or hello["secret"] != self._secret:
                return
            await _attend(gang, hello, reader, writer)
        except (TimeoutError, wire.WireError):
            return
        finally:
            writer.close()

    async def _watch_lease(self) -> None:
        """Stops what runs when its lease ends: the agent that would do so may be dead, and this
        actor is what lives exactly as long as the attempts."""
        while True:
            await asyncio.sleep(LEASE_LOOK_S)
            for attempt_id, gang in self._gangs.items():
                if (
                    self._lease is not None
                    and self._lease_over(gang)
                    and not self._ended(attempt_id)
                ):
                    gang.stop(self._lease.grace_s(lease_clock_s()), LEASE_OVER)

    def _lease_over(self, gang: Gang) -> bool:
        if self._lease is None or gang.order.outlives_lease:
            return False
        return not self._lease.held(lease_clock_s())

    async def _watch_gcs(self) -> None:
        """Ends this actor, and with it every worker, when the cluster's GCS is gone: Ray itself
        takes up to a minute to do so, in which the agent may long have given the attempts up."""
        host, port = ray.get_runtime_context().gcs_address.rsplit(":", 1)
        misses = 0
        while misses < GCS_MISSES_MAX:
            misses = 0 if await reachable(host, int(port)) else misses + 1
            await asyncio.sleep(1.0)
        os._exit(1)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _attend(
    gang: Gang, hello: wire.Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Hears one worker out; however that ends, the gang learns that the leash is gone."""
    rank = hello["rank"]
    gang.arrived(rank, writer, hello["host"], hello["port"])
    try:
        while message := await wire.read(reader):
            gang.news(rank, message)
    finally:
        gang.dropped(rank)
