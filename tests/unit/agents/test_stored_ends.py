"""The end of an attempt is told until the scheduler has stored it: nobody else knows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from agents import lease
from agents.attempts import Attempts
from agents.link import Session
from agents.wire import assignment, terms
from agents.workdirs import WorkingDirs
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from tests.fakes.agent import attempt
from tests.fakes.executor import MemoryExecutor
from tests.fakes.node_service import welcome
from westward.v1 import node_pb2


class Heard:
    """A session of which everything arrives."""

    def __init__(self) -> None:
        self.told: list[node_pb2.ObservedState] = []

    async def send(self, *, observed: node_pb2.ObservedState) -> int:
        self.told.append(observed)
        return len(self.told)

    def sent_at_s(self, seq: int) -> float | None:
        return lease.lease_clock_s() if 0 < seq <= len(self.told) else None


async def until_told(session: Heard, count: int) -> None:
    async with asyncio.timeout(5):
        while len(session.told) < count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def an_end_told(folder: Path) -> AsyncIterator[tuple[Attempts, MemoryExecutor, Heard]]:
    """A head agent that has told that ``j1-1`` succeeded."""
    executor, session = MemoryExecutor(), Heard()
    attempts = Attempts(executor, cast(WorkingDirs, None), folder / "lease.json")
    await executor.start(assignment(attempt("j1-1"), None))
    executor.end("j1-1", AttemptState.SUCCEEDED, Reason(ReasonCode.OK, "exit code 0"))
    work = [
        asyncio.create_task(attempts.run()),
        asyncio.create_task(attempts.tell(cast(Session, session), terms(welcome()))),
    ]
    try:
        await until_told(session, 1)
        yield attempts, executor, session
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"stored_seq": 0}, True),
        ({"stored_seq": 1}, False),
        ({"stored_seq": 99}, True),  # nothing of that number was ever sent
        ({}, False),  # an older scheduler, which knows only what it has heard
    ],
)
async def test_an_end_is_kept_until_it_is_stored(
    tmp_path: Path, told: dict[str, Any], kept: bool
) -> None:
    async with an_end_told(tmp_path) as (attempts, executor, session):
        wish = node_pb2.DesiredState(lease_answers_seq=1, lease_ttl_s=30.0, **told)
        message = node_pb2.ConnectResponse(seq=1, desired=wish)
        await attempts.on_desired(cast(Session, session), message)
        await asyncio.sleep(0.05)
        assert ("j1-1" in executor.attempts) is kept
