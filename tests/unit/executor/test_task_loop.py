"""One worker of an array's chunk, against a site actor played by the test."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agents.executor import processes, wire
from agents.executor.base import Assignment
from agents.executor.wire import Message, Order
from scheduler.domain.job import ArraySpec, Command
from scheduler.domain.tasks import parse
from tests.contract.executor_cases import NODE, eventually

ROOT = Path(__file__).resolve().parents[3]
MODULE = "tests.fakes.local_array"


class Site:
    """The test's end of the leash of worker 0."""

    def __init__(
        self, worker_pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.worker_pid = worker_pid
        self._reader = reader
        self._writer = writer

    def tell(self, **message: Any) -> None:
        self._writer.write(wire.encode(message))

    def give(self, *tasks: int) -> None:
        self.tell(kind="tasks", tasks=[(task, 1) for task in tasks], over=False)

    async def hear(self, kind: str = "tasks") -> Message:
        """The next message, which must be of this kind."""
        async with asyncio.timeout(20.0):
            message = await wire.read(self._reader)
        assert message is not None and message["kind"] == kind, message
        return message

    async def hear_ends(self, tasks: int) -> list[list[Any]]:
        """How so many tasks ended, and then no more than that."""
        ended: list[list[Any]] = []
        while len(ended) < tasks:
            ended += (await self.hear())["ended"]
        return ended

    def hang_up(self) -> None:
        self._writer.close()


@pytest.fixture
def order(tmp_path: Path, request: pytest.FixtureRequest) -> Order:
    assignment = Assignment(
        attempt_id=f"loop-{tmp_path.name}",
        job_id="loop",
        epoch=1,
        number=1,
        work=Command(("bash", "-c", request.param)),
        nodes=(NODE,),
        gpus=0,
        cpus=1.0,
        memory_gb=0.1,
        array=ArraySpec(tasks=1000, first_task=500),
    )
    return wire.order_of(assignment, data_dir=tmp_path, cluster="test")


@pytest.fixture
async def site(order: Order) -> AsyncIterator[Site]:
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULE, str(fd), "0", pass_fds=(fd,), cwd=ROOT
        )
    site = Site(worker.pid, *await asyncio.open_connection(sock=ours))
    site.tell(**asdict(order))
    await site.hear("running")
    assert (await site.hear())["room"] == 1, "what a task takes is not known yet"
    yield site
    site.hang_up()
    async with asyncio.timeout(20.0):
        await worker.wait()
    assert processes.find(order.attempt_id) == []


@pytest.mark.parametrize("order", ["exit 0"], indirect=True)
async def test_short_tasks_are_asked_for_in_numbers(site: Site) -> None:
    site.give(0)
    news = await site.hear()
    assert news["ended"] == [[0, 1, 0, ""]] and news["returned"] == []
    site.give(*range(1, 200))
    ended, room = 0, 0
    while ended < 199:
        news = await site.hear()
        ended += len(news["ended"])
        # Before the last of them has ended, so that it need not wait for more.
        room = max(room, news["room"] if ended < 199 else 0)
    assert room > 1
    site.tell(kind="tasks", tasks=[], over=True)
    ending = await site.hear("ended")
    assert (ending["code"], ending["exit_code"]) == ("OK", 0)


@pytest.mark.parametrize("order", ["[ $WESTWARD_TASK_INDEX = 500 ] || sleep 600"], indirect=True)
async def test_what_waits_behind_a_long_task_is_given_back(site: Site, order: Order) -> None:
    site.give(0)
    await site.hear_ends(1)
    site.give(1, 2, 3)
    # By what the first has taken, three are few.
    assert (await site.hear())["room"] > 0
    news = await site.hear()
    assert (news["returned"], news["room"]) == ([[2, 1], [3, 1]], 0)
    site.tell(kind="stop", grace_s=20.0)
    ending = await site.hear("ended")
    assert (ending["code"], ending["exit_code"], ending["told_to_stop"]) == ("STOPPED", -15, True)
    records = list(parse((order.folder(NODE) / "rank-0.tasks").read_bytes()))
    assert [(record.index, record.end is None) for record in records] == [
        (500, True),
        (500, False),
        (501, True),
        (501, False),
    ]


@pytest.mark.parametrize("order", ["trap '' TERM; sleep 600; sleep 600"], indirect=True)
async def test_a_broken_leash_ends_the_task_at_once(site: Site, order: Order) -> None:
    site.give(0)
    await eventually(lambda: processes.find(order.attempt_id) != [])
    site.hang_up()
    await eventually(lambda: processes.find(order.attempt_id) == [])
    await eventually((order.folder(NODE) / "rank-0.done").exists)


@pytest.mark.parametrize("order", ['rm -r "$PWD"'], indirect=True)
async def test_what_ended_is_told_though_the_next_cannot_be_started(site: Site) -> None:
    site.give(0, 1)
    assert (await site.hear())["ended"] == [[0, 1, 0, ""]]
    ending = await site.hear("ended")
    assert ending["code"] == "COMMAND_NOT_FOUND"


@pytest.mark.parametrize(
    "order", ["trap '' TERM; (sleep 600; sleep 600) & touch up; sleep 600; wait"], indirect=True
)
async def test_a_worker_that_stopped_keeps_no_zombies(site: Site, order: Order) -> None:
    site.give(0)
    await eventually((order.folder(NODE) / "rank-0.cwd" / "up").exists)
    site.tell(kind="stop", grace_s=0.1)
    ending = await site.hear("ended")
    assert ending["exit_code"] == -9
    pid = site.worker_pid
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
