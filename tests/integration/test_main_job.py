"""The main job on real parts: real Ray with two nodes, real gRPC, real SQLite, real clocks."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from agents.executor.local_cluster import LocalCluster, LocalNode
from scheduler.client import AsyncClient, ConflictError, InvalidRequestError, NotFoundError
from scheduler.rounds.again import identical, plan_again
from scheduler.rounds.file import from_bytes
from tests.contract.executor_cases import NODE, SECOND_NODE
from tests.fakes.west import west
from tests.integration.conftest import a_cluster
from westward.v1 import job_pb2

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module")]

ENDED_WITHIN_S = 60.0


def a_spec(*argv: str, **changes: object) -> job_pb2.JobSpec:
    spec = job_pb2.JobSpec(
        name="job",
        tenant="lab",
        region="shanghai",
        workers=1,
        command=job_pb2.Command(argv=argv),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=1, memory_gb=1),
        expected_duration_s=5,
    )
    for name, value in changes.items():
        field = getattr(spec, name) if name in ("per_worker", "accelerators") else None
        if isinstance(value, job_pb2.WorkerShape) and field is not None:
            field.CopyFrom(value)
        elif isinstance(value, job_pb2.RayEntrypoint):
            spec.ray.CopyFrom(value)
        else:
            setattr(spec, name, value)
    return spec


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    ray_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AsyncClient]:
    async with (
        west(tmp_path_factory.mktemp("west"), ray_cluster) as address,
        AsyncClient(address) as client,
    ):
        yield client


async def ended(client: AsyncClient, job_id: str) -> job_pb2.Job:
    async with asyncio.timeout(ENDED_WITHIN_S):
        async for change in client.watch([job_id], until_final=True):
            job = change.job
    return job


async def until(
    client: AsyncClient, job_id: str, holds: Callable[[job_pb2.Job], bool]
) -> job_pb2.Job:
    """The job as soon as something holds of it.

    Raises:
        AssertionError: it did not in time, or the job ended before; tells the job's state.
    """
    job = job_pb2.Job()
    try:
        async with asyncio.timeout(ENDED_WITHIN_S):
            async for change in client.watch([job_id], until_final=True):
                job = change.job
                if holds(job):
                    return job
    except TimeoutError:
        pass
    raise AssertionError(f"never so: {job}")


def is_running(job: job_pb2.Job) -> bool:
    return job.state == job_pb2.JOB_STATE_RUNNING


async def output(client: AsyncClient, job_id: str, stream: int = 1) -> str:
    pieces = [piece async for piece in client.logs(job_id, follow=True) if piece.stream == stream]
    return b"".join(piece.data for piece in pieces).decode()


async def test_a_gang_runs_on_both_nodes_with_its_files_and_its_place(
    client: AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "hello.txt").write_text("西算")
    code = (
        "import os, json; print(json.dumps([os.environ[k] for k in ('RANK', 'WORLD_SIZE', "
        "'WESTWARD_NODE_ID', 'CUDA_VISIBLE_DEVICES', 'GREETING')] + [open('hello.txt').read()]))"
    )
    spec = a_spec(sys.executable, "-c", code, workers=2)
    spec.per_worker.gpus = 3
    spec.env["GREETING"] = "hi"
    spec.working_dir_sha256 = await client.upload(tmp_path)
    job = (await client.submit(spec)).job
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED, done.reason
    attempt = done.attempts[-1]
    assert {worker.node_id for worker in attempt.workers} == {NODE, SECOND_NODE}
    assert attempt.exit_code == 0
    told = [json.loads(line) for line in (await output(client, job.id)).splitlines()]
    planned = {str(worker.rank): worker.node_id for worker in attempt.workers}
    assert {row[0]: row[2] for row in told} == planned
    for row in told:
        assert row[1] == "2"
        assert len(row[3].split(",")) == 3
        assert row[4:] == ["hi", "西算"]


async def test_a_failure_is_retried_and_its_story_is_told(client: AsyncClient) -> None:
    script = "echo trying >&2; test $WESTWARD_ATTEMPT = 2 || exit 7; echo made it"
    job = (await client.submit(a_spec("sh", "-c", script))).job
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED
    assert [attempt.exit_code for attempt in done.attempts] == [7, 0]
    story = await client.get(job.id, events=True)
    told = [event.event for event in story.events]
    assert told[:2] == ["SUBMIT", "ASSIGN"]
    # A start may be overtaken by the end of an attempt this short.
    assert [name for name in told if name != "START"][2:] == ["FAIL_RETRY", "ASSIGN", "SUCCEED"]
    (failed,) = [event for event in story.events if event.event == "FAIL_RETRY"]
    assert "exit code 7" in failed.reason.message
    assert await output(client, job.id, stream=2) == "trying\ntrying\n"
    assert await output(client, job.id) == "made it\n"


async def test_a_program_that_is_not_there_fails_for_good(client: AsyncClient) -> None:
    job = (await client.submit(a_spec("no-such-program"))).job
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_FAILED
    assert done.reason.code == "COMMAND_NOT_FOUND"
    assert len(done.attempts) == 1


async def test_a_drivers_own_ray_job_runs_through_the_jobs_api(client: AsyncClient) -> None:
    code = "import ray; ray.init(); print('nodes', len(ray.nodes()))"
    entrypoint = f'{sys.executable} -c "{code}"'
    spec = a_spec(ray=job_pb2.RayEntrypoint(entrypoint=entrypoint))
    spec.per_worker.gpus = 0
    job = (await client.submit(spec)).job
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED, done.reason
    assert "nodes 2" in await output(client, job.id)


async def test_cancel_ends_the_processes(client: AsyncClient) -> None:
    job = (await client.submit(a_spec("sleep", "600"))).job
    await until(client, job.id, is_running)
    asked_at = time.monotonic()
    await client.cancel(job.id, reason="changed my mind")
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_CANCELLED
    assert time.monotonic() - asked_at < 15
    assert (await client.cancel(job.id)).job.state == job_pb2.JOB_STATE_CANCELLED


async def test_where_a_job_went_is_explained_and_listed(client: AsyncClient) -> None:
    job = (await client.submit(a_spec("true", max_rtt_ms=200.0, min_green_share=0.1))).job
    done = await ended(client, job.id)
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED, done.reason
    explanation = (await client.explain(job.id)).explanation
    (chosen,) = [c for c in explanation.candidates if c.chosen]
    assert chosen.cluster == "qingyang"
    assert 0 < chosen.rtt_p95_ms <= 200
    assert chosen.green_share >= 0.1
    assert sum(term.yuan for term in chosen.terms) == pytest.approx(chosen.total_yuan)
    placements = (await client.placements(include_final=True)).placements
    (mine,) = [p for p in placements if p.job_id == job.id]
    assert mine.committed
    assert mine.saving.yuan < mine.saving.origin_yuan
    rounds = (await client.rounds()).rounds
    assert mine.round_id in {r.id for r in rounds}
    assert all(r.bound_yuan <= r.objective_yuan + 1e-6 for r in rounds)
    exported = from_bytes((await client.export_round(mine.round_id)).file)
    assert exported.round_id == mine.round_id
    assert identical(exported, await asyncio.to_thread(plan_again, exported))
    with pytest.raises(NotFoundError, match="round 1000000 is not kept"):
        await client.export_round(1_000_000)


async def test_what_cannot_be_placed_waits_and_says_why(client: AsyncClient) -> None:
    job = (await client.submit(a_spec("true", max_rtt_ms=0.001))).job
    async with asyncio.timeout(ENDED_WITHIN_S):
        while (reason := (await client.get(job.id)).job.reason).code == "NOT_PLANNED_YET":
            await asyncio.sleep(0.05)
    assert reason.code == "LATENCY"
    explanation = (await client.explain(job.id)).explanation
    assert explanation.reason.code == "LATENCY"
    assert "0.001 ms" in explanation.reason.message
    await client.cancel(job.id)


async def test_bad_input_names_field_value_and_fix_and_stores_nothing(client: AsyncClient) -> None:
    before = (await client.list_page()).jobs
    bad = a_spec("true", region="shangai", min_green_share=1.7, expected_duration_s=-1)
    bad.workers = 64
    with pytest.raises(InvalidRequestError) as caught:
        await client.submit(bad)
    told = {v.field: v.description for v in caught.value.violations}
    assert "shanghai" in told["spec.region"]
    assert "1.7" in told["spec.min_green_share"]
    assert "-1" in told["spec.expected_duration_s"]
    assert "spec.workers" in told
    spec = a_spec("true")
    first = await client.submit(spec, key="once")
    assert (await client.submit(spec, key="once")).job.id == first.job.id
    with pytest.raises(ConflictError, match="once"):
        await client.submit(a_spec("false"), key="once")
    assert len((await client.list_page()).jobs) == len(before) + 1


@pytest.mark.slow
async def test_a_killed_ray_head_is_a_reason_and_hangs_nobody(tmp_path: Path) -> None:
    with a_cluster((LocalNode(node_id=NODE, gpus=2),), dashboard=False) as cluster:
        async with west(tmp_path, cluster) as address, AsyncClient(address) as client:
            job = (await client.submit(a_spec("sleep", "600"))).job
            await until(client, job.id, is_running)
            await asyncio.to_thread(cluster.kill_node, NODE)
            asked_at = time.monotonic()
            assert (await client.clusters()).clusters
            assert time.monotonic() - asked_at < 2
            async with asyncio.timeout(ENDED_WITHIN_S):
                while (job := (await client.get(job.id)).job).reason.code != "CLUSTER_UNREACHABLE":
                    await asyncio.sleep(0.1)
            assert job.state == job_pb2.JOB_STATE_PENDING
            assert job.reason.message.count("qingyang starts nothing at present: Ray does not")
            assert job.attempts[0].reason.code == "RAY_LOST"
            (hub,) = (await client.clusters()).clusters
            assert hub.not_serving == "Ray does not answer"
            # The second attempt starts as soon as there is a Ray to run it.
            await asyncio.to_thread(cluster.start)
            await until(client, job.id, is_running)
            await client.cancel(job.id)
            assert (await ended(client, job.id)).state == job_pb2.JOB_STATE_CANCELLED
