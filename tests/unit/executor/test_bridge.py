"""What the bridge asks of a site actor, which is played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import ray

from agents.executor import wire
from agents.executor.base import Observation
from agents.executor.bridge import Bridge, Settings
from agents.executor.wire import PROTOCOL, Message
from scheduler.domain.job import AttemptState
from tests.contract.executor_cases import NODE, an_assignment, eventually

SETTINGS = Settings(address="unused", dashboard_url=None, node_id=NODE, start_timeout_s=1.0)


class FakeSite:
    """Knows one attempt, and what it was asked to start."""

    def __init__(self, protocol: int, known: str) -> None:
        seen = Observation(attempt_id=known, epoch=7, state=AttemptState.RUNNING)
        self.known = [wire.observation_message(seen)]
        self.identity = {"protocol": protocol, "site": "a", "pid": 0, "ticks": 0}
        self.started: list[str] = []

    def __getattr__(self, name: str) -> "Method":
        if name.startswith("_"):
            raise AttributeError(name)
        return Method(getattr(self, f"_{name}"))

    async def _open(self) -> Message:
        return self.identity

    async def _ping(self) -> None:
        return

    async def _changes(self, since: int, timeout_s: float) -> tuple[int, list[Message]]:
        if timeout_s > 0:
            await asyncio.Event().wait()
        return 1, self.known

    async def _start(self, order: wire.Order, archive: bytes | None, timeout_s: float) -> None:
        self.started.append(order.attempt_id)


class Method:
    """A method of an actor."""

    def __init__(self, run: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.remote = run


class Out:
    """What the bridge tells the daemon."""

    def __init__(self) -> None:
        self.told: list[Message] = []

    def write(self, data: bytes) -> None:
        self.told.append(wire._decode(data[wire.LENGTH_BYTES :]))


@asynccontextmanager
async def a_bridge(site: FakeSite) -> AsyncIterator[tuple[asyncio.StreamReader, Out]]:
    commands, out = asyncio.StreamReader(), Out()
    bridge = Bridge(SETTINGS, site, out)  # type: ignore[arg-type]
    running = asyncio.create_task(bridge.run(commands))
    yield commands, out
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def start(attempt_id: str, archive: Path) -> bytes:
    assignment = an_assignment("true", attempt_id=attempt_id, working_dir=archive)
    order = wire.order_of(assignment, data_dir=Path("unused"), cluster="test")
    return wire.encode({"kind": "start", "order": order.as_message()})


async def test_what_runs_already_needs_no_archive_any_more(tmp_path: Path) -> None:
    site = FakeSite(PROTOCOL, known="running-1")
    (tmp_path / "new.tar.gz").write_bytes(b"")
    async with a_bridge(site) as (commands, out):
        commands.feed_data(start("running-1", tmp_path / "dropped.tar.gz"))
        commands.feed_data(start("new-1", tmp_path / "new.tar.gz"))
        commands.feed_data(start("new-2", tmp_path / "dropped.tar.gz"))
        await eventually(lambda: len(out.told) == 2 and site.started == ["new-1"])
    assert [message["kind"] for message in out.told] == ["hello", "observed"]
    assert [seen["attempt_id"] for seen in out.told[1]["attempts"]] == ["new-2"]


async def test_a_site_actor_of_another_protocol_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    site, killed = FakeSite(PROTOCOL - 1, known="running-1"), []
    monkeypatch.setattr(ray, "kill", killed.append)
    bridge = Bridge(SETTINGS, site, Out())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="spoke protocol"):
        await bridge.run(asyncio.StreamReader())
    assert killed == [site]
