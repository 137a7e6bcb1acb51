"""The agents' stream over a real socket, with the agents played by hand."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from scheduler.config import SchedulerConfig
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import Streams
from scheduler.domain.energy import Energy
from scheduler.domain.fleet import Region
from scheduler.domain.job import ArraySpec, JobState, OnUnreachable
from scheduler.rpc import nodes
from scheduler.rpc.nodes import NodeServicer
from scheduler.state import probers
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.store import Store
from scheduler.store.jobs import JobStore
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import a_spec, assign, eventually, opened
from westward.v1 import job_pb2, node_pb2, node_pb2_grpc

LIMIT_S = 10.0
REGIONS = ("beijing", "shanghai", "guangzhou", "shenzhen")


def _region(name: str) -> Region:
    return Region(
        name=name,
        gateway=f"{name}:7444",
        price_yuan_per_kwh=0.7,
        pue=1.4,
        grid_carbon_g_per_kwh=550,
    )


class Agent:
    """One stream of an agent."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._seq = 0

    async def send(self, **body: Any) -> None:
        self._seq += 1
        message = node_pb2.ConnectRequest(seq=self._seq, **body)
        if not message.HasField("sent_at"):
            message.sent_at.GetCurrentTime()
        await self.call.write(message)

    async def until(self, kind: str) -> Any:
        """The next message of a kind; others are passed over."""
        async with asyncio.timeout(LIMIT_S):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                if message.WhichOneof("body") == kind:
                    return getattr(message, kind)
        raise AssertionError(f"the stream ended before {kind} came")

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(LIMIT_S):
            return await self.call.code(), await self.call.details()


@dataclass
class Desk:
    clock: ManualClock
    store: Store
    book: JobBook
    fleet: Fleet
    connect: Callable[..., Any]
    streams: Streams

    async def join(self, **hello: Any) -> Agent:
        """An agent that has said hello; the head of qingyang unless told otherwise."""
        who = {"node_id": "qingyang-1", "cluster": "qingyang", "head": True, "incarnation": "a"}
        agent = Agent(self.connect())
        await agent.send(hello=node_pb2.Hello(**{**who, **hello}))
        return agent


@asynccontextmanager
async def served(servicer: NodeServicer) -> AsyncIterator[Callable[..., Any]]:
    server = grpc.aio.server()
    node_pb2_grpc.add_NodeServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield node_pb2_grpc.NodeServiceStub(channel).Connect
    finally:
        await server.stop(None)


@asynccontextmanager
async def sitting(folder: Path) -> AsyncIterator[Desk]:
    """One life of a scheduler, over a database that outlives it."""
    clock, config, streams = ManualClock(), SchedulerConfig(), Streams()
    async with opened(folder, clock) as (store, book):
        regions = {name: _region(name) for name in REGIONS}
        fleet = Fleet(clock, regions, config.report_interval_s)
        leases = Leases(clock, config.lease_ttl_s)
        dispatcher = Dispatcher(book, fleet, leases, streams, clock)
        book.on_step(dispatcher.on_step)
        servicer = NodeServicer(
            config=config,
            clock=clock,
            fleet=fleet,
            dispatcher=dispatcher,
            streams=streams,
            store=store,
            changed=lambda _: None,
            audit=Audit(store.events, fleet, clock, config.report_interval_s),
        )
        async with served(servicer) as connect:
            yield Desk(clock, store, book, fleet, connect, streams)


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with sitting(tmp_path) as desk:
        yield desk


def seen(attempt_id: str, state: Any = job_pb2.ATTEMPT_STATE_RUNNING) -> node_pb2.ObservedState:
    message = node_pb2.ObservedState()
    message.attempts.add(attempt_id=attempt_id, epoch=1, state=state)
    return message


async def test_a_wish_goes_with_its_spec_until_the_attempt_has_run(desk: Desk) -> None:
    job = await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    agent = await desk.join()
    [wanted] = (await agent.until("desired")).attempts
    assert wanted.may_start and wanted.spec.name == "train"
    await agent.send(observed=seen(f"{job.id}-1"))
    await eventually(lambda: desk.book.active()[job.id].state is JobState.RUNNING)
    [wanted] = (await agent.until("desired")).attempts
    assert not wanted.may_start and not wanted.HasField("spec")
    assert [worker.node_id for worker in wanted.workers] == ["qingyang-1"]


async def test_a_wish_says_what_is_stored_and_not_what_has_only_arrived(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler may die between the two, and an agent that had forgotten an end could not tell
    it to the next one."""
    job = await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    agent = await desk.join()
    assert (await agent.until("desired")).stored_seq == 0
    save, begun, goes_on = JobStore.save, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        begun.set()
        await goes_on.wait()
        return await save(*arguments)

    monkeypatch.setattr(JobStore, "save", slowly)
    await agent.send(observed=seen(f"{job.id}-1"))
    await begun.wait()
    stream = desk.streams.head_of("qingyang")
    assert stream is not None
    stream.wish_changed()
    wish = await agent.until("desired")
    assert (wish.lease_answers_seq, wish.HasField("stored_seq"), wish.stored_seq) == (2, True, 0)
    goes_on.set()
    while (await agent.until("desired")).stored_seq != 2:
        pass
    assert desk.book.active()[job.id].state is JobState.RUNNING


async def test_the_wish_for_a_chunk_names_the_tasks_that_are_done(desk: Desk) -> None:
    [job], _ = await desk.book.submit_array(a_spec(array=ArraySpec(tasks=20)))
    job = await assign(desk.book, job)
    agent = await desk.join()
    [wanted] = (await agent.until("desired")).attempts
    assert (wanted.spec.array.tasks, wanted.tasks_done) == (20, b"")
    told = seen(f"{job.id}-1", job_pb2.ATTEMPT_STATE_FAILED)
    told.attempts[0].reason.code = "WORKER_LOST"
    told.attempts[0].tasks.succeeded = b"\x05"
    await agent.send(observed=told)
    await eventually(lambda: desk.book.active()[job.id].state is JobState.PENDING)
    await assign(desk.book, desk.book.active()[job.id], 2)
    await agent.send(observed=node_pb2.ObservedState())
    while True:
        attempts = (await agent.until("desired")).attempts
        if attempts and attempts[0].number == 2:
            break
    assert (attempts[0].may_start, attempts[0].tasks_done) == (True, b"\x05")


async def test_what_only_newer_agents_say_does_not_end_the_stream(desk: Desk) -> None:
    job = await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    agent = await desk.join()
    chunk = node_pb2.LogChunk(attempt_id=f"{job.id}-1", data=b"hello", offset=7)
    chunk.stream = 99  # type: ignore[assignment]
    await agent.send(log=chunk)
    assert (await agent.until("log_ack")).offset == 12, "it need not send it again"
    await agent.send(observed=seen(f"{job.id}-1", 99))
    await agent.send()  # a body that the stubs do not know looks like none
    await agent.until("desired")
    assert desk.book.active()[job.id].state is JobState.ASSIGNED


async def test_sick_accelerators_and_the_energy_of_attempts_reach_the_fleet(desk: Desk) -> None:
    agent = await desk.join(head=False)
    report = node_pb2.Report(node=node_pb2.NodeFacts(accelerator="A800", gpus=7, pflops=2.184))
    report.node.sick.add(id="GPU-2", reason="XID 79", attempt_ids=["j-1"])
    report.energy.add(attempt_id="j-1", kwh=2.5, estimated_kwh=0.5, gpus=8)
    report.energy.add(attempt_id="j-2", kwh=-3)
    await agent.send(report=report)
    [refused] = (await agent.until("report_ack")).rejections
    assert (refused.field, refused.value) == ("energy[j-2]", "-3 kWh, 0 of it estimated")
    [view] = desk.fleet.node_views()
    assert (view.node.gpus, view.health.pflops) == (7, 2.184)
    assert [(one.id, one.attempt_ids) for one in view.health.sick] == [("GPU-2", ("j-1",))]
    assert desk.fleet.meters.of("j-1", [view.node.id]) == Energy(2.5, 0.5)


async def test_a_newer_stream_of_a_node_ends_the_older(desk: Desk) -> None:
    older = await desk.join(head=False)
    await older.until("welcome")
    newer = await desk.join(head=False)
    await newer.until("welcome")
    await older.send(report=node_pb2.Report(node=node_pb2.NodeFacts(gpus=1)))
    code, details = await older.ended()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "newer stream of qingyang-1" in details
    await newer.send(report=node_pb2.Report(node=node_pb2.NodeFacts(gpus=8)))
    await newer.until("report_ack")
    [view] = desk.fleet.node_views()
    assert view.connected and view.node.gpus == 8


async def test_another_head_waits_until_what_the_former_runs_is_certainly_gone(
    desk: Desk,
) -> None:
    former = await desk.join()
    await former.until("welcome")
    job = await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    await former.until("desired")
    former.call.cancel()
    await eventually(lambda: not desk.fleet.reachable("qingyang"))
    refused = await desk.join(node_id="qingyang-2", incarnation="b")
    code, details = await refused.ended()
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "former head 'qingyang-1' may be alive for 31 s more" in details
    again = await desk.join(incarnation="c")
    await again.until("desired")
    again.call.cancel()
    await eventually(lambda: not desk.fleet.reachable("qingyang"))
    desk.clock.pass_s(40.0)
    late = await desk.join(node_id="qingyang-2", incarnation="b")
    assert [a.job_id for a in (await late.until("desired")).attempts] == [job.id]


async def test_a_restarted_scheduler_knows_whom_it_may_believe(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        former = await desk.join()
        await former.until("welcome")
        await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    async with sitting(tmp_path) as desk:
        code, details = await (await desk.join(node_id="qingyang-2", incarnation="b")).ended()
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert "former head 'qingyang-1' may be alive" in details
        again = await desk.join(incarnation="c")
        assert len((await again.until("desired")).attempts) == 1


async def test_no_other_head_while_a_job_waits_for_the_former(desk: Desk) -> None:
    former = await desk.join()
    await former.until("welcome")
    spec = a_spec(on_unreachable=OnUnreachable.WAIT)
    await assign(desk.book, (await desk.book.submit(spec))[0])
    await former.until("desired")
    former.call.cancel()
    await eventually(lambda: not desk.fleet.reachable("qingyang"))
    desk.clock.pass_s(86_400.0)
    code, details = await (await desk.join(node_id="qingyang-2", incarnation="b")).ended()
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "for ever, as a job waits for it" in details


async def test_the_rest_of_a_stream_does_not_wait_for_working_directories(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "BLOB_CHUNKS_MOST", 4)
    data = bytes(1024 * 1024)
    sha256 = hashlib.sha256(data * 8).hexdigest()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield data

    await desk.store.blobs.put(sha256, 8 * len(data), chunks())
    job = await assign(desk.book, (await desk.book.submit(a_spec()))[0])
    agent = await desk.join()
    for _ in range(3):
        await agent.send(working_dir_request=node_pb2.WorkingDirRequest(sha256=sha256))
    await agent.send(observed=seen(f"{job.id}-1"))
    # Nothing has been read of the stream yet.
    await eventually(lambda: desk.book.active()[job.id].state is JobState.RUNNING)
    received = hashlib.sha256()
    while not (chunk := await agent.until("working_dir_chunk")).end:
        received.update(chunk.data)
    assert received.hexdigest() == sha256


async def test_a_lying_agent_is_told_field_by_field_and_the_rest_counts(desk: Desk) -> None:
    agent = await desk.join()
    site = node_pb2.SiteFacts(province="Gansu", grid_carbon_g_per_kwh=477)
    for name, values in (
        ("price_yuan_per_kwh", [0.4, -3.0]),
        ("green_supply_kw", [10.0, 20.0]),
        ("pue", [1.2, 1.2]),
    ):
        series = getattr(site, name)
        series.values.extend(values)
        series.step_s = 900
        series.start_at.FromSeconds(1_790_000_000)
    node = node_pb2.NodeFacts(accelerator="A800", gpus=900, cpus=64, memory_gb=512, cpu_load=1.7)
    report = node_pb2.Report(node=node, site=site, rtt=[node_pb2.RttFacts(region="mars", loss=2)])
    sent_at = Timestamp(seconds=int(time.time()) + 600)
    await agent.send(report=report, sent_at=sent_at)
    told = {r.field: r.value for r in (await agent.until("report_ack")).rejections}
    assert told == {
        "clock": "10 min ahead",
        "gpus": "900",
        "cpu_load": "1.7",
        "price_yuan_per_kwh[1]": "-3",
        "rtt[mars].loss": "2",
    }
    [view] = desk.fleet.node_views()
    assert {r.field for r in view.rejections} == told.keys()
    assert (view.node.cpus, view.node.gpus, view.node.accelerator) == (64, 0, "A800")
    await agent.send(report=node_pb2.Report(node=node_pb2.NodeFacts(gpus=8, cpu_load=0.5)))
    assert [r.field for r in (await agent.until("report_ack")).rejections] == []
    left = {r.field for r in desk.fleet.node_views()[0].rejections}
    assert left == {"price_yuan_per_kwh[1]", "rtt[mars].loss"}, "what was not told again"


async def test_agents_of_a_cluster_share_the_ways_that_they_measure(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probers, "EACH", 1)
    first = await desk.join(node_id="n-0", head=False)
    assert len((await first.until("welcome")).gateways) == len(REGIONS)
    others = [
        await desk.join(node_id=f"n-{i}", head=False, incarnation=str(i)) for i in range(1, 12)
    ]
    asked = {g.region for a in others for g in (await a.until("welcome")).gateways}
    assert asked, "what the others took over"
    left = await first.until("probe_duty")
    while len(left.gateways) > len(set(REGIONS) - asked):
        left = await first.until("probe_duty")
    assert {g.region for g in left.gateways} == set(REGIONS) - asked


async def test_a_stream_leaves_nothing_behind(desk: Desk) -> None:
    before = len(asyncio.all_tasks())
    agents = [await desk.join(node_id=f"n-{i}", head=False, incarnation=str(i)) for i in range(3)]
    for agent in agents:
        await agent.until("welcome")
    for agent in agents:
        agent.call.cancel()
    await eventually(lambda: not any(view.connected for view in desk.fleet.node_views()))
    await eventually(lambda: len(asyncio.all_tasks()) <= before)
