"""Watching jobs: the state now, then every change, none missed and none twice."""

import asyncio
from pathlib import Path
from typing import Any

from scheduler.domain.job import AttemptState
from scheduler.domain.transitions import Event
from tests.fakes.job_service import Service, serving
from tests.fakes.jobs import a_spec, assign, end, eventually
from westward.v1 import job_pb2


async def through_its_life(service: Service, tenant: str = "lab") -> str:
    job = (await service.book.submit(a_spec(tenant=tenant)))[0]
    job = await assign(service.book, job)
    await end(service.book, job, Event.SUCCEED, AttemptState.SUCCEEDED)
    return job.id


async def test_the_story_of_one_job_until_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = (await service.book.submit(a_spec()))[0]
        await service.book.submit(a_spec())
        request = job_pb2.WatchRequest(job_ids=[job.id], until_final=True)
        watch = aiter(service.stub.Watch(request))
        first = await anext(watch)
        assert first.job.version == 1
        assert not first.HasField("event")
        job = await assign(service.book, job)
        await end(service.book, job, Event.SUCCEED, AttemptState.SUCCEEDED)
        told = [(answer.event.event, answer.job.version) async for answer in watch]
        assert told == [("ASSIGN", 2), ("SUCCEED", 3)]


async def test_an_ended_job_is_told_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job_id = await through_its_life(service)
        request = job_pb2.WatchRequest(job_ids=[job_id, job_id], until_final=True)
        answers = [answer async for answer in service.stub.Watch(request)]
        assert [answer.job.version for answer in answers] == [3]


async def test_no_change_is_missed_and_none_is_told_twice_whenever_one_comes(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as service:

        async def lives() -> None:
            for _ in range(30):
                await through_its_life(service)

        async def watch() -> dict[str, list[int]]:
            seen: dict[str, list[int]] = {}
            stream: Any = service.stub.Watch(job_pb2.WatchRequest(tenant="lab"))
            async for answer in stream:
                seen.setdefault(answer.job.id, []).append(answer.job.version)
                if answer.job.spec.name == "last":
                    break
            stream.cancel()
            return seen

        living = asyncio.create_task(lives())
        watches = []
        for _ in range(5):
            watches.append(asyncio.create_task(watch()))
            await asyncio.sleep(0.01)
        await living
        await through_its_life(service, tenant="shop")
        await service.book.submit(a_spec(name="last"))
        for seen in await asyncio.gather(*watches):
            for versions in seen.values():
                first = versions[0]
                last = 1 if versions == [1] else 3
                assert versions == list(range(first, last + 1))
        assert len(seen) >= 1


async def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        await service.book.submit(a_spec())
        watch: Any = service.stub.Watch(job_pb2.WatchRequest())
        await watch.read()
        subscriptions = service.book.feed._subscriptions
        assert len(subscriptions) == 1
        watch.cancel()
        await eventually(lambda: not subscriptions)
