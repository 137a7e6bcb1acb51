"""The audit trail: what is stored of jobs and of all else, read as one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.domain.audit import AuditEvent, Happening, Subject
from scheduler.domain.job import ArraySpec, AttemptState
from scheduler.domain.transitions import Event
from scheduler.state.contacts import HAPPENINGS
from scheduler.store import Store, events, retention
from scheduler.store.events import EventFilter, Page, Position
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import NOW, a_spec, assign, end, opened


def of_node(minutes: float, happening: Happening = Happening.JOINED, **more: str) -> AuditEvent:
    event = AuditEvent(
        at=NOW + timedelta(minutes=minutes),
        actor="agent/qy-1",
        subject=Subject.NODE,
        name="qy-1",
        cluster="qingyang",
        event=happening.value,
        from_state="",
        to_state="READY",
        message="8 × A800",
    )
    return replace(event, **more)  # type: ignore[arg-type]


def told(page: Page) -> list[tuple[str, str]]:
    return [(event.name, event.event) for event in page.events]


async def all_of(store: Store, wanted: EventFilter, limit: int) -> list[AuditEvent]:
    """Page by page, until there is no more."""
    found: list[AuditEvent] = []
    before: Position | None = None
    for _ in range(100):
        page = await store.events.page(wanted, before, limit)
        assert len(page.events) <= limit
        found += page.events
        if page.next is None:
            return found
        before = page.next
    raise AssertionError("no end")


async def test_what_is_stored_is_read_back_whole(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        noted = of_node(1, message="said \0 so")
        await store.events.add([noted])
        [event] = (await store.events.page(EventFilter(), None, 10)).events
        assert event == replace(noted, id=1, message="said � so")


async def test_jobs_and_nodes_are_told_in_the_order_of_time(database_url: str) -> None:
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        job, _ = await book.submit(a_spec())
        await store.events.add([of_node(0.5)])
        clock.pass_s(60.0)
        job = await assign(book, job, nodes=("qy-1",))
        await store.events.add([of_node(2, Happening.SUSPECT)])
        clock.pass_s(120.0)
        await end(book, job, Event.SUCCEED, AttemptState.SUCCEEDED)
        story = [
            (job.id, "SUCCEED"),
            ("qy-1", "SUSPECT"),
            (job.id, "ASSIGN"),
            ("qy-1", "JOINED"),
            (job.id, "SUBMIT"),
        ]
        for limit in (1, 2, 3, 10):
            found = await all_of(store, EventFilter(), limit)
            assert [(event.name, event.event) for event in found] == story, limit
        first = found[-1]
        assert (first.from_state, first.to_state, first.cluster) == ("", "PENDING", "")
        assert (found[2].cluster, found[2].attempt_id) == ("qingyang", f"{job.id}-1")


async def test_filters_find_what_is_or_runs_there(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        here = await assign(book, (await book.submit(a_spec()))[0], nodes=("qy-1", "qy-2"))
        there = (await book.submit(a_spec()))[0]
        there = await assign(book, there, cluster="zhongwei", nodes=("qy-12",))
        chunks, _ = await book.submit_array(a_spec(array=ArraySpec(tasks=20, chunk_tasks=10)))
        await store.events.add([of_node(1), of_node(2, name="qy-12", cluster="zhongwei")])

        async def names(**wanted: str) -> set[str]:
            return {e.name for e in await all_of(store, EventFilter(**wanted), 2)}  # type: ignore[arg-type]

        assert await names(job_id=here.id) == {here.id}
        assert await names(job_id=str(chunks[0].array_id)) == {job.id for job in chunks}
        assert await names(node_id="qy-1") == {"qy-1", here.id}
        assert await names(cluster="zhongwei") == {"qy-12", there.id}
        assert await names(node_id="qy_1") == set(), "no letter stands for any other"
        assert await names(job_id="nobody") == set()


async def test_what_is_seldom_wanted_is_looked_for_piece_by_piece(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LOOKED_MOST", 3)
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        rare = await assign(book, (await book.submit(a_spec()))[0], cluster="zhongwei")
        await store.events.add([of_node(0, cluster="zhongwei")])
        for _ in range(10):
            clock.pass_s(60.0)
            await book.submit(a_spec())
        wanted = EventFilter(cluster="zhongwei")
        page = await store.events.page(wanted, None, 10)
        assert (page.events, page.next is None) == ((), False), "neither is within the piece"
        found = await all_of(store, wanted, 10)
        assert {event.name for event in found} == {rare.id, "qy-1"}
        young = EventFilter(since_at=NOW + timedelta(minutes=8.5))
        pages = await all_of(store, young, 10)
        assert len(pages) == 2
        page = await store.events.page(young, None, 10)
        assert page.next is None, "what is older is not looked through"


async def test_who_follows_misses_nothing_and_hears_nothing_twice(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        await book.submit(a_spec())
        start = await store.events.newest()
        assert (await store.events.after(EventFilter(), start, 10))[0].events == ()
        second, _ = await book.submit(a_spec())
        await store.events.add([of_node(n) for n in range(5)])
        heard: list[AuditEvent] = []
        position, more = start, True
        while more:
            page, more = await store.events.after(EventFilter(), position, 2)
            heard += page.events
            assert page.next is not None
            position = page.next
        assert [e.id for e in heard if e.subject is Subject.NODE] == [1, 2, 3, 4, 5]
        assert [e.name for e in heard if e.subject is Subject.JOB] == [second.id]
        assert position == await store.events.newest()


async def test_the_newest_of_each_thing(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        noted = [
            of_node(1),
            of_node(2, Happening.SUSPECT),
            of_node(3, Happening.CORDONED),
            of_node(4, name="qy-2"),
        ]
        await store.events.add(noted)
        last = await store.events.last(["JOINED", "SUSPECT"])
        assert {(e.name, e.event) for e in last} == {("qy-1", "SUSPECT"), ("qy-2", "JOINED")}


async def test_numbers_are_never_given_twice(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        await store.events.add([of_node(1), of_node(2)])
        assert await retention.forget_events(store.database, NOW + timedelta(days=1), ()) == 2
        await store.events.add([of_node(3)])
        [event] = (await store.events.page(EventFilter(), None, 10)).events
        assert event.id == 3


async def test_only_old_events_are_forgotten(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        await store.events.add([of_node(1), of_node(100)])
        assert await retention.forget_events(store.database, NOW + timedelta(minutes=50), ()) == 1
        assert [e.at for e in (await store.events.page(EventFilter(), None, 9)).events] == [
            NOW + timedelta(minutes=100)
        ]


async def test_what_a_thing_was_last_is_never_forgotten(database_url: str) -> None:
    """A restart begins from there: without it, a node that was there all along joins anew."""
    async with opened(database_url) as (store, _):
        await store.events.add(
            [
                of_node(1),
                of_node(2, Happening.SUSPECT),
                of_node(3, Happening.BACK),
                of_node(4, Happening.CORDONED),
                of_node(5, name="qy-2"),
            ]
        )
        later = NOW + timedelta(days=400)
        assert await retention.forget_events(store.database, later, HAPPENINGS) == 3
        last = await store.events.last(HAPPENINGS)
        assert {(e.name, e.event) for e in last} == {("qy-1", "BACK"), ("qy-2", "JOINED")}
        await store.events.add([of_node(6, Happening.LOST)])
        assert await retention.forget_events(store.database, later, HAPPENINGS) == 1
