"""An operator drains nodes of a real Ray cluster: what can go on elsewhere does so at once, what
cannot may finish, and what has not by the deadline begins anew elsewhere."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from agents.executor.local_cluster import LocalCluster
from scheduler.client import AsyncClient
from tests.contract.executor_cases import NODE, SECOND_NODE
from tests.fakes.west import west
from tests.integration.test_stopping_and_resuming import COUNTS, said, saying
from westward.v1 import job_pb2, placement_pb2

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

WITHIN_S = 90.0
DEADLINE_S = 8.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    ray_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncClient]:
    async with (
        west(tmp_path_factory.mktemp("west"), ray_cluster) as address,
        AsyncClient(address, actor="ops@desk") as client,
    ):
        yield client


def a_spec(name: str, *argv: str, **changes: object) -> job_pb2.JobSpec:
    spec = job_pb2.JobSpec(
        name=name,
        tenant="lab",
        region="shanghai",
        command=job_pb2.Command(argv=argv),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=1, memory_gb=1),
        expected_duration_s=10,
    )
    for field, value in changes.items():
        setattr(spec, field, value)
    return spec


async def until(
    client: AsyncClient, job_id: str, holds: Callable[[job_pb2.Job], bool]
) -> job_pb2.Job:
    """The job as soon as something holds of it."""
    async with asyncio.timeout(WITHIN_S):
        async for change in client.watch([job_id], until_final=True):
            if holds(change.job):
                return change.job
    raise AssertionError(f"{job_id} ended as {await client.get(job_id)}")


def runs(number: int) -> Callable[[job_pb2.Job], bool]:
    return lambda job: job.state == job_pb2.JOB_STATE_RUNNING and len(job.attempts) == number


def succeeded(job: job_pb2.Job) -> bool:
    return job.state == job_pb2.JOB_STATE_SUCCEEDED


def nodes_of(job: job_pb2.Job) -> list[str]:
    """The node of each attempt."""
    return [attempt.workers[0].node_id for attempt in job.attempts]


async def lifecycle(client: AsyncClient, node_id: str) -> tuple[str, int]:
    """What a node is, and how many attempts it has."""
    [node] = [n for n in (await client.nodes()).nodes if n.id == node_id]
    name = placement_pb2.NodeLifecycle.Name(node.lifecycle)
    return name.removeprefix("NODE_LIFECYCLE_"), node.attempts


async def test_what_is_interruptible_leaves_at_once_and_goes_on_elsewhere(
    client: AsyncClient,
) -> None:
    argv = (sys.executable, "-c", COUNTS, "40")
    job = (await client.submit(a_spec("count", *argv, interruptible=True, stop_grace_s=10))).job
    await saying(client, job.id, "attempt 1 from nothing")
    [left] = nodes_of(await until(client, job.id, runs(1)))
    await client.drain_node(left, reason="new fans", deadline_s=3600)
    done = await until(client, job.id, succeeded)
    other = SECOND_NODE if left == NODE else NODE
    assert nodes_of(done) == [left, other]
    assert await said(client, job.id) == ["attempt 1 from nothing", "attempt 2 from saved"]
    first = done.attempts[0]
    assert (first.state, first.exit_code) == (job_pb2.ATTEMPT_STATE_STOPPED, 0)
    events = (await client.get(job.id, events=True)).events
    [drained] = [event for event in events if event.reason.code == "DRAINED"][:1]
    assert (drained.actor, drained.event) == ("user/ops@desk", "PREEMPT")
    assert drained.reason.message == f"user/ops@desk drains {left}: new fans"
    assert await lifecycle(client, left) == ("DRAINING", 0)
    await client.uncordon_node(left)
    assert await lifecycle(client, left) == ("READY", 0)


async def test_what_is_not_may_finish_until_the_deadline(client: AsyncClient) -> None:
    await client.cordon_node(SECOND_NODE)
    short = (await client.submit(a_spec("short", "sleep", "4"))).job
    long = await client.submit(a_spec("long", "sh", "-c", "[ $WESTWARD_ATTEMPT = 2 ] || sleep 60"))
    for job in (short, long.job):
        assert nodes_of(await until(client, job.id, runs(1))) == [NODE]
    await client.uncordon_node(SECOND_NODE)
    began_s = time.monotonic()
    await client.drain_node(NODE, deadline_s=DEADLINE_S)
    assert nodes_of(await until(client, short.id, succeeded)) == [NODE]
    stopped = await until(
        client, long.job.id, lambda job: job.state == job_pb2.JOB_STATE_PREEMPTING
    )
    assert DEADLINE_S - 1 < time.monotonic() - began_s < DEADLINE_S + 5
    assert stopped.reason.code == "DRAINED"
    done = await until(client, long.job.id, succeeded)
    assert nodes_of(done) == [NODE, SECOND_NODE]
    assert await lifecycle(client, NODE) == ("DRAINING", 0)
    await client.uncordon_node(NODE)
