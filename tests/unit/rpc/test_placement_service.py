"""Clusters, nodes and placements, asked over a real socket."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.domain.job import AttemptState, Job, WorkerShape
from scheduler.domain.transitions import Event
from tests.fakes.jobs import NOW, a_change, a_spec, assign, end
from tests.fakes.questions import Asked, asked
from westward.v1 import placement_pb2


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Asked]:
    async with asked(tmp_path) as made:
        yield made


async def runs(service: Asked, gpus: int, **changes: object) -> Job:
    """A job that holds so much of the only node."""
    spec = a_spec(per_worker=WorkerShape(gpus, 4.0, 16.0), **changes)
    job = await assign(service.desk.book, (await service.desk.book.submit(spec))[0])
    assert job.attempt is not None
    attempt = replace(job.attempt, state=AttemptState.RUNNING, started_at=NOW)
    return (await service.desk.book.apply(a_change(job.id, Event.START, attempt=attempt))).job


async def suspended(service: Asked, gpus: int) -> Job:
    job = await runs(service, gpus, interruptible=True)
    await service.desk.book.apply(a_change(job.id, Event.SUSPEND))
    return await end(service.desk.book, job, Event.STOPPED, AttemptState.STOPPED)


async def cluster(service: Asked) -> placement_pb2.Cluster:
    request = placement_pb2.ListClustersRequest()
    told = (await service.placements.ListClusters(request)).clusters
    return next(one for one in told if one.name == "qingyang")


async def node(service: Asked) -> placement_pb2.Node:
    request = placement_pb2.ListNodesRequest()
    return (await service.placements.ListNodes(request)).nodes[0]


async def test_what_runs_holds_its_accelerators_and_draws(service: Asked) -> None:
    await runs(service, 3)
    await runs(service, 1)
    told = await cluster(service)
    assert (told.gpus, told.gpus_busy, told.attempts) == (8, 4, 2)
    assert told.load_kw == pytest.approx(4 * 0.5 * 1.2)
    assert ((await node(service)).gpus_busy, (await node(service)).attempts) == (4, 2)


async def test_a_suspended_job_holds_nothing(service: Asked) -> None:
    await suspended(service, 8)
    told = await cluster(service)
    assert (told.gpus_busy, told.attempts, told.load_kw) == (0, 0, 0)
    assert ((await node(service)).gpus_busy, (await node(service)).attempts) == (0, 0)


class Counted(Mapping[str, Job]):
    """The jobs, and how often somebody has gone through them."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self.jobs = jobs
        self.passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return iter(self.jobs)

    def __getitem__(self, job_id: str) -> Job:
        return self.jobs[job_id]

    def __len__(self) -> int:
        return len(self.jobs)


async def test_however_many_clusters_the_jobs_are_gone_through_once(
    service: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs(service, 8)
    for name in ("guian", "zhongwei", "horinger"):
        service.cluster(name)
    book = service.desk.book
    counted = Counted(book.active())
    monkeypatch.setattr(book, "active", lambda: counted)
    assert (await cluster(service)).gpus_busy == 8
    assert counted.passes == 1
    await node(service)
    assert counted.passes == 2
