"""Nodes that operators cordon and drain: who leaves when, and what outlives a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from scheduler.dispatch.drain import Drain
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import JobState
from scheduler.domain.reason import ReasonCode
from scheduler.rpc.errors import StatusError
from scheduler.rpc.placements import PlacementServicer
from scheduler.state.audit import Audit
from scheduler.store import Store
from scheduler.store.events import EventFilter
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import assign
from tests.fakes.planning import HEAD, Desk, desk
from tests.fakes.questions import previews_of
from westward.v1 import placement_pb2 as pb

NODE = HEAD.node_id


async def _none(_: int) -> None:
    """No round is kept."""


class Anonymous:
    """The context of a caller that states no name."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


class Office:
    """What operators ask of a scheduler that has one node."""

    def __init__(self, made: Desk) -> None:
        self.desk = made
        self.clock = cast(ManualClock, made.clock)
        self.drain = Drain(made.book, made.store.marks.all, made.clock)
        self._placements = PlacementServicer(
            book=made.book,
            fleet=made.fleet,
            loop=made.loop,
            export=_none,
            previews=previews_of(made),
            store=made.store,
            clock=made.clock,
            audit=Audit(made.store.events, made.fleet, made.clock, 5.0),
        )

    async def ask(self, name: str, request: Any) -> Any:
        # What `answers` wraps: failures as they are, not as a context would be told of them.
        method = getattr(PlacementServicer, name).__wrapped__
        return await method(self._placements, request, Anonymous())

    async def runs(self, *, interruptible: bool) -> str:
        job = await self.desk.submit(interruptible=interruptible)
        await assign(self.desk.book, job, nodes=(NODE,))
        return job.id

    async def state(self, job_id: str) -> tuple[JobState, ReasonCode]:
        job = await self.desk.book.get(job_id)
        return job.state, job.reason.code


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with desk(tmp_path) as made:
        yield Office(made)


def lifecycle(office: Office) -> NodeLifecycle:
    [node] = office.desk.fleet.nodes()
    return node.lifecycle


async def test_a_cordoned_node_keeps_what_runs_and_gets_nothing_new(office: Office) -> None:
    runs = await office.runs(interruptible=True)
    before = office.desk.fleet.generation
    answer = await office.ask("CordonNode", pb.CordonNodeRequest(node_id=NODE, reason="noise"))
    assert answer.node.lifecycle == pb.NODE_LIFECYCLE_CORDONED
    assert (answer.node.mark.reason, answer.node.attempts) == ("noise", 1)
    assert lifecycle(office) is NodeLifecycle.CORDONED
    assert office.desk.fleet.generation > before, "what waits may find no room there any more"
    assert office.desk.fleet.reachable(HEAD.cluster), "the head is heard, cordoned or not"
    await office.drain.check()
    assert (await office.state(runs))[0] is JobState.ASSIGNED
    answer = await office.ask("UncordonNode", pb.UncordonNodeRequest(node_id=NODE))
    assert answer.node.lifecycle == pb.NODE_LIFECYCLE_READY
    assert not answer.node.HasField("mark")


async def test_interruptible_work_leaves_a_drained_node_at_once_and_the_rest_at_the_deadline(
    office: Office,
) -> None:
    moves = await office.runs(interruptible=True)
    stays = await office.runs(interruptible=False)
    answer = await office.ask("DrainNode", pb.DrainNodeRequest(node_id=NODE, deadline_s=600))
    assert answer.node.lifecycle == pb.NODE_LIFECYCLE_DRAINING
    await office.drain.check()
    assert await office.state(moves) == (JobState.PREEMPTING, ReasonCode.DRAINED)
    assert (await office.state(stays))[0] is JobState.ASSIGNED
    office.clock.pass_s(599)
    await office.drain.check()
    assert (await office.state(stays))[0] is JobState.ASSIGNED
    office.clock.pass_s(1)
    await office.drain.check()
    assert await office.state(stays) == (JobState.PREEMPTING, ReasonCode.DRAINED)


async def test_a_mark_outlives_the_scheduler(office: Office, tmp_path: Path) -> None:
    await office.ask("DrainNode", pb.DrainNodeRequest(node_id=NODE, deadline_s=60, reason="fan"))
    [kept] = office.desk.store.marks.all.values()
    [told] = (await office.desk.store.events.page(EventFilter(), None, 10)).events
    again = await Store.open(office.desk.store.safe_url.replace(".db", "-copy.db"))
    await again.marks.put(NODE, kept, told)
    await again.close()
    opened = await Store.open(again.safe_url)
    assert dict(opened.marks.all) == {NODE: kept}
    await opened.marks.put(NODE, None, told)
    assert not opened.marks.all
    await opened.close()


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan"), 1e9])
async def test_an_absurd_deadline_is_refused(office: Office, deadline_s: float) -> None:
    request = pb.DrainNodeRequest(node_id=NODE, deadline_s=deadline_s)
    with pytest.raises(StatusError, match="deadline_s"):
        await office.ask("DrainNode", request)
    assert not office.desk.store.marks.all


async def test_a_node_that_nobody_knows_cannot_be_marked(office: Office) -> None:
    with pytest.raises(StatusError, match="no node 'qy-99' has connected"):
        await office.ask("CordonNode", pb.CordonNodeRequest(node_id="qy-99"))


async def test_a_silent_node_is_told_as_silent_whatever_is_wished(office: Office) -> None:
    await office.ask("CordonNode", pb.CordonNodeRequest(node_id=NODE))
    office.clock.pass_s(16)
    assert lifecycle(office) is NodeLifecycle.SUSPECT
    office.clock.pass_s(60)
    assert lifecycle(office) is NodeLifecycle.LOST
