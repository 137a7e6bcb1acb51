"""The Executor contract over a real Ray cluster, and what only Ray can show."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.collectors.sight import in_sight
from agents.executor import processes
from agents.executor.base import Assignment
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from scheduler.domain.job import AttemptState, RayEntrypoint
from scheduler.domain.reason import ReasonCode
from tests.contract.array_cases import ArrayContract
from tests.contract.executor_cases import (
    NODE,
    SECOND_NODE,
    ExecutorContract,
    an_archive,
    an_assignment,
    eventually,
    final,
    folder_of,
    python,
    reason_of,
    run,
    running,
    until,
)
from tests.integration.conftest import an_hour

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor(ray_cluster: LocalCluster, data_dir: Path) -> AsyncIterator[RayExecutor]:
    executor = RayExecutor(
        node_id=NODE,
        cluster="test",
        address=ray_cluster.address,
        data_dir=data_dir,
        dashboard_url=ray_cluster.dashboard_url,
        start_timeout_s=20.0,
    )
    executor.hold(an_hour())
    await executor.open()
    yield executor
    await executor.close()


class TestRayExecutor(ExecutorContract):
    """Through the bridge, the site actor and Ray's workers."""


class TestRayArrays(ArrayContract):
    """The same way, with the site actor as the one that gives out tasks."""


async def test_the_daemon_does_without_ray() -> None:
    code = "import sys, agents.daemon, agents.executor.ray_executor; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_accelerators_are_exclusive(executor: RayExecutor, data_dir: Path) -> None:
    several = [
        an_assignment("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 60", gpus=2) for _ in range(2)
    ]
    for assignment in several:
        await executor.start(assignment)
    for assignment in several:
        await until(executor, assignment.attempt_id, running)
    given = []
    for assignment in several:
        out = folder_of(data_dir, assignment) / "rank-0.stdout"
        await eventually(lambda out=out: out.read_text() != "")  # type: ignore[misc]
        told = out.read_text().strip().split(",")
        # What the agent's meter goes by, whatever became of the worker's output.
        assert in_sight(NODE)[assignment.attempt_id] == set(told)
        given += told
        await executor.stop(assignment.attempt_id, grace_s=0.0)
        await until(executor, assignment.attempt_id, final)
    assert sorted(given) == ["0", "1", "2", "3"]


async def test_a_gang_really_talks(executor: RayExecutor, data_dir: Path) -> None:
    talk = """
import os, socket
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if os.environ["RANK"] == "0":
    with socket.create_server(address) as server:
        print(server.accept()[0].recv(100).decode())
else:
    while True:
        try:
            socket.create_connection(address).sendall(b"hello from 1")
            break
        except ConnectionRefusedError:
            pass
"""
    assignment = an_assignment(*python(talk), nodes=(NODE, SECOND_NODE), gpus=1)
    seen = await run(executor, assignment)
    assert seen.state is AttemptState.SUCCEEDED, seen
    assert (folder_of(data_dir, assignment) / "rank-0.stdout").read_text() == "hello from 1\n"


async def test_a_node_that_ray_does_not_know(ray_cluster: LocalCluster, tmp_path: Path) -> None:
    executor = RayExecutor(
        node_id=NODE,
        cluster="test",
        address=ray_cluster.address,
        data_dir=tmp_path,
        start_timeout_s=1.0,
    )
    executor.hold(an_hour())
    await executor.open()
    seen = await run(executor, an_assignment("true", nodes=(NODE, "node-9")))
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.RAY_ERROR)
    assert seen.reason and "westward-node=node-9" in seen.reason.message
    too_big = await run(executor, an_assignment("true", gpus=5))
    assert reason_of(too_big) is ReasonCode.RAY_ERROR
    assert too_big.reason and "5 GPU" in too_big.reason.message
    await executor.close()


async def test_what_asks_for_nothing_runs(executor: RayExecutor) -> None:
    seen = await run(executor, an_assignment("true", gpus=0, cpus=0.0, memory_gb=0.0))
    assert seen.state is AttemptState.SUCCEEDED, seen


async def test_stopping_what_waits_for_room(executor: RayExecutor) -> None:
    first = an_assignment("sleep", "600", gpus=4)
    second = an_assignment("sleep", "600", gpus=4)
    await executor.start(first)
    await until(executor, first.attempt_id, running)
    await executor.start(second)
    await until(executor, second.attempt_id, lambda seen: True)
    await executor.stop(second.attempt_id, grace_s=1.0)
    seen = await until(executor, second.attempt_id, final, within_s=10.0)
    assert seen.state is AttemptState.STOPPED
    assert seen.started_at_s is None
    await executor.stop(first.attempt_id, grace_s=0.0)
    await until(executor, first.attempt_id, final)


async def test_a_gang_whose_ray_worker_dies_is_lost_as_a_whole(executor: RayExecutor) -> None:
    assignment = an_assignment("sleep", "600", nodes=(NODE, SECOND_NODE))
    await executor.start(assignment)
    await until(executor, assignment.attempt_id, running)
    of_user = processes.find(assignment.attempt_id, rank=1)[0]
    ray_worker = processes.read(of_user.parent_pid)
    assert ray_worker is not None
    processes.send(ray_worker, signal.SIGKILL)
    seen = await until(executor, assignment.attempt_id, final)
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.WORKER_LOST)
    assert seen.reason and "worker 1 on node-2" in seen.reason.message
    assert processes.find(assignment.attempt_id) == []


def bridge_of(data_dir: Path) -> processes.Process:
    """The bridge of the executor with this data_dir, known by where its stderr goes."""
    log = str(data_dir / NODE / "bridge.log")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := processes.read(int(entry.name))):
            stderr = entry / "fd" / "2"
            if process.pid == process.session and os.path.realpath(stderr) == log:
                return process
    raise AssertionError(f"no process writes to {log}")


async def test_a_killed_bridge_harms_nothing(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    assignment = an_assignment("bash", "-c", f"until [ -e {flag} ]; do sleep 0.05; done; exit 5")
    await executor.start(assignment)
    before = await until(executor, assignment.attempt_id, running)
    bridge = bridge_of(data_dir)
    processes.send(bridge, signal.SIGKILL)
    flag.touch()
    seen = await until(executor, assignment.attempt_id, final)
    assert (seen.exit_code, seen.started_at_s) == (5, before.started_at_s)
    after = await run(executor, an_assignment("true"))
    assert after.state is AttemptState.SUCCEEDED


async def test_ray_workers_stay_warm_when_a_bridge_is_gone(
    executor: RayExecutor, data_dir: Path
) -> None:
    assert (await run(executor, an_assignment("true"))).state is AttemptState.SUCCEEDED
    processes.send(bridge_of(data_dir), signal.SIGKILL)
    ray_workers = set()
    for _ in range(4):
        assignment = an_assignment("sh", "-c", "echo $PPID", gpus=0, cpus=4.0)
        seen = await run(executor, assignment)
        assert seen.state is AttemptState.SUCCEEDED, seen
        ray_workers.add((folder_of(data_dir, assignment) / "rank-0.stdout").read_text())
        # What Ray does not keep, it ends a second after the last task.
        await asyncio.sleep(1.5)
    assert len(ray_workers) == 1


async def test_a_restarted_agent_finds_its_attempts(
    ray_cluster: LocalCluster, tmp_path: Path
) -> None:
    def an_executor() -> RayExecutor:
        return RayExecutor(
            node_id=NODE, cluster="test", address=ray_cluster.address, data_dir=tmp_path
        )

    first = an_executor()
    first.hold(an_hour())
    await first.open()
    assignment = an_assignment("bash", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    await first.start(assignment)
    before = await until(first, assignment.attempt_id, running)
    await first.close()

    second = an_executor()
    second.hold(an_hour())
    await second.open()
    await second.start(assignment)
    again = await until(second, assignment.attempt_id, running)
    assert again == before
    assert len(processes.find(assignment.attempt_id)) >= 1
    await second.stop(assignment.attempt_id, grace_s=5.0)
    await until(second, assignment.attempt_id, final)
    await second.close()


def an_entrypoint(entrypoint: str, attempt_id: str, **changes: object) -> Assignment:
    values: dict[str, object] = {
        "attempt_id": attempt_id,
        "job_id": "job",
        "epoch": 1,
        "number": 1,
        "work": RayEntrypoint(entrypoint),
        "nodes": (NODE,),
        "gpus": 0,
        "cpus": 1.0,
        "memory_gb": 0.1,
        **changes,
    }
    return Assignment(**values)  # type: ignore[arg-type]


async def test_a_ray_driver_runs_with_its_working_directory(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    driver = b"""
import os, ray
ray.init()
@ray.remote(num_cpus=1)
def square(x):
    return x * x
print(os.environ["WESTWARD_ATTEMPT_ID"], sum(ray.get([square.remote(x) for x in range(4)])))
"""
    archive = an_archive(tmp_path / "w.tar.gz", {"driver.py": driver})
    assignment = an_entrypoint("python driver.py", "driver-1", working_dir=archive)
    seen = await run(executor, assignment)
    assert (seen.state, seen.exit_code) == (AttemptState.SUCCEEDED, 0), seen
    assert "driver-1 14" in (folder_of(data_dir, assignment) / "rank-0.stdout").read_text()


async def test_a_ray_driver_fails_and_one_is_stopped(executor: RayExecutor, data_dir: Path) -> None:
    failing = an_entrypoint("echo sorry; exit 4", "driver-2")
    endless = an_entrypoint("sleep 600", "driver-3")
    await asyncio.gather(executor.start(failing), executor.start(endless))
    seen = await until(executor, "driver-2", final)
    assert (seen.exit_code, reason_of(seen)) == (4, ReasonCode.NONZERO_EXIT)
    assert "sorry\n" in (folder_of(data_dir, failing) / "rank-0.stdout").read_text()
    await until(executor, "driver-3", running)
    await executor.stop("driver-3", grace_s=1.0)
    seen = await until(executor, "driver-3", final)
    assert seen.state is AttemptState.STOPPED
    assert processes.find("driver-3") == []
