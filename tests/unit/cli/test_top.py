"""The full-screen view, driven by keys, over canned answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from scheduler.cli.main import main
from scheduler.cli.top.app import Top
from scheduler.cli.top.feed import Feed, Seen
from scheduler.client import AsyncClient, UnreachableError
from tests.fakes import canned
from tests.fakes.canned_timeline import timeline
from tests.fakes.fake_scheduler import FakeScheduler
from tests.fakes.jobs import eventually
from westward.v1 import job_pb2, placement_pb2, timeline_pb2

RUNNING, DEFERRED, IMPOSSIBLE, *_ = canned.jobs()


class Canned:
    """A scheduler that can be taken away."""

    address = "127.0.0.1:7443"

    def __init__(self) -> None:
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.closed = False
        self.looks = 0
        self.asked: list[str] = []

    async def look(self) -> Seen:
        self.looks += 1
        await self.answers.wait()
        if self.away:
            raise UnreachableError("the scheduler cannot be reached: gone", code="UNAVAILABLE")
        queue = job_pb2.ListResponse(jobs=[DEFERRED, IMPOSSIBLE], next_page_token="more")
        return Seen(canned.clusters(), queue, job_pb2.ListResponse(jobs=[RUNNING]))

    async def explain(self, job_id: str) -> placement_pb2.Explanation:
        self.asked.append(job_id)
        return canned.explanation(job_id)

    async def ahead(self, cluster: str) -> timeline_pb2.TimelineResponse:
        self.asked.append(cluster)
        return timeline()

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def shown(source: Canned, every_s: float = 60.0) -> AsyncIterator[Pilot[None]]:
    app = Top(lambda: source, every_s)
    async with app.run_test(size=(120, 30)) as pilot:
        await eventually(lambda: bool(source.looks))
        await pilot.pause()
        yield pilot
    assert source.closed


def first_column(pilot: Pilot[None], table: str) -> list[str]:
    found = pilot.app.query_one(f"#{table}-table", DataTable)
    return [str(found.get_row_at(row)[0]) for row in range(found.row_count)]


def text(pilot: Pilot[None], widget: str) -> str:
    return str(pilot.app.screen.query_one(widget, Static).content)


async def test_keys_turn_sort_filter_and_open() -> None:
    source = Canned()
    async with shown(source) as pilot:
        assert first_column(pilot, "clusters") == ["horinger", "qingyang", "zhongwei"]
        await pilot.press("S")
        assert first_column(pilot, "clusters") == ["zhongwei", "qingyang", "horinger"]
        await pilot.press("tab")
        assert first_column(pilot, "queue") == [IMPOSSIBLE.id, DEFERRED.id]
        await pilot.press("s")  # by name
        assert first_column(pilot, "queue") == [DEFERRED.id, IMPOSSIBLE.id]
        assert "the newest, there are more" in text(pilot, "#state")
        assert "no cluster is within 4 ms" in text(pilot, "#detail")
        await pilot.press("slash", *"latency", "enter")
        assert first_column(pilot, "queue") == [IMPOSSIBLE.id]
        await pilot.press("enter")
        await pilot.pause()
        assert source.asked == [IMPOSSIBLE.id]
        await pilot.press("escape", "escape")
        assert first_column(pilot, "queue") == [DEFERRED.id, IMPOSSIBLE.id]


async def test_the_selected_row_stays_where_others_come_and_go() -> None:
    source = Canned()
    async with shown(source) as pilot:
        await pilot.press("down")
        before = source.looks
        await pilot.press("S", "r")
        await eventually(lambda: source.looks > before)
        await pilot.press("enter")
        await pilot.pause()
        assert source.asked == ["qingyang"]


async def test_a_scheduler_that_goes_away_is_said_and_waited_for() -> None:
    source = Canned()
    async with shown(source, every_s=0.2) as pilot:
        source.away = True
        await eventually(lambda: "trying again; this is of" in text(pilot, "#state"))
        assert len(first_column(pilot, "clusters")) == 3, "what was seen last stays"
        await pilot.press("question_mark")
        await pilot.pause()
        assert "sort by the next column" in text(pilot, "#page")
        await pilot.press("escape")
        source.away = False
        await eventually(lambda: "looked at" in text(pilot, "#state"))


async def test_keys_are_answered_while_the_scheduler_is_not_answering() -> None:
    source = Canned()
    async with shown(source) as pilot:
        source.answers.clear()
        before = source.looks
        await pilot.press("r")
        await eventually(lambda: source.looks > before)
        await pilot.press("2")
        assert first_column(pilot, "queue") == [IMPOSSIBLE.id, DEFERRED.id]
        source.answers.set()


async def test_a_look_is_of_the_whole_scene(fake: FakeScheduler) -> None:
    feed = Feed(AsyncClient(fake.address))
    seen = await feed.look()
    assert [job.id for job in seen.running.jobs] == [RUNNING.id]
    assert {job.id for job in seen.queue.jobs} == {DEFERRED.id, IMPOSSIBLE.id}
    assert len(seen.clusters.clusters) == 3
    assert (await feed.explain(RUNNING.id)).job_id == RUNNING.id
    assert (await feed.ahead("qingyang")).starts_total
    await feed.close()


def test_outside_of_a_terminal_it_says_what_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top"]) == 2
    assert "needs a terminal; elsewhere: westward jobs --watch" in capsys.readouterr().err
