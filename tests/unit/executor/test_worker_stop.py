"""How one worker obeys a stop, against a site actor played by the test."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.executor import processes, wire, worker
from agents.executor.launch import Ending, prepare
from agents.executor.worker import Leash, LeashAddress
from tests.contract.executor_cases import an_assignment, eventually

# Its leader ends at once when it is told to stop; what it has started takes no notice.
LEAVES_ONE_BEHIND = """
trap 'exit 3' TERM
( trap '' TERM; echo $$ > leader; while true; do sleep 0.1; done ) &
wait
"""


@dataclass
class Running:
    """A worker and the test's end of its leash."""

    attempt_id: str
    folder: Path
    leash: asyncio.StreamWriter
    ending: "asyncio.Future[Ending]"

    def stop(self, grace_s: float) -> None:
        self.leash.write(wire.encode({"kind": "stop", "grace_s": grace_s}))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    assignment = an_assignment("bash", "-c", LEAVES_ONE_BEHIND)
    order = wire.order_of(assignment, data_dir=tmp_path, cluster="test")
    folder = order.folder(order.nodes[0])
    prepare(folder, 0, None)
    connected: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda _, writer: connected.set_result(writer), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    leash = await asyncio.to_thread(Leash, LeashAddress("127.0.0.1", port, "secret"))
    site = await connected
    ending = asyncio.ensure_future(asyncio.to_thread(worker._run, order, 0, leash, folder))
    site.write(wire.encode({"kind": "go", "master_host": "127.0.0.1", "master_port": 1}))
    leader = folder / "rank-0.cwd" / "leader"
    await eventually(lambda: leader.exists() and leader.read_text() != "", within_s=20.0)
    yield Running(order.attempt_id, folder, site, ending)
    site.close()
    server.close()
    await ending
    leash.connection.close()
    assert processes.find(order.attempt_id) == []


async def test_the_sooner_end_counts_for_what_the_leader_left_behind(running: Running) -> None:
    running.stop(600.0)
    leader = int((running.folder / "rank-0.cwd" / "leader").read_text())
    await eventually(lambda: processes.read(leader) is None, within_s=20.0)
    began_s = time.monotonic()
    running.stop(0.3)
    async with asyncio.timeout(20.0):
        ending = await running.ending
    assert (ending.exit_code, ending.told_to_stop) == (3, True)
    assert time.monotonic() - began_s >= 0.3, "what was left has its grace too"
