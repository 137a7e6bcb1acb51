"""What is noted of nodes and clusters, and how much of it at most."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.domain.audit import AuditEvent
from scheduler.state import audit as module
from scheduler.state.allowance import Allowance
from scheduler.state.audit import Audit
from scheduler.state.fleet import LOST_AFTER_REPORTS
from scheduler.store.errors import StoreError
from scheduler.store.events import EventFilter
from tests.fakes.clock import ManualClock
from tests.fakes.planning import HEAD, Desk, desk

INTERVAL_S = 5.0
LOST_S = LOST_AFTER_REPORTS * INTERVAL_S


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def audit(at_work: Desk) -> Audit:
    made = Audit(at_work.store.events, at_work.fleet, at_work.clock, INTERVAL_S)
    await made.begin()
    return made


async def look(audit: Audit) -> None:
    await audit.look()
    await audit.flush()


async def noted(at_work: Desk) -> list[AuditEvent]:
    """Oldest first."""
    page = await at_work.store.events.page(EventFilter(), None, 1000)
    return list(page.events[::-1])


async def story(at_work: Desk) -> list[tuple[str, str]]:
    return [(event.name, event.event) for event in await noted(at_work)]


def pass_s(at_work: Desk, seconds: float) -> None:
    assert isinstance(at_work.clock, ManualClock)
    at_work.clock.pass_s(seconds)


async def test_who_ends_while_events_are_being_stored_stores_none_twice(
    at_work: Desk, audit: Audit
) -> None:
    await audit.look()
    go_on = threading.Event()
    held = asyncio.create_task(at_work.store.database.write(lambda _: go_on.wait(30.0)))
    watching = asyncio.create_task(audit.flush())
    for _ in range(5):
        await asyncio.sleep(0)  # until the writer has been asked
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    ending = asyncio.create_task(audit.end())
    await asyncio.sleep(0)  # it asks for more while the first is under way
    go_on.set()
    await asyncio.gather(held, ending)
    names = ["scheduler", "qingyang-1", "qingyang", "scheduler"]
    assert [name for name, _ in await story(at_work)] == names


async def test_a_node_and_its_cluster_come_go_and_come_back(at_work: Desk, audit: Audit) -> None:
    await look(audit)
    pass_s(at_work, LOST_S)
    at_work.fleet.heard(HEAD.node_id)
    await look(audit)
    pass_s(at_work, 16.0)
    await look(audit)
    pass_s(at_work, LOST_S)
    await look(audit)
    await look(audit)
    at_work.fleet.heard(HEAD.node_id)
    await look(audit)
    assert await story(at_work) == [
        ("scheduler", "STARTED"),
        ("qingyang-1", "JOINED"),
        ("qingyang", "SERVING"),
        ("qingyang-1", "SUSPECT"),
        ("qingyang", "UNREACHABLE"),
        ("qingyang-1", "LOST"),
        ("qingyang-1", "BACK"),
        ("qingyang", "SERVING"),
    ]
    events = await noted(at_work)
    assert [(e.from_state, e.to_state) for e in events if e.name == "qingyang-1"] == [
        ("", "READY"), ("READY", "SUSPECT"), ("SUSPECT", "LOST"), ("LOST", "READY"),
    ]  # fmt: skip
    assert [e.actor for e in events[1:4]] == ["agent/qingyang-1", "agent/qingyang", "scheduler"]
    assert events[1].message == "8 × A800, 64 CPUs, the head; agent 1"


async def test_a_cluster_that_can_start_nothing_says_why(at_work: Desk, audit: Audit) -> None:
    await look(audit)
    at_work.fleet.report_serving(HEAD.node_id, "Ray does not answer")
    await look(audit)
    last = (await noted(at_work))[-1]
    assert (last.event, last.from_state) == ("NOT_SERVING", "SERVING")
    assert last.message == "Ray does not answer"


async def test_after_a_restart_nobody_joins_anew_and_who_stays_away_is_lost(
    at_work: Desk, audit: Audit
) -> None:
    at_work.fleet.connect(replace(HEAD, node_id="qingyang-2", head=False, incarnation="b"))
    at_work.fleet.report_node("qingyang-2", {"gpus": 8, "accelerator": "A800"})
    await look(audit)
    before = await story(at_work)
    at_work.fleet._drop(at_work.fleet._known["qingyang-2"])  # as if it had not called yet
    again = Audit(at_work.store.events, at_work.fleet, at_work.clock, INTERVAL_S)
    await again.begin()
    await look(again)
    assert await story(at_work) == [*before, ("scheduler", "STARTED")]
    pass_s(at_work, LOST_S)
    at_work.fleet.heard(HEAD.node_id)
    await look(again)
    await look(again)
    assert (await story(at_work))[-1] == ("qingyang-2", "LOST")
    assert len(await story(at_work)) == len(before) + 2


async def test_a_flapping_node_is_noted_seldom_and_ends_as_it_is(
    at_work: Desk, audit: Audit
) -> None:
    await look(audit)
    for _ in range(300):
        pass_s(at_work, 1.0)
        at_work.fleet.disconnect(HEAD)
        await audit.look()
        at_work.fleet.connect(HEAD)
        await audit.look()
    await audit.flush()
    of_node = [event for event in await noted(at_work) if event.name == HEAD.node_id]
    assert len(of_node) == module.ONE_BURST
    pass_s(at_work, 4 * module.ONE_EVERY_S)
    at_work.fleet.heard(HEAD.node_id)
    await look(audit)
    [*_, last] = [event for event in await noted(at_work) if event.name == HEAD.node_id]
    assert last.to_state == "READY"


async def test_a_change_that_was_held_back_is_told_if_it_lasts(at_work: Desk, audit: Audit) -> None:
    await look(audit)
    for _ in range(module.ONE_BURST):
        at_work.fleet.disconnect(HEAD)
        await audit.look()
        at_work.fleet.connect(HEAD)
        await audit.look()
    at_work.fleet.disconnect(HEAD)
    await look(audit)
    [*_, told] = [event for event in await noted(at_work) if event.name == HEAD.node_id]
    pass_s(at_work, 2 * module.ONE_EVERY_S)
    await look(audit)
    [*_, last] = [event for event in await noted(at_work) if event.name == HEAD.node_id]
    assert told.event != "LOST"
    assert last.event == "LOST"
    assert "changed 13 times" in last.message


async def test_a_field_is_noted_the_first_time_it_is_refused(at_work: Desk, audit: Audit) -> None:
    for number in range(100):
        audit.refused_field("qy-1", "qingyang", "pue", f"{number}" * 500, "not within 1 to 3")
    await audit.flush()
    [_, event] = await noted(at_work)
    assert (event.event, event.name, event.cluster) == ("FIELD_REFUSED", "qy-1", "qingyang")
    assert len(event.message) < 200
    pass_s(at_work, module.REFUSED_AGAIN_S)
    audit.refused_field("qy-1", "qingyang", "pue", "9", "not within 1 to 3")
    await audit.flush()
    assert len(await noted(at_work)) == 3


async def test_who_lies_in_ever_new_ways_does_not_fill_the_disk(
    at_work: Desk, audit: Audit
) -> None:
    for number in range(1000):
        audit.refused_field("qy-1", "qingyang", f"rtt[{number}]", "x", "no such region")
        audit.refused_agent(f"qy-{number}", "qingyang", "taken")
        audit.failed(number, "IllegalPlanError: no")
    pass_s(at_work, module.ONE_EVERY_S)
    audit.refused_agent("qy-1", "qingyang", "taken")
    await audit.flush()
    events = await noted(at_work)
    assert len(events) == 1 + 3 * module.ONE_BURST + 1
    assert events[-1].message == f"taken (and {1000 - module.ONE_BURST} more before)"


async def test_what_could_not_be_stored_is_stored_later(
    at_work: Desk, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise StoreError("the disk is full")

    audit.failed(7, "RuntimeError: no")
    with monkeypatch.context() as broken:
        broken.setattr(at_work.store.events, "add", full)
        with pytest.raises(StoreError):
            await audit.flush()
        await audit.end()
    await audit.flush()
    happenings = [event for _, event in await story(at_work)]
    assert happenings == ["STARTED", "FAILED", "STOPPED"]


def test_an_allowance_comes_back_bit_by_bit() -> None:
    allowance = Allowance(burst=2, every_s=10.0)
    assert [allowance.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert allowance.take("b", 0.0)
    assert [allowance.take("a", s) for s in (9.0, 10.0, 10.0)] == [False, True, False]
    assert [allowance.take("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_what_has_its_whole_allowance_is_not_remembered() -> None:
    allowance = Allowance(burst=2, every_s=10.0)
    for number in range(30_000):
        allowance.take(str(number), timedelta(seconds=number).total_seconds())
    assert len(allowance._full_at_s) <= 10_001
