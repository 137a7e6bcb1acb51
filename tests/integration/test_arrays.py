"""An array from its submission to the output of one task: real scheduler, agent and processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest_asyncio

from scheduler.client import AsyncClient
from tests.contract.executor_cases import title_of
from tests.fakes import local_array
from tests.fakes.west import west
from westward.v1 import job_pb2

WITHIN_S = 60.0
# Says its number, leaves a trace outside, and fails the first time where that ends with 7.
SCRIPT = """
echo "task $WESTWARD_TASK_INDEX"
echo "$WESTWARD_TASK_INDEX $WESTWARD_ATTEMPT" >> {folder}/trace
sleep 0.04
if [ $((WESTWARD_TASK_INDEX % 10)) = 7 ] && mkdir {folder}/$WESTWARD_TASK_INDEX 2>/dev/null; then
  echo "no luck" >&2
  exit 3
fi
"""


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with west(tmp_path) as address, AsyncClient(address) as client:
        yield client


def an_array(script: str, tasks: int, task_attempts: int = 2) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        name="sweep",
        tenant="lab",
        region="shanghai",
        command=job_pb2.Command(argv=["bash", "-c", script]),
        workers=2,
        per_worker=job_pb2.WorkerShape(cpus=0.5, memory_gb=0.25),
        expected_duration_s=0.05,
        array=job_pb2.ArraySpec(tasks=tasks, chunk_tasks=100, task_attempts=task_attempts),
    )


async def ended(client: AsyncClient, array_id: str) -> list[job_pb2.Job]:
    """The chunks at their end, in the order of their tasks."""
    newest: dict[str, job_pb2.Job] = {}
    async with asyncio.timeout(WITHIN_S):
        async for change in client.watch([array_id], until_final=True):
            newest[change.job.id] = change.job
    return [newest[job_id] for job_id in sorted(newest)]


async def lose_a_worker(client: AsyncClient, array_id: str) -> Counter[str]:
    """Kills one of the workers once each chunk has come far; how far each had come before."""
    done: Counter[str] = Counter()
    async with asyncio.timeout(WITHIN_S):
        while len(done) < 3 or min(done.values()) < 20:
            jobs = [job async for job in client.jobs(array_id=array_id)]
            done = Counter({job.id: job.tasks.succeeded for job in jobs if job.tasks.succeeded})
            await asyncio.sleep(0.02)
    workers = [
        child
        for child in psutil.Process().children(recursive=True)
        if local_array.__name__ in title_of(child.pid)
    ]
    workers[0].kill()
    return done


async def recorded(client: AsyncClient, array_id: str, tries: int) -> list[job_pb2.Task]:
    """All tasks, once the records of so many tries have come: they may come after the end."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            listed = [task async for task in client.tasks(array_id)]
            if sum(task.tries for task in listed) >= tries:
                return listed
            await asyncio.sleep(0.05)


async def output(client: AsyncClient, array_id: str, task: int) -> dict[int, bytes]:
    told: dict[int, bytes] = {}
    async for piece in client.logs(array_id, task=task, follow=True):
        told[piece.stream] = told.get(piece.stream, b"") + piece.data
    return told


async def test_tasks_are_retried_and_those_that_are_done_do_not_run_again(
    client: AsyncClient, tmp_path: Path
) -> None:
    submitted = await client.submit(an_array(SCRIPT.format(folder=tmp_path), 250), key="sweep")
    array_id = submitted.job.array_id
    done = await lose_a_worker(client, array_id)
    chunks = await ended(client, array_id)
    assert [job.state for job in chunks] == [job_pb2.JOB_STATE_SUCCEEDED] * 3
    assert [job.tasks.succeeded for job in chunks] == [100, 100, 50]
    [hit] = [job for job in chunks if len(job.attempts) > 1]
    assert [attempt.state for attempt in hit.attempts] == [
        job_pb2.ATTEMPT_STATE_FAILED,
        job_pb2.ATTEMPT_STATE_SUCCEEDED,
    ]
    assert hit.attempts[0].reason.code == "WORKER_LOST"

    runs = [line.split() for line in (tmp_path / "trace").read_text().splitlines()]
    assert {int(task) for task, _ in runs} == set(range(250))
    again = {int(task) for task, attempt in runs if attempt == "2"}
    assert again <= set(range(hit.spec.array.first_task, hit.spec.array.first_task + 100))
    assert 0 < len(again) <= hit.spec.array.tasks - done[hit.id]

    listed = await recorded(client, array_id, len(runs))
    assert [task.index for task in listed] == list(range(250))
    assert {task.state for task in listed} == {job_pb2.TASK_STATE_SUCCEEDED}
    tries = Counter(int(task) for task, _ in runs)
    assert {task.index: task.tries for task in listed} == dict(tries)
    assert all(task.tries >= 2 for task in listed if task.index % 10 == 7)
    assert all(task.node_id == "qy-1" and task.exit_code == 0 for task in listed)
    for task in (7, 117, 249):
        told = await output(client, array_id, task)
        assert told == {job_pb2.LOG_STREAM_STDOUT: b"task %d\n" % task}


async def test_an_array_fails_when_some_of_its_tasks_do(client: AsyncClient) -> None:
    script = "echo $WESTWARD_TASK_INDEX >&2; exit $((WESTWARD_TASK_INDEX % 50 == 3))"
    array_id = (await client.submit(an_array(script, 110))).job.array_id
    first, second = await ended(client, array_id)
    assert (first.state, first.reason.code) == (job_pb2.JOB_STATE_FAILED, "TASKS_FAILED")
    assert first.tasks == job_pb2.TaskCounts(total=100, succeeded=98, failed=2)
    assert second.state == job_pb2.JOB_STATE_FAILED
    await recorded(client, array_id, 113)
    failed = [task async for task in client.tasks(array_id, states=[job_pb2.TASK_STATE_FAILED])]
    assert [(task.index, task.tries, task.exit_code) for task in failed] == [
        (3, 2, 1),
        (53, 2, 1),
        (103, 2, 1),
    ]
    assert await output(client, array_id, 53) == {job_pb2.LOG_STREAM_STDERR: b"53\n"}
