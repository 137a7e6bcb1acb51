"""What the site actor holds of Ray drivers: their bundles, from before they start to their end, and
their leashes (see driver_leash), which decide whether a driver may run at all.
"""

import asyncio
import math
import secrets
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import structlog
from ray.dashboard.modules.job.common import (
    JOB_ACTOR_NAME_TEMPLATE,
    SUPERVISOR_ACTOR_RAY_NAMESPACE,
)
from ray.exceptions import RayError
from ray.experimental import internal_kv
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from agents.executor import bundles, wire
from agents.executor.sick import look
from agents.executor.wire import NODE_LABEL, Order
from agents.executor.worker import LeashAddress, end_processes
from agents.waiting import wait
from scheduler.domain.reason import Reason, ReasonCode

log = structlog.get_logger()

STOPPED = Reason(ReasonCode.STOPPED, "stopped on request")
LOST = Reason(ReasonCode.WORKER_LOST, "the connection to the driver's host or process broke")
# Ray tells of a new group only when asked; and a shorter grace may come at any time.
POLL_S = 0.1
SWEEP_TIMEOUT_S = 10.0
# What could not be proven gone is looked for again; Ray may take 20 s to give a dead node up.
LEFT_AGAIN_S = 5.0
KV_NAMESPACE = b"westward-drivers"


@dataclass(frozen=True, slots=True)
class Reserved:
    """The group of an attempt, in hex, and where its leash is held. Empty when it must not be
    started: ``refusal`` says why, or is None when it was started before."""

    group: str = ""
    leash_at: LeashAddress | None = None
    refusal: Reason | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """``over`` is why we ended the attempt, None when it ended by itself. ``exit_code`` is the
    driver's, negative for a signal, None if it never ran or has not told."""

    over: Reason | None
    exit_code: int | None


@dataclass(slots=True)
class Reservation:
    """One driver's attempt. ``over`` is set when it may no longer run; ``released`` when nothing
    of it is left that could be found."""

    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    group: PlacementGroup | None = None
    leash: asyncio.StreamWriter | None = None
    leash_broke: asyncio.Event = field(default_factory=asyncio.Event)
    outlives_lease: bool = False
    over: Reason | None = None
    grace_ends_at: float = math.inf
    exit_code: int | None = None
    ending: asyncio.Task[None] | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    # Of asking for bundles and giving them back: what comes late is given back too.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Reservations:
    """All of one cluster, by attempt id, until forgotten. ``spawn`` keeps a task alive."""

    def __init__(
        self,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        seek_sick: Callable[[str, Path], None],
    ) -> None:
        self._held: dict[str, Reservation] = {}
        self._spawn = spawn
        self._seek_sick = seek_sick

    async def recover(self) -> None:
        """Ends what an earlier site actor of this cluster held: nobody holds its lease now, and
        its attempts are given up as lost. Raises RayError."""
        keys = await asyncio.to_thread(internal_kv._internal_kv_list, b"", namespace=KV_NAMESPACE)
        strays = [key.decode() for key in keys]
        await asyncio.gather(*(self._end_stray(attempt_id) for attempt_id in strays))

    async def _end_stray(self, attempt_id: str) -> None:
        group = await asyncio.to_thread(_kept_group, attempt_id)
        if not await _end(attempt_id, group):
            await asyncio.to_thread(_drop_kept, attempt_id)

    async def reserve(
        self, order: Order, leash_at: LeashAddress, start_timeout_s: float
    ) -> Reserved:
        """Reserves the bundles of an attempt, or finds them again; all of them or none."""
        held = self._held.setdefault(order.attempt_id, Reservation())
        held.outlives_lease = order.outlives_lease
        gives_up_at = time.monotonic() + start_timeout_s
        async with held.turn:
            if held.group is None and held.ending is None:
                held.group = await asyncio.to_thread(bundles.ask, order)
                await asyncio.to_thread(_keep, order.attempt_id, held.group)
        while held.group is not None and held.ending is None:
            if held.leash is not None:
                return Reserved()
            if await asyncio.to_thread(held.group.wait, 0):
                try:
                    sick = await self._sick(order, held.group)
                except RayError:
                    # The bundles are lost again, or given back: the next look tells.
                    await asyncio.sleep(POLL_S)
                    continue
                if sick is not None:
                    return Reserved(refusal=sick)
                return Reserved(held.group.id.hex(), replace(leash_at, secret=held.secret))
            if time.monotonic() > gives_up_at:
                told = f"{len(order.nodes)} workers were not reserved within {start_timeout_s:g} s"
                why = f"{told}: {await bundles.lacking(order, held.group, order.nodes)}"
                return Reserved(refusal=Reason(ReasonCode.RAY_ERROR, why))
            await asyncio.sleep(POLL_S)
        return Reserved(refusal=held.over)

    async def _sick(self, order: Order, group: PlacementGroup) -> Reason | None:
        """Why a driver must not run in its bundles; None when all accelerators in them are well.

        Raises:
            RayError: a bundle was lost meanwhile.
        """
        if not order.gpus:
            return None
        dirs = [order.folder(node_id).parent.parent for node_id in order.nodes]
        looks = [
            look.options(
                num_gpus=order.gpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=rank
                ),
            ).remote(dirs[rank], f"worker {rank} on {node_id}")
            for rank, node_id in enumerate(order.nodes)
        ]
        found: list[Reason | None] = await asyncio.gather(*looks)
        for node_id, node_dir, why in zip(order.nodes, dirs, found, strict=True):
            if why is not None:
                self._seek_sick(node_id, node_dir)
        return next(filter(None, found), None)

    async def attend(
        self, hello: wire.Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Lets a driver that has arrived go, unless another one has, or it is over; then hears it
        out."""
        held = self._held.get(hello["attempt_id"])
        refused = held is None or held.ending is not None or held.leash is not None
        if held is None or refused or hello["secret"] != held.secret:
            return
        held.leash = writer
        writer.write(wire.encode({"kind": "go"}))
        try:
            while message := await wire.read(reader):
                held.exit_code = message["exit_code"]
        finally:
            held.leash_broke.set()
            if held.exit_code is None:
                self.stop(hello["attempt_id"], 0.0, LOST)

    async def stopped(self, attempt_id: str) -> None:
        """Returns when nothing is left of a driver that was stopped here, or lost."""
        await self._held[attempt_id].released.wait()

    def stop(self, attempt_id: str, grace_s: float, reason: Reason = STOPPED) -> None:
        """Ends a driver, also one whose start is still to come: SIGTERM at once, and SIGKILL to
        all that is left of it on any node after the grace. The first reason stands, and the
        soonest end."""
        held = self._held.setdefault(attempt_id, Reservation())
        held.grace_ends_at = min(held.grace_ends_at, time.monotonic() + grace_s)
        if held.ending is None:
            held.over = reason
            self._end_once(attempt_id, held)

    def stop_leased(self, grace_s: float, reason: Reason) -> None:
        """Stops every driver that must not go on without a lease, and sooner if it was given
        longer."""
        for attempt_id, held in self._held.items():
            if not held.outlives_lease:
                self.stop(attempt_id, grace_s, reason)

    async def release(self, attempt_id: str) -> Released:
        """Ends what is left of a driver and gives its bundles back; returns when all is gone."""
        held = self._held.setdefault(attempt_id, Reservation())
        await asyncio.shield(self._end_once(attempt_id, held))
        return Released(held.over, held.exit_code)

    def forget(self, attempt_id: str) -> None:
        """Drops a driver that has ended."""
        held = self._held.get(attempt_id)
        if held is not None and held.released.is_set():
            del self._held[attempt_id]

    def _end_once(self, attempt_id: str, held: Reservation) -> asyncio.Task[None]:
        failed = held.ending is not None and held.ending.done() and not held.released.is_set()
        if held.ending is None or failed:
            held.ending = self._spawn(self._end(attempt_id, held))
        return held.ending

    async def _end(self, attempt_id: str, held: Reservation) -> None:
        async with held.turn:
            if held.over is not None:
                await _terminate(held)
            if held.leash is not None:
                held.leash.close()
            while left := await _left(attempt_id, held.group):
                log.error("driver not proven gone", attempt=attempt_id, left=left)
                await asyncio.sleep(LEFT_AGAIN_S)
            await asyncio.to_thread(_drop_kept, attempt_id)
        held.released.set()


async def _terminate(held: Reservation) -> None:
    """Has a driver terminated, and waits for it to end within the grace."""
    if held.exit_code is not None:
        held.over = None  # it was sooner
    if held.leash is None or held.leash_broke.is_set():
        return
    held.leash.write(wire.encode({"kind": "stop"}))
    while not held.leash_broke.is_set() and time.monotonic() < held.grace_ends_at:
        await wait(held.leash_broke, POLL_S)
    if held.exit_code is None:
        held.exit_code = -signal.SIGKILL


async def _left(attempt_id: str, group: PlacementGroup | None) -> str:
    """``_end``; a Ray that fails has proven nothing."""
    try:
        return await _end(attempt_id, group)
    except RayError as error:
        return repr(error)


async def _end(attempt_id: str, group: PlacementGroup | None) -> str:
    """Gives the bundles back and ends every process; returns what could not be proven gone."""
    if group is not None:
        # Ray kills what runs in the bundles.
        await asyncio.to_thread(remove_placement_group, group)
    supervisor = await asyncio.to_thread(_supervisor, attempt_id)
    if supervisor is not None:
        # Also one that still waits for its runtime environment.
        ray.kill(supervisor)
    nodes = await asyncio.to_thread(ray.nodes)
    ids = {node["Labels"].get(NODE_LABEL) for node in nodes if node["Alive"]} - {None}
    told = await asyncio.gather(*(_sweep(attempt_id, node_id) for node_id in sorted(ids)))
    return "; ".join(filter(None, told))


async def _sweep(attempt_id: str, node_id: str) -> str:
    search = end_processes.options(label_selector={NODE_LABEL: node_id}).remote(attempt_id)
    try:
        async with asyncio.timeout(SWEEP_TIMEOUT_S):
            left = await search
    except (RayError, TimeoutError) as error:
        with suppress(RayError):
            ray.cancel(search)
        return f"node {node_id} could not be searched for processes: {error!r}"
    return f"{left} processes could not be ended on node {node_id}" if left else ""


def _supervisor(attempt_id: str) -> Any:
    """Ray's actor that runs the driver; None when there is none."""
    try:
        return ray.get_actor(
            JOB_ACTOR_NAME_TEMPLATE.format(job_id=attempt_id),
            namespace=SUPERVISOR_ACTOR_RAY_NAMESPACE,
        )
    except ValueError:
        return None


def _keep(attempt_id: str, group: PlacementGroup) -> None:
    """Lets the next site actor know what this one has to end if it cannot."""
    internal_kv._internal_kv_put(attempt_id, group.id.hex(), namespace=KV_NAMESPACE)


def _kept_group(attempt_id: str) -> PlacementGroup | None:
    group = internal_kv._internal_kv_get(attempt_id, namespace=KV_NAMESPACE)
    return PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group.decode()))) if group else None


def _drop_kept(attempt_id: str) -> None:
    internal_kv._internal_kv_del(attempt_id, namespace=KV_NAMESPACE)
