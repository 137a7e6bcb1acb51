"""`Why` and `Explain` asked again, over a socket: the loop, the book and the planner are real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from scheduler.client import AsyncClient, ConflictError
from scheduler.domain.job import AttemptState, JobState
from scheduler.domain.transitions import Event
from scheduler.planner.budget import Budget
from scheduler.planner.snapshot import Snapshot
from scheduler.rounds.thought import Thought, think
from scheduler.rpc.placements import PlacementServicer
from scheduler.state.audit import Audit
from tests.fakes.jobs import WHY, end
from tests.fakes.planning import Desk, desk
from tests.fakes.questions import previews_of
from westward.v1 import job_pb2, placement_pb2_grpc, why_pb2


@asynccontextmanager
async def asking(at_work: Desk) -> AsyncIterator[AsyncClient]:
    """A client of the desk's scheduler."""

    async def export(_: int) -> bytes | None:
        return None

    servicer = PlacementServicer(
        book=at_work.book,
        fleet=at_work.fleet,
        loop=at_work.loop,
        export=export,
        previews=previews_of(at_work),
        store=at_work.store,
        clock=at_work.clock,
        audit=Audit(at_work.store.events, at_work.fleet, at_work.clock, 5.0),
    )
    server = grpc.aio.server()
    placement_pb2_grpc.add_PlacementServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            yield client
    finally:
        await server.stop(None)


@pytest_asyncio.fixture
async def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    def real(_: Desk, snapshot: Snapshot) -> Thought:
        return think(snapshot, Budget())

    monkeypatch.setattr(Desk, "think", real)
    async with desk(tmp_path) as made:
        yield made


async def test_why_a_job_waits_is_told_with_what_would_change_it(at_work: Desk) -> None:
    job = await at_work.submit(workers=9)
    async with asking(at_work) as client:
        asked = (await client.why(job.id)).why
        assert asked.reason.code == "NOT_PLANNED_YET"
        assert asked.expected.sureness == why_pb2.SURENESS_UNKNOWN
        await at_work.loop.round("submit")
        told = (await client.why(job.id)).why
    assert told.reason.code == "TOO_BIG" and told.pools == 1
    assert (told.round_id, told.expected.sureness) == (1, why_pb2.SURENESS_NEVER_AS_IT_IS)
    [one] = told.relaxations
    assert [*one.changes] == [why_pb2.WishChange(field="workers", old="9", new="8")]
    assert (one.cluster, one.now) == ("qingyang", True)


async def test_explain_asks_again_and_leaves_no_trace(at_work: Desk) -> None:
    job = await at_work.submit(max_rtt_ms=1.0)
    await at_work.loop.round("submit")
    async with asking(at_work) as client:
        before = await client.explain(job.id, slots=True)
        assert before.explanation.round_id == 1
        [pool] = before.starts.pools
        assert pool.reason.code == "LATENCY_UNKNOWN"
        assert {v.WhichOneof("kind") for v in pool.yuan.values} == {"null_value"}
        other = await at_work.submit()
        again = await client.explain(job.id, now=True, slots=True)
        assert again.explanation.round_id == 0
        assert again.explanation.reason == before.explanation.reason
        # Both jobs were planned; neither is told so.
        assert at_work.loop.explanation(other.id) is None
        assert (await at_work.book.get(other.id)).state is JobState.PENDING
        await at_work.loop.round("submit")
        assert (await at_work.book.get(other.id)).state is JobState.ASSIGNED
        with pytest.raises(ConflictError, match="only a job that waits"):
            await client.explain(other.id, now=True)
        running = (await client.why(other.id)).why
        assert running.reason.code == "CHOSEN" and not running.HasField("expected")


async def test_a_failed_job_is_told_by_its_last_attempt(at_work: Desk) -> None:
    job = await at_work.submit(max_attempts=1)
    await at_work.loop.round("submit")
    assigned = await at_work.book.get(job.id)
    await end(at_work.book, assigned, Event.FAIL_FINAL, AttemptState.FAILED)
    async with asking(at_work) as client:
        told = (await client.why(job.id)).why
    assert told.job_state == job_pb2.JOB_STATE_FAILED
    assert told.reason.code == WHY.code.value
    assert [attempt.reason.code for attempt in told.attempts] == [WHY.code.value]
    assert not told.relaxations and not told.HasField("expected")
