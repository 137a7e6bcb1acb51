"""What becomes of Ray drivers when what starts, watches or holds them fails: they run once."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.executor import processes
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from agents.lease import Lease, lease_clock_s
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from tests.contract.executor_cases import (
    DEADLINE_S,
    NODE,
    SECOND_NODE,
    eventually,
    final,
    reason_of,
    run,
    running,
    title_of,
    until,
)
from tests.integration.drivers import (
    a_driver,
    a_python_driver,
    an_executor,
    process_saying,
    proxied,
    started,
    until_ray_says,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor(driver_cluster: LocalCluster, data_dir: Path) -> AsyncIterator[RayExecutor]:
    executor = an_executor(driver_cluster, data_dir)
    await executor.open()
    yield executor
    await executor.close()


async def test_a_submission_whose_answer_is_lost_is_adopted(
    driver_cluster: LocalCluster, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    async with proxied(driver_cluster, tmp_path) as (proxy, executor):
        proxy.receipts.clear()
        await executor.start(a_driver("adopted-1", f"echo ran >> {trace}; sleep 600"))
        await eventually(trace.exists, within_s=DEADLINE_S)
        # Longer than the caller waits for an answer: it asks again.
        proxy.submitted.clear()
        async with asyncio.timeout(DEADLINE_S):
            await proxy.submitted.wait()
        proxy.receipts.set()
        await until(executor, "adopted-1", running)
        assert trace.read_text() == "ran\n"
        await executor.stop("adopted-1", grace_s=0.0)
        assert (await until(executor, "adopted-1", final)).state is AttemptState.STOPPED
    assert processes.find("adopted-1") == []


async def test_a_submission_that_ray_gets_too_late_runs_nothing(
    driver_cluster: LocalCluster, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    async with proxied(driver_cluster, tmp_path) as (proxy, executor):
        proxy.submissions.clear()
        late = a_driver("late-1", f"echo ran >> {trace}; sleep 600")
        await executor.start(late)
        async with asyncio.timeout(DEADLINE_S):
            await proxy.submitted.wait()
        await executor.stop("late-1", grace_s=5.0)
        seen = await until(executor, "late-1", final, within_s=10.0)
        assert (seen.state, seen.exit_code) == (AttemptState.STOPPED, None)
        proxy.submissions.set()
        await until_ray_says(driver_cluster, "late-1", "FAILED")
    assert not trace.exists()


async def test_a_dashboard_that_hangs_fails_its_jobs(
    driver_cluster: LocalCluster, tmp_path: Path
) -> None:
    async with proxied(driver_cluster, tmp_path) as (proxy, executor):
        await executor.start(a_driver("hung-1", "sleep 600"))
        await until(executor, "hung-1", running)
        proxy.answers.clear()
        seen = await until(executor, "hung-1", final, within_s=90.0)
        assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.RAY_ERROR)
        assert seen.reason and "has told nothing" in seen.reason.message
        assert processes.find("hung-1") == []


async def test_a_driver_is_stopped_while_the_dashboard_hangs(
    driver_cluster: LocalCluster, tmp_path: Path
) -> None:
    async with proxied(driver_cluster, tmp_path) as (proxy, executor):
        await executor.start(a_driver("hung-2", "sleep 600"))
        await until(executor, "hung-2", running)
        proxy.answers.clear()
        await executor.stop("hung-2", grace_s=1.0)
        await eventually(lambda: processes.find("hung-2") == [], within_s=5.0)
        assert (await until(executor, "hung-2", final)).state is AttemptState.STOPPED


async def test_a_killed_bridge_leaves_a_driver_alone(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    flag, trace = tmp_path / "flag", tmp_path / "trace"
    wait_for_flag = f"echo ran >> {trace}; until [ -e {flag} ]; do sleep 0.05; done; exit 5"
    await executor.start(a_driver("bridged-1", wait_for_flag))
    await until(executor, "bridged-1", running)
    await eventually(trace.exists)
    assert executor._bridge is not None
    executor._bridge._process.kill()
    flag.touch()
    seen = await until(executor, "bridged-1", final)
    assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 5)
    assert trace.read_text() == "ran\n"


async def test_a_killed_site_actor_ends_its_drivers(
    executor: RayExecutor, driver_cluster: LocalCluster, data_dir: Path
) -> None:
    driver = a_driver("orphan-1", "setsid sleep 600 & echo up; sleep 600; sleep 600")
    await started(executor, data_dir, driver, "up")
    processes.send(process_saying("ray::Site", [driver_cluster.marker]), signal.SIGKILL)
    await eventually(lambda: processes.find("orphan-1") == [], within_s=5.0)
    seen = await until(executor, "orphan-1", final)
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.RAY_LOST)
    after = await run(executor, a_driver("orphan-2", "true", gpus=2))
    assert after.state is AttemptState.SUCCEEDED


async def test_a_driver_ends_with_its_lease_when_no_agent_is_left(
    executor: RayExecutor, driver_cluster: LocalCluster, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    first = an_executor(driver_cluster, tmp_path)
    await first.open()
    driver = a_driver("leased-1", f"echo ran >> {trace}; sleep 600; sleep 600")
    await first.start(driver)
    await until(first, "leased-1", running)
    await eventually(trace.exists)
    now_s = lease_clock_s()
    first.hold(Lease(now_s + 13.0, now_s + 6.0))
    await first.observe(0.5)
    await first.close()
    assert processes.find("leased-1") != []
    left_s = now_s + 13.0 - lease_clock_s()
    await eventually(lambda: processes.find("leased-1") == [], within_s=left_s)
    assert lease_clock_s() > now_s + 6.0

    second = an_executor(driver_cluster, tmp_path)
    await second.open()
    await second.start(driver)
    seen = await until(second, "leased-1", final)
    assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.LEASE_EXPIRED)
    unleased = await run(second, a_driver("leased-2", f"echo ran >> {trace}"))
    assert reason_of(unleased) is ReasonCode.LEASE_EXPIRED
    assert trace.read_text() == "ran\n"
    await second.close()


# The last one, as it leaves a cluster without a head.
async def test_what_a_driver_runs_on_other_nodes_ends_with_rays_head(
    driver_cluster: LocalCluster, data_dir: Path, tmp_path: Path
) -> None:
    code = """
import subprocess
import ray

@ray.remote(num_cpus=1)
def work():
    subprocess.run(["sleep", "600"])

working = [work.remote() for _ in range(2)]
print("up", flush=True)
ray.get(working)
"""
    executor = an_executor(driver_cluster, data_dir)
    await executor.open()
    executor.hold(Lease(lease_clock_s() + 600.0, lease_clock_s() + 590.0))
    driver = a_python_driver("headless-1", code, tmp_path, nodes=(NODE, SECOND_NODE))
    await started(executor, data_dir, driver, "up")

    def tasks() -> list[processes.Process]:
        # Not all that says sleep: the shell with which Ray watches a driver does so, every second.
        found = processes.find("headless-1")
        return [one for one in found if title_of(one.pid).split("\0")[:2] == ["sleep", "600"]]

    await eventually(lambda: len(tasks()) == 2, within_s=DEADLINE_S)
    # An agent of this machine would end them, though they are another node's.
    await executor.close()
    driver_cluster.kill_node(NODE)
    # Left alone, Ray would take a minute.
    await eventually(lambda: processes.find("headless-1") == [], within_s=30.0)
