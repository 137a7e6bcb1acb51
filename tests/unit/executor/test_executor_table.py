"""What the head node makes of its attempts when the bridge, the disk or Ray fail: no Ray here."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agents.executor import processes, ray_executor, wire
from agents.executor.base import Observation
from agents.executor.bridge_process import BridgeLostError
from agents.executor.ray_executor import RayExecutor
from agents.executor.records import Record, Records
from agents.lease import Lease, lease_clock_s
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from tests.contract.executor_cases import an_assignment, eventually, reason_of, until

NODE = "node-1"


class FakeBridge:
    """Says what the test has it say; knows what it was told."""

    def __init__(self, site: str, pid: int, ticks: int) -> None:
        self.told: list[wire.Message] = []
        self._says: asyncio.Queue[wire.Message | Exception] = asyncio.Queue()
        self.say({"kind": "hello", "site": site, "pid": pid, "ticks": ticks, "attempts": []})

    def say(self, message: wire.Message | Exception) -> None:
        self._says.put_nowait(message)

    def lose(self) -> None:
        """It says no more than why it ended."""
        self._says = asyncio.Queue()
        self.say(BridgeLostError("Ray does not answer"))

    def say_observed(self, attempt_id: str, state: AttemptState) -> None:
        seen = Observation(attempt_id=attempt_id, epoch=7, state=state)
        self.say({"kind": "observed", "attempts": [wire.observation_message(seen)]})

    def tell(self, message: wire.Message) -> None:
        if message["kind"] == "ping":
            self.say({"kind": "pong"})
        else:
            self.told.append(message)

    def kinds(self) -> list[str]:
        return [message["kind"] for message in self.told]

    async def hear(self) -> wire.Message:
        said = await self._says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def end(self) -> None:
        return


class Bridges:
    """All bridges that were spawned, in order; ``site`` is what the next one finds."""

    def __init__(self) -> None:
        self.site, self.pid, self.ticks = "site-a", 0, 0
        self.broken = False
        self.all: list[FakeBridge] = []

    async def spawn(self, settings: Mapping[str, Any], **_: object) -> FakeBridge:
        self.all.append(FakeBridge(self.site, self.pid, self.ticks))
        if self.broken:
            self.all[-1].lose()
        return self.all[-1]


@pytest.fixture
def bridges(monkeypatch: pytest.MonkeyPatch) -> Bridges:
    async def listens(host: str, port: int) -> bool:
        return True

    bridges = Bridges()
    monkeypatch.setattr(ray_executor, "BridgeProcess", bridges)
    monkeypatch.setattr(ray_executor, "reachable", listens)
    monkeypatch.setattr(ray_executor, "RETRY_S", 0.01)
    monkeypatch.setattr(ray_executor, "FENCE_S", 0.01)
    return bridges


@pytest_asyncio.fixture
async def executor(bridges: Bridges, tmp_path: Path) -> AsyncIterator[RayExecutor]:
    executor = RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)
    await executor.open()
    yield executor
    await executor.close()


async def running(executor: RayExecutor, bridges: Bridges) -> str:
    assignment = an_assignment("true")
    await executor.start(assignment)
    await eventually(lambda: bool(bridges.all) and "start" in bridges.all[-1].kinds())
    bridges.all[-1].say_observed(assignment.attempt_id, AttemptState.RUNNING)
    await until(
        executor, assignment.attempt_id, lambda seen: seen.state is AttemptState.RUNNING, within_s=5
    )
    return assignment.attempt_id


async def test_a_bridge_lost_after_a_long_time_costs_no_attempt(
    executor: RayExecutor, bridges: Bridges, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await running(executor, bridges)
    monkeypatch.setattr(ray_executor, "CONNECT_TIMEOUT_S", 0.2)
    # It has been connected for longer than connecting may take.
    await asyncio.sleep(0.3)
    bridges.all[0].say(BridgeLostError("killed"))
    await eventually(lambda: len(bridges.all) == 2 and "start" in bridges.all[1].kinds())
    [seen] = await executor.observe(0.0)
    assert (seen.attempt_id, seen.state) == (attempt_id, AttemptState.RUNNING)


@pytest.mark.parametrize(
    "garbage",
    [
        {"kind": "observed", "attempts": [{"attempt_id": "x"}]},
        {"kind": "observed", "attempts": [{"state": "UNHEARD_OF"}]},
    ],
)
async def test_a_message_that_makes_no_sense_does_not_end_observing(
    executor: RayExecutor, bridges: Bridges, garbage: wire.Message
) -> None:
    attempt_id = await running(executor, bridges)
    bridges.all[0].say(garbage)
    await eventually(lambda: len(bridges.all) == 2 and "start" in bridges.all[1].kinds())
    bridges.all[1].say_observed(attempt_id, AttemptState.SUCCEEDED)
    await until(executor, attempt_id, lambda seen: seen.state.final, within_s=5)


async def test_a_full_disk_does_not_keep_an_attempt_alive(
    executor: RayExecutor, bridges: Bridges, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await running(executor, bridges)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Records, "save", full)
    await executor.stop(attempt_id, grace_s=0.0)
    await eventually(lambda: "stop" in bridges.all[0].kinds())
    bridges.all[0].say_observed(attempt_id, AttemptState.STOPPED)
    await until(executor, attempt_id, lambda seen: seen.state.final, within_s=5)
    with pytest.raises(OSError, match="No space"):
        await executor.start(an_assignment("true"))
    assert len(bridges.all) == 1


async def test_what_cannot_be_ended_is_not_started_again(
    executor: RayExecutor, bridges: Bridges, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = await running(executor, bridges)
    stuck = [processes.Process(1, 1, 1, 1)]
    monkeypatch.setattr(processes, "end", lambda *_, **__: stuck)
    bridges.site = "site-b"
    bridges.all[0].say(BridgeLostError("the site actor died"))
    await eventually(lambda: len(bridges.all) == 2 and executor._bridge is not None)
    [seen] = await executor.observe(0.0)
    assert seen.state is AttemptState.RUNNING
    assert "start" not in bridges.all[1].kinds()

    monkeypatch.setattr(processes, "end", lambda *_, **__: [])
    bridges.all[1].say(BridgeLostError("again"))
    seen = await until(executor, attempt_id, lambda seen: seen.state.final, within_s=5)
    assert reason_of(seen) is ReasonCode.RAY_LOST


async def test_a_site_actor_that_hangs_goes_before_the_lease_ends(
    bridges: Bridges, tmp_path: Path
) -> None:
    hung = await asyncio.create_subprocess_exec("sleep", "60")
    process = processes.read(hung.pid)
    assert process is not None
    bridges.pid, bridges.ticks = process.pid, process.started_ticks
    executor = RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)
    await executor.open()
    attempt_id = await running(executor, bridges)
    now_s = lease_clock_s()
    executor.hold(Lease(now_s + 2.0, now_s + 0.5))
    async with asyncio.timeout(2.0):
        await hung.wait()
    assert lease_clock_s() > now_s + 0.5
    bridges.site = "site-b"
    bridges.all[0].say(BridgeLostError("the site actor died"))
    await until(executor, attempt_id, lambda seen: seen.state.final, within_s=5)
    await executor.close()


async def test_the_lease_is_told_before_what_runs_under_it(
    bridges: Bridges, tmp_path: Path
) -> None:
    executor = RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)
    first, second = Lease(100.0, 93.0), Lease(103.0, 96.0)
    executor.hold(first)
    await executor.open()
    await executor.start(an_assignment("true"))
    await eventually(lambda: bool(bridges.all) and len(bridges.all[0].told) == 2)
    executor.hold(second)
    assert bridges.all[0].kinds() == ["hold", "start", "hold"]
    assert [m["lease"] for m in bridges.all[0].told[::2]] == [asdict(first), asdict(second)]
    await executor.close()


async def test_an_earlier_daemons_order_that_no_ray_took_is_not_started(
    bridges: Bridges, tmp_path: Path
) -> None:
    order = wire.order_of(an_assignment("true"), data_dir=tmp_path, cluster="c")
    starting = Observation(attempt_id=order.attempt_id, epoch=7, state=AttemptState.STARTING)
    Records(tmp_path, NODE).save(Record(order, starting))
    executor = RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)
    await executor.open()
    seen = await until(executor, order.attempt_id, lambda one: one.state.final, within_s=5)
    assert (seen.state, seen.reason and seen.reason.code) == (
        AttemptState.FAILED,
        ReasonCode.RAY_LOST,
    )
    await eventually(lambda: bool(bridges.all) and not executor.not_serving())
    assert "start" not in bridges.all[0].kinds()
    await executor.close()


async def test_a_new_site_actor_is_not_ended_for_what_an_old_one_ran(
    bridges: Bridges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Record(
        wire.order_of(an_assignment("true"), data_dir=tmp_path, cluster="c"),
        Observation(attempt_id="old-1", epoch=1, state=AttemptState.RUNNING),
        site="site-of-before",
    )
    Records(tmp_path, NODE).save(started)
    fresh = await asyncio.create_subprocess_exec("sleep", "60")
    process = processes.read(fresh.pid)
    assert process is not None
    bridges.pid, bridges.ticks = process.pid, process.started_ticks
    # Longer than between two looks at the lease, which was over before.
    monkeypatch.setattr(ray_executor, "FENCE_S", 2 * ray_executor.LEASE_LOOK_S)
    executor = RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)
    executor.hold(Lease(0.0, 0.0))
    await executor.open()
    seen = await until(executor, "old-1", lambda seen: seen.state.final, within_s=5)
    assert seen.reason is not None and seen.reason.code is ReasonCode.RAY_LOST
    assert fresh.returncode is None
    await executor.close()
    fresh.kill()
    await fresh.wait()


async def test_a_site_actor_is_ended_by_a_later_daemon_that_cannot_reach_it(
    bridges: Bridges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await asyncio.create_subprocess_exec("sleep", "60")
    process = processes.read(site.pid)
    assert process is not None
    bridges.pid, bridges.ticks = process.pid, process.started_ticks

    def an_executor() -> RayExecutor:
        return RayExecutor(node_id=NODE, cluster="c", address="127.0.0.1:1", data_dir=tmp_path)

    first = an_executor()
    await first.open()
    attempt_id = await running(first, bridges)
    await first.close()
    bridges.broken = True
    monkeypatch.setattr(ray_executor, "CONNECT_TIMEOUT_S", 0.1)
    second = an_executor()
    await second.open()
    seen = await until(second, attempt_id, lambda seen: seen.state.final, within_s=5)
    assert seen.reason is not None and seen.reason.code is ReasonCode.RAY_LOST
    # Or its workers on other nodes would go on.
    async with asyncio.timeout(5.0):
        await site.wait()
    await second.close()
