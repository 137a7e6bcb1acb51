"""Logs over the wire: in order, over attempts, until the end."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc
import pytest

from scheduler.domain.job import AttemptState, Job
from scheduler.domain.log import LogStream
from scheduler.domain.transitions import Event
from scheduler.rpc import job_logs
from tests.fakes.clock import ManualClock, real_clock
from tests.fakes.job_service import Service, serving
from tests.fakes.jobs import a_spec, assign, end
from westward.v1 import job_pb2

OUT, ERR = LogStream.STDOUT, LogStream.STDERR


async def write(service: Service, attempt: str, text: bytes, *, rank: int = 0, at: int = 0) -> None:
    """All that a worker writes, and that it wrote nothing to the other stream."""
    await service.store.logs.append(attempt, rank, OUT, at, text, end=True)
    await service.store.logs.append(attempt, rank, ERR, 0, b"", end=True)


async def assigned(service: Service, workers: int = 1) -> Job:
    job = (await service.book.submit(a_spec(workers=workers)))[0]
    return await assign(service.book, job, nodes=("qingyang-1",) * workers)


async def test_what_is_there_without_following(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = await assigned(service)
        await service.store.logs.append(f"{job.id}-1", 0, ERR, 0, b"warning\n")
        answers = [a async for a in service.stub.Logs(job_pb2.LogsRequest(job_id=job.id))]
        assert answers == [
            job_pb2.LogsResponse(
                attempt_id=f"{job.id}-1",
                rank=0,
                stream=job_pb2.LOG_STREAM_STDERR,
                offset=0,
                data=b"warning\n",
            )
        ]


async def test_following_over_attempts_and_workers_to_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path, real_clock()) as service:
        job = (await service.book.submit(a_spec(workers=2)))[0]
        stream: Any = service.stub.Logs(job_pb2.LogsRequest(job_id=job.id, follow=True))
        got: dict[tuple[str, int], bytes] = defaultdict(bytes)

        async def read() -> list[str]:
            attempts = []
            async for answer in stream:
                key = (answer.attempt_id, answer.rank)
                assert answer.offset == len(got[key])
                got[key] += answer.data
                attempts.append(answer.attempt_id)
            return attempts

        reading = asyncio.create_task(read())
        for number in (1, 2):
            job = await assign(service.book, job, number, nodes=("a", "b"))
            attempt = f"{job.id}-{number}"
            for at in range(3):
                for rank in (0, 1):
                    await service.store.logs.append(attempt, rank, OUT, at * 4, b"abc\n")
            event, state = (
                (Event.FAIL_RETRY, AttemptState.FAILED)
                if number == 1
                else (Event.SUCCEED, AttemptState.SUCCEEDED)
            )
            job = await end(service.book, job, event, state, service.clock.now())
            for rank in (0, 1):
                # The last words may come after the end.
                await write(service, attempt, b"bye\n", rank=rank, at=12)
        async with asyncio.timeout(2.5):  # well before the grace for lost ends
            attempts = await reading
        assert attempts == sorted(attempts)
        whole = b"abc\n" * 3 + b"bye\n"
        assert dict(got) == {(f"{job.id}-{n}", r): whole for n in (1, 2) for r in (0, 1)}


async def test_ends_that_never_come_are_waited_for_a_short_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "GRACE_S", 0.3)
    async with serving(tmp_path, real_clock()) as service:
        job = await assigned(service)
        await service.store.logs.append(f"{job.id}-1", 0, OUT, 0, b"cut off")
        stream: Any = service.stub.Logs(job_pb2.LogsRequest(job_id=job.id, follow=True))
        assert (await stream.read()).data == b"cut off"
        ended_at = service.clock.now()
        await end(service.book, job, Event.FAIL_FINAL, AttemptState.LOST, ended_at)
        async with asyncio.timeout(5):
            assert await stream.read() is grpc.aio.EOF
        assert (service.clock.now() - ended_at).total_seconds() >= 0.3


async def test_what_still_comes_after_the_end_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, found_nothing = ManualClock(), asyncio.Event()

    def incomplete(*_: Any) -> bool:
        found_nothing.set()
        return False

    monkeypatch.setattr(job_logs, "_complete", incomplete)
    async with serving(tmp_path, clock) as service, asyncio.timeout(20):
        job = await assigned(service)
        await service.store.logs.append(f"{job.id}-1", 0, OUT, 0, b"%04d" % 0)
        stream: Any = service.stub.Logs(job_pb2.LogsRequest(job_id=job.id, follow=True))
        assert (await stream.read()).data == b"0000"
        await end(service.book, job, Event.SUCCEED, AttemptState.SUCCEEDED, clock.now())
        for at in range(1, 6):  # in all for longer than the grace, each well within it
            await found_nothing.wait()
            found_nothing.clear()
            clock.pass_s(job_logs.GRACE_S / 2)
            await service.store.logs.append(f"{job.id}-1", 0, OUT, at * 4, b"%04d" % at)
            assert (await stream.read()).data == b"%04d" % at
        await found_nothing.wait()
        clock.pass_s(job_logs.GRACE_S)
        service.store.logs.signal.notify(job.id)
        assert await stream.read() is grpc.aio.EOF


async def test_one_attempt_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = await assigned(service)
        await write(service, f"{job.id}-1", b"first")
        job = await end(service.book, job, Event.FAIL_RETRY, AttemptState.FAILED)
        job = await assign(service.book, job, 2)
        await write(service, f"{job.id}-2", b"second")
        for attempt, text in ((1, b"first"), (2, b"second")):
            request = job_pb2.LogsRequest(job_id=job.id, attempt=attempt)
            assert [a.data async for a in service.stub.Logs(request)] == [text]
        with pytest.raises(grpc.aio.AioRpcError, match="has no attempt 3; so far: 2") as caught:
            await service.stub.Logs(job_pb2.LogsRequest(job_id=job.id, attempt=3)).read()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_job_that_never_ran_has_no_logs(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = (await service.book.submit(a_spec()))[0]
        stream: Any = service.stub.Logs(job_pb2.LogsRequest(job_id=job.id, follow=True))
        reading = asyncio.create_task(stream.read())
        await service.book.cancel(job.id)
        async with asyncio.timeout(5):
            assert await reading is grpc.aio.EOF


async def test_more_than_one_read_takes(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = await assigned(service)
        for at in range(150):
            await service.store.logs.append(f"{job.id}-1", 0, OUT, at * 5, b"%04d\n" % at)
        answers = [a.data async for a in service.stub.Logs(job_pb2.LogsRequest(job_id=job.id))]
        assert answers == [b"%04d\n" % at for at in range(150)]
