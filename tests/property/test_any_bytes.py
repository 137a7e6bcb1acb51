"""Whatever bytes come on the stream, scheduler and agent live on and serve whoever makes sense."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.latency import Prober
from agents.wire import RefusedMessageError, objection, terms
from scheduler.config import SchedulerConfig
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import Streams
from scheduler.rpc.nodes import NodeServicer
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from tests.fakes.agent import agent, config
from tests.fakes.clock import ManualClock
from tests.fakes.executor import MemoryExecutor
from tests.fakes.jobs import eventually, opened
from tests.fakes.node_service import FakeScheduler, served, welcome
from westward.v1 import node_pb2, node_pb2_grpc

METHOD = "/westward.v1.NodeService/Connect"
LIMIT_S = 10.0
EXAMPLES = 60
# No names: what a resolver makes of them is not ours.
NOWHERE = ("", "x", "a:b:c", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:1", "\0:1")

wild = st.floats(allow_nan=True, allow_infinity=True)
words = st.text(max_size=12)
HELLO = node_pb2.ConnectRequest(
    seq=1, hello=node_pb2.Hello(node_id="wild", cluster="qingyang", head=True, incarnation="w")
).SerializeToString()


def series() -> st.SearchStrategy[node_pb2.Series]:
    return st.builds(
        node_pb2.Series,
        step_s=wild,
        values=st.lists(wild, max_size=3),
        source=words,
        measured=st.integers(0, 2**32 - 1),
        quantiles=st.lists(
            st.builds(node_pb2.Quantile, q=wild, values=st.lists(wild, max_size=3)), max_size=2
        ),
    )


def reports() -> st.SearchStrategy[node_pb2.Report]:
    node = st.builds(
        node_pb2.NodeFacts,
        accelerator=words,
        gpus=st.integers(0, 2**32 - 1),
        cpus=wild,
        memory_gb=wild,
        cpu_load=wild,
        pflops=wild,
    )
    site = st.builds(
        node_pb2.SiteFacts,
        province=words,
        price_yuan_per_kwh=series(),
        pue=series(),
        power_cap_kw=st.none() | wild,
        links=st.lists(st.builds(node_pb2.LinkFacts, peer=words, bandwidth_gbps=wild), max_size=2),
    )
    rtt = st.builds(node_pb2.RttFacts, region=words, p50_ms=wild, p95_ms=wild, loss=wild)
    energy = st.builds(node_pb2.EnergyFacts, attempt_id=words, kwh=wild)
    return st.builds(
        node_pb2.Report,
        node=node,
        site=site,
        rtt=st.lists(rtt, max_size=2),
        energy=st.lists(energy, max_size=2),
    )


def messages() -> st.SearchStrategy[bytes]:
    """Bytes that no program would send, and messages with any values in their fields."""
    observed = st.builds(
        node_pb2.ObservedState,
        attempts=st.lists(
            st.builds(
                node_pb2.ObservedAttempt,
                attempt_id=words,
                state=st.integers(0, 9),
                epoch=st.just(1),
            ),
            max_size=2,
        ),
        answers_desired_seq=st.integers(0, 2**64 - 1),
    )
    chunk = st.builds(
        node_pb2.LogChunk, attempt_id=words, offset=st.integers(0, 2**64 - 1), data=st.binary()
    )
    told = st.one_of(
        st.builds(node_pb2.ConnectRequest, seq=st.integers(0, 2**64 - 1), report=reports()),
        st.builds(node_pb2.ConnectRequest, observed=observed),
        st.builds(node_pb2.ConnectRequest, log=chunk),
        st.builds(
            node_pb2.ConnectRequest,
            working_dir_request=st.builds(node_pb2.WorkingDirRequest, sha256=words),
        ),
    )
    return st.one_of(told.map(lambda message: message.SerializeToString()), st.binary(max_size=64))


async def test_any_bytes_leave_the_scheduler_serving(tmp_path: Path) -> None:
    clock, streams, config = ManualClock(), Streams(), SchedulerConfig()
    async with opened(tmp_path, clock) as (store, book):
        fleet = Fleet(clock, {}, config.report_interval_s)
        dispatcher = Dispatcher(book, fleet, Leases(clock, 30.0), streams, clock)
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
        server = grpc.aio.server()
        node_pb2_grpc.add_NodeServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        tasks = len(asyncio.all_tasks())
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                for sent in examples(st.tuples(st.booleans(), st.lists(messages(), max_size=4))):
                    await _say(channel, sent)
                    fleet.sites()
                await eventually(lambda: len(asyncio.all_tasks()) <= tasks + 1)
                await _makes_sense(channel)
                [view] = [view for view in fleet.node_views() if view.node.id == "sane"]
                assert view.node.gpus == 8
        finally:
            await server.stop(None)


def examples(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Many of them, so that one server meets all."""
    found: list[Any] = []

    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


async def _say(channel: grpc.aio.Channel, sent: tuple[bool, list[bytes]]) -> None:
    """One stream: with a hello first or without, then bytes as they are, until it ends."""
    with_hello, bodies = sent
    call = channel.stream_stream(METHOD)()
    try:
        async with asyncio.timeout(LIMIT_S):
            for body in [HELLO] * with_hello + bodies:
                await call.write(body)
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # refused, which is as good an answer as any
    finally:
        call.cancel()


async def _makes_sense(channel: grpc.aio.Channel) -> None:
    call = node_pb2_grpc.NodeServiceStub(channel).Connect()
    hello = node_pb2.Hello(node_id="sane", cluster="zhongwei", incarnation="s")
    await call.write(node_pb2.ConnectRequest(seq=1, hello=hello))
    report = node_pb2.Report(node=node_pb2.NodeFacts(accelerator="A800", gpus=8))
    await call.write(node_pb2.ConnectRequest(seq=2, report=report))
    async with asyncio.timeout(LIMIT_S):
        while (await call.read()).WhichOneof("body") != "report_ack":
            pass
    call.cancel()


class Raw(grpc.GenericRpcHandler):
    """A scheduler that welcomes, says any bytes, and waits to be left."""

    def __init__(self, says: list[list[bytes]]) -> None:
        self._says = iter(says)
        self.streams = 0
        self.heard: Callable[[], None] = lambda: None

    def service(self, details: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._talk)

    async def _talk(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        self.streams += 1
        greeting = welcome(report_interval_s=60.0)
        yield node_pb2.ConnectResponse(seq=1, welcome=greeting).SerializeToString()
        for data in next(self._says, []):
            yield data


def sayings() -> st.SearchStrategy[bytes]:
    attempt = st.builds(
        node_pb2.DesiredAttempt,
        attempt_id=words,
        job_id=words,
        may_start=st.booleans(),
        tasks_done=st.binary(max_size=4),
    )
    desired = st.builds(
        node_pb2.DesiredState,
        attempts=st.lists(attempt, max_size=2),
        lease_answers_seq=st.integers(0, 2**64 - 1),
        stored_seq=st.none() | st.integers(0, 2**64 - 1),
        lease_ttl_s=wild,
    )
    duty = st.builds(
        node_pb2.ProbeDuty,
        gateways=st.lists(
            st.builds(node_pb2.Gateway, region=words, address=st.sampled_from(NOWHERE)), max_size=2
        ),
    )
    chunk = st.builds(node_pb2.WorkingDirChunk, sha256=words, offset=st.integers(0, 2**64 - 1))
    told = st.one_of(
        st.builds(node_pb2.ConnectResponse, desired=desired),
        st.builds(node_pb2.ConnectResponse, probe_duty=duty),
        st.builds(node_pb2.ConnectResponse, working_dir_chunk=chunk),
        st.builds(
            node_pb2.ConnectResponse,
            report_ack=st.builds(node_pb2.ReportAck, seq=st.integers(0, 2**64 - 1)),
        ),
    )
    return st.one_of(told.map(lambda message: message.SerializeToString()), st.binary(max_size=64))


async def test_any_bytes_leave_the_agent_reporting(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("agents.link.BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr("agents.link.BACKOFF_MOST_S", 0.0)
    says = examples(st.lists(sayings(), min_size=1, max_size=4))
    raw = Raw(says)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((raw,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with agent(config(tmp_path, port), MemoryExecutor()):
        await eventually(lambda: raw.streams > len(says), 30.0)
        await server.stop(None)
        scheduler = FakeScheduler()
        async with served(scheduler, port):
            await scheduler.until(lambda: scheduler.streams and scheduler.streams[-1].reports, 20.0)


@given(st.builds(node_pb2.Welcome, report_interval_s=wild, slot_s=wild, horizon_s=wild))
def test_any_welcome_is_understood_or_refused(greeting: node_pb2.Welcome) -> None:
    try:
        agreed = terms(greeting)
    except RefusedMessageError:
        return
    assert agreed.report_interval_s > 0 and agreed.slot_s > 0


@given(st.builds(node_pb2.DesiredAttempt, attempt_id=words, job_id=words))
def test_any_attempt_is_judged(attempt: node_pb2.DesiredAttempt) -> None:
    assert objection(attempt) is not None


async def test_any_gateway_is_probed_or_left_alone() -> None:
    prober = Prober("qingyang")
    prober.probe(dict.fromkeys(NOWHERE, ""))
    prober.probe({address: address for address in NOWHERE})
    await asyncio.sleep(0.2)
    assert prober.measured() == {}
    await prober.close()
