"""What becomes of attempts when parts of Ray die: real clusters, kill -9."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from agents import orphans
from agents.executor import processes
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from agents.lease import Lease, lease_clock_s
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from tests.contract.executor_cases import (
    NODE,
    SECOND_NODE,
    an_assignment,
    eventually,
    final,
    folder_of,
    reason_of,
    run,
    running,
    title_of,
    until,
)

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module")]

# Detection, fence, and a busy machine.
LOST_WITHIN_S = 25.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor(breakable_cluster: LocalCluster, data_dir: Path) -> AsyncIterator[RayExecutor]:
    executor = RayExecutor(
        node_id=NODE, cluster="test", address=breakable_cluster.address, data_dir=data_dir
    )
    await executor.open()
    yield executor
    await executor.close()


def ray_process(cluster: LocalCluster, words: str) -> processes.Process:
    """The one process of a cluster whose command line holds some words."""
    for process in processes.find_marked([cluster.marker]):
        if words in title_of(process.pid):
            return process
    raise AssertionError(f"no process of the cluster says {words!r}")


@contextmanager
def frozen(process: processes.Process) -> Iterator[None]:
    processes.send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        processes.send(process, signal.SIGCONT)


async def test_a_hung_gcs_hangs_nobody(
    executor: RayExecutor, breakable_cluster: LocalCluster
) -> None:
    before = an_assignment("sleep", "600")
    await executor.start(before)
    await until(executor, before.attempt_id, running)
    with frozen(ray_process(breakable_cluster, "gcs_server")):
        waiting = an_assignment("true")
        await executor.start(waiting)
        await executor.stop(before.attempt_id, grace_s=0.0)
        seen = await until(executor, before.attempt_id, final, within_s=10.0)
        assert seen.state is AttemptState.STOPPED
    assert (await until(executor, waiting.attempt_id, final)).state is AttemptState.SUCCEEDED


async def test_a_killed_site_actor_ends_its_attempts(
    executor: RayExecutor, breakable_cluster: LocalCluster, data_dir: Path
) -> None:
    assignment = an_assignment("sleep", "600", nodes=(NODE, SECOND_NODE))
    await executor.start(assignment)
    await until(executor, assignment.attempt_id, running)
    processes.send(ray_process(breakable_cluster, "ray::Site"), signal.SIGKILL)
    await eventually(lambda: processes.find(assignment.attempt_id) == [], within_s=5.0)
    seen = await until(executor, assignment.attempt_id, final, within_s=LOST_WITHIN_S)
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.RAY_LOST)
    assert (folder_of(data_dir, assignment) / "rank-0.done").exists()
    after = await run(executor, an_assignment("true"))
    assert after.state is AttemptState.SUCCEEDED


async def test_attempts_end_with_their_lease_when_no_agent_is_left(
    breakable_cluster: LocalCluster, tmp_path: Path
) -> None:
    def an_executor() -> RayExecutor:
        return RayExecutor(
            node_id=NODE, cluster="test", address=breakable_cluster.address, data_dir=tmp_path
        )

    first = an_executor()
    await first.open()
    assignment = an_assignment("sleep", "600", nodes=(NODE, SECOND_NODE))
    await first.start(assignment)
    await until(first, assignment.attempt_id, running)
    now_s = lease_clock_s()
    first.hold(Lease(now_s + 13.0, now_s + 6.0))
    first.hold(Lease(now_s, now_s - 7.0))  # late, and of an older answer
    await first.observe(0.5)
    await first.close()
    assert processes.find(assignment.attempt_id) != []
    left_s = now_s + 13.0 - lease_clock_s()
    await eventually(lambda: processes.find(assignment.attempt_id) == [], within_s=left_s)
    assert lease_clock_s() > now_s + 6.0

    second = an_executor()
    await second.open()
    seen = await until(second, assignment.attempt_id, final)
    assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.LEASE_EXPIRED)
    second.hold(Lease(lease_clock_s() + 600.0, lease_clock_s() + 593.0))
    after = await run(second, an_assignment("true"))
    assert after.state is AttemptState.SUCCEEDED
    await second.close()


async def test_a_killed_worker_node_loses_the_gang(
    executor: RayExecutor, breakable_cluster: LocalCluster, data_dir: Path
) -> None:
    runaway = "setsid sleep 600 & exec sleep 600"
    assignment = an_assignment("bash", "-c", runaway, nodes=(NODE, SECOND_NODE))
    await executor.start(assignment)
    await until(executor, assignment.attempt_id, running)
    # The agent of the second node; the runaway there is nobody's child when Ray is gone.
    agent = asyncio.create_task(orphans.watch(data_dir / SECOND_NODE / "attempts"))
    breakable_cluster.kill_node(SECOND_NODE)
    seen = await until(executor, assignment.attempt_id, final, within_s=30.0)
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.WORKER_LOST)
    assert processes.find(assignment.attempt_id) == []
    assert (folder_of(data_dir, assignment, rank=1) / "rank-1.done").exists()
    agent.cancel()
    await asyncio.to_thread(breakable_cluster.start_node, 1)
    after = await run(executor, an_assignment("true", nodes=(SECOND_NODE,)))
    assert after.state is AttemptState.SUCCEEDED


async def test_a_killed_head_is_reported_and_a_new_one_found(
    executor: RayExecutor, breakable_cluster: LocalCluster
) -> None:
    runaway = "setsid sleep 600 & exec sleep 600"
    lost = an_assignment("bash", "-c", runaway, nodes=(NODE, SECOND_NODE))
    await executor.start(lost)
    await until(executor, lost.attempt_id, running)
    killed_at = time.monotonic()
    breakable_cluster.kill_node(NODE)
    seen = await until(executor, lost.attempt_id, final, within_s=LOST_WITHIN_S)
    lost_after_s = time.monotonic() - killed_at
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.RAY_LOST)
    assert lost_after_s < 15.0
    assert processes.find(lost.attempt_id) == []

    # Asked for while Ray is away: it runs when Ray is back. What was lost is not run again.
    waiting = an_assignment("true")
    await executor.start(waiting)
    await executor.start(lost)
    breakable_cluster.kill_node(SECOND_NODE)
    await asyncio.to_thread(breakable_cluster.start)
    assert (await until(executor, waiting.attempt_id, final)).state is AttemptState.SUCCEEDED
    assert processes.find(lost.attempt_id) == []


async def test_a_cluster_ends_with_whoever_started_it(
    tmp_path: Path,
) -> None:
    starter = """
import sys, time
from pathlib import Path
from agents.executor.local_cluster import LocalCluster, LocalNode
cluster = LocalCluster(index=7, folder=Path(sys.argv[1]), nodes=[LocalNode(node_id="n")])
print(cluster.marker, flush=True)
cluster.start()
time.sleep(600)
"""
    folder = f"/tmp/ww-starter-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-c", starter, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    marker = process.stdout.readline().strip()
    await eventually(
        lambda: any(
            "raylet" in Path(f"/proc/{found.pid}/comm").read_text()
            for found in processes.find_marked([marker])
        ),
        within_s=60.0,
    )
    process.kill()
    process.wait()
    await eventually(lambda: not Path(folder).exists(), within_s=20.0)
    assert processes.find_marked([marker]) == []
