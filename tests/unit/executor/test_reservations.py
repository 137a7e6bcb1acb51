"""What the site actor holds of Ray drivers, with Ray's part played by the test."""

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayError

from agents.executor import bundles, reservation, wire
from agents.executor.reservation import Reservations, Reserved
from agents.executor.wire import Order
from agents.executor.worker import LeashAddress
from scheduler.domain.job import RayEntrypoint
from scheduler.domain.reason import Reason, ReasonCode
from tests.contract.executor_cases import an_assignment

LEASE_OVER = Reason(ReasonCode.LEASE_EXPIRED, "its lease is over")


class Cluster:
    """What Ray and the nodes say of an attempt's processes: one answer for each look."""

    def __init__(self) -> None:
        self.left: list[str | Exception] = []
        self.looks = 0

    async def end(self, attempt_id: str, group: object) -> str:
        self.looks += 1
        told = self.left.pop(0) if self.left else ""
        if isinstance(told, Exception):
            raise told
        return told


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    group = SimpleNamespace(id=b"group", wait=lambda _: True)
    monkeypatch.setattr(bundles, "ask", lambda _: group)
    monkeypatch.setattr(reservation, "_keep", lambda *_: None)
    monkeypatch.setattr(reservation, "_drop_kept", lambda _: None)
    monkeypatch.setattr(reservation, "_end", cluster.end)
    monkeypatch.setattr(reservation, "POLL_S", 0.01)
    return cluster


@pytest.fixture
def drivers() -> Reservations:
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        tasks.add(task)
        return task

    return Reservations(spawn, lambda node_id, node_dir: None)


async def running(drivers: Reservations) -> tuple[Order, socket.socket]:
    """A driver that was let go, and its end of the leash."""
    assignment = replace(an_assignment(), work=RayEntrypoint("true"))
    order = wire.order_of(assignment, data_dir=Path("unused"), cluster="test")
    reserved = await drivers.reserve(order, LeashAddress("unused", 0, "unused"), 1.0)
    assert reserved.leash_at is not None
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    hello = {"attempt_id": order.attempt_id, "secret": reserved.leash_at.secret}
    attending = asyncio.create_task(drivers.attend(hello, reader, writer))
    await hears(theirs, "go")
    assert not attending.done()
    return order, theirs


async def hears(leash: socket.socket, kind: str) -> None:
    async with asyncio.timeout(10.0):
        data = await asyncio.get_running_loop().sock_recv(leash, 4096)
    assert f'"kind":"{kind}"'.encode() in data


async def test_a_long_grace_ends_with_the_lease(cluster: Cluster, drivers: Reservations) -> None:
    order, leash = await running(drivers)
    with leash:
        drivers.stop(order.attempt_id, 600.0)
        await hears(leash, "stop")
        drivers.stop_leased(0.1, LEASE_OVER)
        async with asyncio.timeout(10.0):
            released = await drivers.release(order.attempt_id)
    assert released.over is not None and released.over.code is ReasonCode.STOPPED


async def test_what_cannot_be_proven_gone_is_searched_for_again(
    cluster: Cluster, drivers: Reservations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservation, "LEFT_AGAIN_S", 0.01)
    cluster.left = ["a node does not answer", RayError("Ray is busy"), "a node does not answer"]
    order, leash = await running(drivers)
    with leash:
        drivers.stop(order.attempt_id, 0.1)
        async with asyncio.timeout(10.0):
            await drivers.release(order.attempt_id)
    assert cluster.looks == 4


async def test_a_driver_that_runs_already_is_not_submitted_again(
    cluster: Cluster, drivers: Reservations
) -> None:
    order, leash = await running(drivers)
    with leash:
        again = await drivers.reserve(order, LeashAddress("unused", 0, "unused"), 1.0)
        assert again == Reserved(), "as another bridge would ask for it"
        await drivers.release(order.attempt_id)
