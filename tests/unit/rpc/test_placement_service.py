"""Clusters, nodes and placements, asked over a real socket."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from scheduler.domain.job import AttemptState, Job, WorkerShape
from scheduler.domain.transitions import Event
from tests.fakes.jobs import NOW, a_change, a_placement, a_spec, an_attempt, assign, end
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


async def pages(service: Asked, **request: Any) -> list[list[str]]:
    """What each page tells: attempts' ids, and those of jobs that are only planned."""
    told, token = list[list[str]](), ""
    while True:
        asked_for = placement_pb2.ListPlacementsRequest(page_token=token, **request)
        page = await service.placements.ListPlacements(asked_for)
        told.append([one.attempt_id or one.job_id for one in page.placements])
        token = page.next_page_token
        if not token:
            return told


async def scene(service: Asked) -> tuple[Job, Job, Job]:
    """One that has ended after two attempts, one that runs and one that is planned behind it."""
    ended = await placed(service)
    ended = await end(service.desk.book, ended, Event.FAIL_RETRY, AttemptState.FAILED)
    ended = await placed(service, ended)
    ended = await end(service.desk.book, ended, Event.SUCCEED, AttemptState.SUCCEEDED)
    running = await placed(service, None, 8)
    planned, _ = await service.desk.book.submit(a_spec(per_worker=WorkerShape(8, 4.0, 16.0)))
    await service.desk.loop.round("test")
    return ended, running, planned


async def placed(service: Asked, job: Job | None = None, gpus: int = 1) -> Job:
    """A job whose next attempt a round has placed."""
    book = service.desk.book
    if job is None:
        spec = a_spec(per_worker=WorkerShape(gpus, 4.0, 16.0))
        job, _ = await book.submit(spec)
    number = len(job.attempts) + 1
    attempt = an_attempt(job.id, number, expected_end_at=NOW + timedelta(hours=1))
    change = a_change(job.id, Event.ASSIGN, attempt=attempt, placement=a_placement(attempt))
    job = (await book.apply(change)).job
    attempt = replace(attempt, state=AttemptState.RUNNING, started_at=NOW)
    return (await book.apply(a_change(job.id, Event.START, attempt=attempt))).job


async def test_placements_come_page_by_page_the_newest_jobs_first(service: Asked) -> None:
    ended, running, planned = await scene(service)
    live = [planned.id, f"{running.id}-1"]
    everything = [*live, f"{ended.id}-2", f"{ended.id}-1"]
    assert await pages(service) == [live]
    assert await pages(service, include_final=True) == [everything]
    for size in (1, 2, 3):
        told = await pages(service, include_final=True, page_size=size)
        assert [len(page) for page in told[:-1]] == [size] * (len(told) - 1)
        assert [one for page in told for one in page] == everything
    assert await pages(service, page_size=1, tenant="nobody") == [[]]
    assert await pages(service, page_size=1, cluster="qingyang") == [[one] for one in live]


async def test_a_job_that_starts_between_two_pages_is_told_once(service: Asked) -> None:
    _, _, planned = await scene(service)
    request = placement_pb2.ListPlacementsRequest(page_size=1)
    first = await service.placements.ListPlacements(request)
    assert [one.job_id for one in first.placements] == [planned.id]
    await placed(service, planned)
    await placed(service)
    request.page_token = first.next_page_token
    second = await service.placements.ListPlacements(request)
    assert planned.id not in [one.job_id for one in second.placements]


@pytest.mark.parametrize("token", ["x y", "j1-", "j1-2-3", "-1", "J1", "a" * 100, "j1-9999999999"])
async def test_a_token_of_no_answer_is_refused(service: Asked, token: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=r"page_token: .* is not from an answer"):
        request = placement_pb2.ListPlacementsRequest(page_token=token)
        await service.placements.ListPlacements(request)
