"""A daemon that was held up past its lease stops what outlived it before it takes a new one."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from agents import lease
from agents.attempts import Attempts
from agents.lease import Lease
from agents.link import Session
from agents.wire import assignment
from agents.workdirs import WorkingDirs
from tests.fakes.agent import attempt
from tests.fakes.executor import MemoryExecutor
from westward.v1 import node_pb2


class Now:
    """A session on which everything was sent just now."""

    def sent_at_s(self, _seq: int) -> float:
        return lease.lease_clock_s()


@pytest.mark.parametrize(("past_s", "stopped"), [(1.0, True), (-60.0, False)])
async def test_what_outlived_its_lease_is_not_covered_by_the_next(
    tmp_path: Path, past_s: float, stopped: bool
) -> None:
    executor = MemoryExecutor()
    deadline_s = lease.lease_clock_s() - past_s
    lease.write(Lease(deadline_s, deadline_s - 7.0), tmp_path / "lease.json")
    attempts = Attempts(executor, cast(WorkingDirs, None), tmp_path / "lease.json")
    await executor.start(assignment(attempt("j1-1"), None))
    # It sees, but has not come round to acting: the message is faster.
    looking = asyncio.create_task(attempts._look())
    try:
        async with asyncio.timeout(5):
            while not attempts._observations:
                await asyncio.sleep(0)
        wish = node_pb2.DesiredState(lease_answers_seq=1, lease_ttl_s=30.0)
        wish.attempts.append(attempt("j1-1"))
        message = node_pb2.ConnectResponse(seq=1, desired=wish)
        await attempts.on_desired(cast(Session, Now()), message)
        await asyncio.sleep(0)
        assert bool(executor.stops) is stopped
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
