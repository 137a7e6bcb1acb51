"""The audit trail over the wire."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from scheduler.rpc import events
from scheduler.rpc.errors import StatusError
from scheduler.state.audit import Audit
from tests.fakes.clock import ManualClock
from tests.fakes.planning import HEAD, Desk, desk
from westward.v1 import event_pb2 as pb


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


@pytest.fixture
def audit(at_work: Desk) -> Audit:
    made = Audit(at_work.store.events, at_work.fleet, at_work.clock, 5.0)
    at_work.book.on_step(lambda _: made.bell.ring())
    return made


async def taken(answers: AsyncIterator[pb.WatchEventsResponse], count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [(await anext(answers)).event.event for _ in range(count)]


async def test_the_list_and_what_follows_it_join_without_a_gap(at_work: Desk, audit: Audit) -> None:
    job = await at_work.submit()
    first = await events.listed(at_work.store.events, pb.ListEventsRequest())
    assert [event.event for event in first.events] == ["SUBMIT"]
    assert (first.next_page_token, first.events[0].subject) == ("", pb.EVENT_SUBJECT_JOB)
    await audit.look()
    await audit.flush()
    request = pb.WatchEventsRequest(after=first.position)
    follow = events.followed(at_work.store.events, audit.bell, request)
    assert await taken(follow, 2) == ["JOINED", "SERVING"]
    await at_work.book.cancel(job.id)
    assert await taken(follow, 1) == ["CANCEL"]
    await follow.aclose()


async def test_a_position_in_the_middle_goes_on_there(at_work: Desk, audit: Audit) -> None:
    start = (await events.listed(at_work.store.events, pb.ListEventsRequest())).position
    for _ in range(3):
        await at_work.submit()
    follow = events.followed(at_work.store.events, audit.bell, pb.WatchEventsRequest(after=start))
    seen = [await anext(follow), await anext(follow)]
    await follow.aclose()
    again = events.followed(
        at_work.store.events, audit.bell, pb.WatchEventsRequest(after=seen[-1].position)
    )
    last = await anext(again)
    await again.aclose()
    assert last.event.id == seen[-1].event.id + 1


async def test_pages_lead_to_the_oldest(at_work: Desk, audit: Audit) -> None:
    for _ in range(5):
        await at_work.submit()
    token, sizes = "", []
    for _ in range(10):
        request = pb.ListEventsRequest(page_size=2, page_token=token)
        page = await events.listed(at_work.store.events, request)
        sizes.append(len(page.events))
        token = page.next_page_token
        if not token:
            break
    assert sum(sizes) == 5


@pytest.mark.parametrize("text", ["x", "1", "1.", ".1", "1.2.3", "²", "-1.2", "1" * 50 + ".1"])
async def test_a_token_of_nobody_is_refused(at_work: Desk, text: str) -> None:
    with pytest.raises(StatusError, match="page_token"):
        await events.listed(at_work.store.events, pb.ListEventsRequest(page_token=text))


async def test_a_large_position_is_a_position(at_work: Desk, audit: Audit) -> None:
    request = pb.ListEventsRequest(page_token="9" * 18 + "." + "9" * 18)
    assert not (await events.listed(at_work.store.events, request)).events


async def test_silence_and_return_are_seen_by_who_follows(at_work: Desk, audit: Audit) -> None:
    await audit.look()
    await audit.flush()
    request = pb.WatchEventsRequest(node_id=HEAD.node_id)
    follow = events.followed(at_work.store.events, audit.bell, request)
    following = asyncio.create_task(taken(follow, 2))
    await asyncio.sleep(0.05)  # until it has looked where the trail ends
    cast(ManualClock, at_work.clock).pass_s(20.0)
    await audit.look()
    await audit.flush()
    at_work.fleet.heard(HEAD.node_id)
    await audit.look()
    await audit.flush()
    assert await following == ["SUSPECT", "BACK"]
    await follow.aclose()
