"""Interruptible jobs are stopped, save their work, and go on: scheduler, agent, sockets real."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.client import AsyncClient, ConflictError
from tests.fakes.west import west
from westward.v1 import job_pb2

WITHIN_S = 60.0
# Counts from its checkpoint on; told to stop, it saves how far it came. Its first attempt goes on
# until it is told, however long that takes.
COUNTS = """
import os, pathlib, signal, sys, time
place = pathlib.Path(os.environ["WESTWARD_CHECKPOINT_URI"].removeprefix("file://"))
state = place / "steps"
steps = int(state.read_text()) if state.exists() else 0
begin = "saved" if steps else "nothing"
print("attempt", os.environ["WESTWARD_ATTEMPT"], "from", begin, flush=True)

def save(*_):
    place.mkdir(parents=True, exist_ok=True)
    state.write_text(str(steps))
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
while os.environ["WESTWARD_ATTEMPT"] == "1" or steps < int(sys.argv[1]):
    time.sleep(0.05)
    steps += 1
"""


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with west(tmp_path) as address, AsyncClient(address) as client:
        yield client


def counting(steps: int, **changes: object) -> job_pb2.JobSpec:
    """A job that takes the whole node for 0.05 s a step, and is done when it has been stopped once
    and has counted so far."""
    spec = job_pb2.JobSpec(
        name="count",
        tenant="lab",
        region="shanghai",
        command=job_pb2.Command(argv=[sys.executable, "-c", COUNTS, str(steps)]),
        per_worker=job_pb2.WorkerShape(cpus=4, memory_gb=1),
        expected_duration_s=steps / 20,
        interruptible=True,
        stop_grace_s=10,
    )
    for name, value in changes.items():
        setattr(spec, name, value)
    return spec


async def until(
    client: AsyncClient, job_id: str, state: "job_pb2.JobState.ValueType"
) -> job_pb2.Job:
    """The job once it is in a state."""
    async with asyncio.timeout(WITHIN_S):
        async for change in client.watch([job_id], until_final=True):
            if change.job.state == state:
                return change.job
    raise AssertionError(f"{job_id} ended without having been {state}")


async def said(client: AsyncClient, job_id: str) -> list[str]:
    """What a job's attempts began with."""
    out = [p.data async for p in client.logs(job_id) if p.stream == job_pb2.LOG_STREAM_STDOUT]
    return b"".join(out).decode().splitlines()


async def saying(client: AsyncClient, job_id: str, words: str) -> None:
    """Waits until a job's output holds some words."""
    heard = ""
    async with asyncio.timeout(WITHIN_S):
        async for piece in client.logs(job_id, follow=True):
            heard += piece.data.decode()
            if words in heard:
                return


async def test_a_suspended_job_goes_on_from_its_checkpoint(client: AsyncClient) -> None:
    job = (await client.submit(counting(60))).job
    await saying(client, job.id, "attempt 1 from nothing")
    await asyncio.sleep(0.5)  # some work to keep
    await client.suspend(job.id, reason="maintenance")
    held = await until(client, job.id, job_pb2.JOB_STATE_SUSPENDED)
    assert held.reason.message.startswith("suspended by user: maintenance; stopped: ")
    assert held.attempts[0].state == job_pb2.ATTEMPT_STATE_STOPPED
    assert held.attempts[0].exit_code == 0
    assert 0.4 < held.done_s < 5
    assert held.attempts[0].lost_s == 0
    # Nobody starts it before it is resumed, and asking twice is no error.
    assert (await client.suspend(job.id)).job.state == job_pb2.JOB_STATE_SUSPENDED
    await client.resume(job.id)
    done = await until(client, job.id, job_pb2.JOB_STATE_SUCCEEDED)
    assert [attempt.number for attempt in done.attempts] == [1, 2]
    assert await said(client, job.id) == ["attempt 1 from nothing", "attempt 2 from saved"]
    with pytest.raises(ConflictError, match="already SUCCEEDED; there is nothing to suspend"):
        await client.suspend(job.id)


async def test_what_cannot_be_resumed_is_not_suspended_while_it_runs(client: AsyncClient) -> None:
    spec = counting(200, interruptible=False)
    spec.command.argv[:] = ["sleep", "600"]
    job = (await client.submit(spec)).job
    await until(client, job.id, job_pb2.JOB_STATE_RUNNING)
    with pytest.raises(ConflictError, match="not interruptible: stopping it would lose its work"):
        await client.suspend(job.id)
    with pytest.raises(ConflictError, match="goes on by itself once the lease is over"):
        await client.force_retry(job.id)
    await client.cancel(job.id)
    await until(client, job.id, job_pb2.JOB_STATE_CANCELLED)


async def test_an_urgent_job_takes_the_place_of_another_that_then_goes_on(
    client: AsyncClient,
) -> None:
    # By what it says of itself, it would keep the urgent one waiting for an hour.
    low = (await client.submit(counting(40, expected_duration_s=3600))).job
    await saying(client, low.id, "attempt 1 from nothing")
    urgent = counting(0, interruptible=False, priority=50, expected_duration_s=1)
    urgent.command.argv[:] = ["true"]
    high = (await client.submit(urgent)).job
    stopping = await until(client, low.id, job_pb2.JOB_STATE_PREEMPTING)
    assert stopping.reason.code == "PREEMPTED"
    assert high.id in stopping.reason.message
    await until(client, high.id, job_pb2.JOB_STATE_SUCCEEDED)
    done = await until(client, low.id, job_pb2.JOB_STATE_SUCCEEDED)
    assert [attempt.number for attempt in done.attempts] == [1, 2]
    assert await said(client, low.id) == ["attempt 1 from nothing", "attempt 2 from saved"]
