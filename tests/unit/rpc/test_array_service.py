"""Arrays over the wire: submitted, watched, cancelled as one; tasks page by page; their logs."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from scheduler.domain.arrays import Progress
from scheduler.domain.job import ArraySpec, AttemptState, Job
from scheduler.domain.log import LogStream
from scheduler.domain.tasks import TaskEnd, TaskRecord, encode
from scheduler.domain.transitions import Event
from scheduler.rpc import job_logs
from scheduler.rpc.convert_jobs import spec_to_pb, when
from scheduler.state.jobs import Change
from tests.fakes.clock import real_clock
from tests.fakes.job_service import Service, serving
from tests.fakes.jobs import NOW, a_change, a_spec, assign, end
from westward.v1 import job_pb2

OUT, ERR, TASKS = LogStream.STDOUT, LogStream.STDERR, LogStream.TASKS
FAILED, RUNNING = job_pb2.TASK_STATE_FAILED, job_pb2.TASK_STATE_RUNNING


def submission(tasks: int = 25, key: str = "", **changes: Any) -> job_pb2.SubmitRequest:
    array = ArraySpec(tasks=tasks, chunk_tasks=10, task_attempts=2)
    spec = spec_to_pb(a_spec(name="sweep", array=array, **changes))
    return job_pb2.SubmitRequest(spec=spec, idempotency_key=key)


async def submitted(service: Service, tasks: int = 25) -> tuple[str, list[Job]]:
    """An array and its chunks."""
    array_id = (await service.stub.Submit(submission(tasks))).job.array_id
    return array_id, await service.book.chunks(array_id)


async def record(service: Service, attempt: str, *records: TaskRecord, at: int = 0) -> int:
    text = b"".join(map(encode, records))
    return await service.store.logs.append(attempt, 0, TASKS, at, text)


def running(job: Job) -> Change:
    assert job.attempt is not None
    attempt = replace(job.attempt, state=AttemptState.RUNNING, started_at=job.updated_at)
    return a_change(job.id, Event.START, attempt=attempt)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_the_copies_of_a_large_spec_are_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        large = submission(tasks=9_000, env={"DATA": "x" * 60_000})
        error = await refused(service.stub.Submit(large))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "900 chunks" in str(error.details())
        assert "spec.array.chunk_tasks" in str(error.details())
        small = submission(tasks=90, env={"DATA": "x" * 60_000})
        assert (await service.stub.Submit(small)).job.array_id


async def test_an_array_goes_by_its_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        stub = service.stub
        first = await stub.Submit(submission(key="key"))
        again = await stub.Submit(submission(key="key"))
        assert (first.existed, again.existed) == (False, True)
        assert first.job == again.job
        assert first.job.tasks.total == 10
        array_id = first.job.array_id
        got = await stub.Get(job_pb2.GetRequest(job_id=array_id, include_events=True))
        assert got.job == first.job
        assert [event.event for event in got.events] == ["SUBMIT"]
        await stub.Submit(submission(5))
        listed = (await stub.List(job_pb2.ListRequest(array_id=array_id))).jobs
        assert [job.spec.array.first_task for job in listed] == [20, 10, 0]
        assert [job.tasks.total for job in listed] == [5, 10, 10]
        cancelled = await stub.Cancel(job_pb2.CancelRequest(job_id=array_id, reason="typo"))
        assert cancelled.job.id == first.job.id
        listed = (await stub.List(job_pb2.ListRequest(array_id=array_id))).jobs
        assert {job.state for job in listed} == {job_pb2.JOB_STATE_CANCELLED}
        assert await stub.Cancel(job_pb2.CancelRequest(job_id=array_id)) == cancelled


async def test_arrays_and_jobs_share_a_batch(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        plain = job_pb2.SubmitBatchRequest(spec=spec_to_pb(a_spec()))
        array = job_pb2.SubmitBatchRequest(spec=submission().spec, idempotency_key="k")
        other = job_pb2.SubmitBatchRequest(spec=submission(24).spec, idempotency_key="k")
        bad = job_pb2.SubmitBatchRequest(spec=submission(0).spec)
        answer = await service.stub.SubmitBatch([plain, array, bad, other, array])
        ids = [result.job_id[:1] for result in answer.results]
        assert ids == ["j", "a", "", "", "a"]
        assert answer.results[1] == answer.results[4]
        assert [v.field for v in answer.results[2].error.violations] == ["spec.array.tasks"]
        assert "whose spec differs" in answer.results[3].error.message
        assert len(service.book.active()) == 4


async def test_a_retry_of_an_array_holds_when_its_deadline_has_passed(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        deadline_at = service.clock.now().replace(hour=6)
        request = submission(key="key", deadline_at=deadline_at, expected_duration_s=1.0)
        first = await service.stub.Submit(request)
        service.clock.pass_s(6 * 3600)  # type: ignore[attr-defined]
        assert (await service.stub.Submit(request)).job == first.job
        request.spec.array.tasks = 26
        error = await refused(service.stub.Submit(request))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_watching_an_array_until_all_chunks_have_ended(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        array_id, jobs = await submitted(service)
        await service.stub.Submit(submission())
        request = job_pb2.WatchRequest(job_ids=[array_id, jobs[1].id], until_final=True)
        watch = aiter(service.stub.Watch(request))
        seen = [(await anext(watch)).job.id for _ in jobs]
        assert seen == [job.id for job in jobs]
        await service.stub.Cancel(job_pb2.CancelRequest(job_id=array_id))
        ended = [answer.job.id async for answer in watch]
        assert sorted(ended) == sorted(seen)


@pytest.mark.parametrize("call", ["Suspend", "Resume", "ForceRetry"])
async def test_what_is_not_for_arrays_says_so(call: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        array_id, _ = await submitted(service)
        method = getattr(service.stub, call)
        error = await refused(method(getattr(job_pb2, f"{call}Request")(job_id=array_id)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "name one of its chunks" in str(error.details())


async def test_tasks_page_by_page(tmp_path: Path) -> None:
    async with serving(tmp_path, real_clock()) as service:
        array_id, jobs = await submitted(service)
        job = await assign(service.book, jobs[1])
        await service.book.apply(running(job))
        began_s = datetime.now(UTC).timestamp() - 5
        await record(
            service,
            f"{job.id}-1",
            TaskRecord(12, 1, began_s),
            TaskRecord(12, 1, began_s + 1.5, TaskEnd(3, (0, 0), (0, 0))),
            TaskRecord(12, 2, began_s + 2),
            TaskRecord(12, 2, began_s + 2.5, TaskEnd(4, (0, 0), (0, 0))),
            TaskRecord(13, 1, began_s + 3),
        )
        service.book.progress.heard(job, f"{job.id}-1", Progress(b"\x03", b"\x04", 1))
        request = job_pb2.ListTasksRequest(job_id=array_id, page_size=7)
        found: list[job_pb2.Task] = []
        pages = 0
        while pages == 0 or request.page_token:
            page = await service.stub.ListTasks(request)
            counts = job_pb2.TaskCounts(total=25, running=1, succeeded=2, failed=1)
            assert page.counts == counts
            found += page.tasks
            request.page_token = page.next_page_token
            pages += 1
        assert pages == 4
        assert [task.index for task in found] == list(range(25))
        states = {task.state for task in found[:10]}
        assert states == {job_pb2.TASK_STATE_PENDING}
        assert found[10].state == job_pb2.TASK_STATE_SUCCEEDED
        failed = found[12]
        assert (failed.state, failed.tries, failed.exit_code) == (FAILED, 2, 4)
        assert (failed.attempt_id, failed.node_id) == (f"{job.id}-1", "qingyang-1")
        assert when(failed.started_at).timestamp() == pytest.approx(began_s + 2, abs=0.1)
        assert failed.ended_at.ToSeconds() - failed.started_at.ToSeconds() in (0, 1)
        assert not found[13].HasField("ended_at")
        of_chunk = job_pb2.ListTasksRequest(job_id=job.id, states=[FAILED, RUNNING])
        page = await service.stub.ListTasks(of_chunk)
        assert [task.index for task in page.tasks] == [12, 13]
        assert page.counts.total == 10


@pytest.mark.parametrize(
    ("request_", "code", "told"),
    [
        ({"job_id": "a0000000000"}, "NOT_FOUND", "no array"),
        ({"job_id": "nobody"}, "NOT_FOUND", "no job 'nobody'"),
        ({"job_id": "ARRAY", "page_token": "x"}, "INVALID_ARGUMENT", "page_token"),
        ({"job_id": "ARRAY", "states": [9]}, "INVALID_ARGUMENT", "no state of a task"),
        ({"job_id": "JOB"}, "INVALID_ARGUMENT", "is no array"),
    ],
)
async def test_refused_questions_about_tasks(
    request_: dict[str, Any], code: str, told: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as service:
        array_id, _ = await submitted(service)
        job, _ = await service.book.submit(a_spec())
        ids = {"ARRAY": array_id, "JOB": job.id}
        request_ = {**request_, "job_id": ids.get(request_["job_id"], request_["job_id"])}
        error = await refused(service.stub.ListTasks(job_pb2.ListTasksRequest(**request_)))
        assert error.code() is grpc.StatusCode[code]
        assert told in str(error.details())


async def test_times_that_no_clock_can_have_shown_are_not_believed(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        array_id, jobs = await submitted(service)
        job = await assign(service.book, jobs[0])
        await service.book.apply(running(job))
        far = [TaskRecord(1, 1, 999_999_999_999.0), TaskRecord(2, 1, 0.0)]
        await record(service, f"{job.id}-1", *far)
        page = await service.stub.ListTasks(job_pb2.ListTasksRequest(job_id=array_id))
        now_at = service.clock.now()
        assert [when(page.tasks[i].started_at) for i in (1, 2)] == [now_at, NOW]


async def logs(service: Service, job_id: str, **more: Any) -> list[tuple[int, bytes]]:
    request = job_pb2.LogsRequest(job_id=job_id, **more)
    return [(answer.stream, answer.data) async for answer in service.stub.Logs(request)]


async def test_logs_of_an_array_are_those_of_its_chunks_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        array_id, jobs = await submitted(service)
        for job in reversed(jobs):
            await assign(service.book, job)
            await record(service, f"{job.id}-1", TaskRecord(0, 1, 1.0))
            await service.store.logs.append(f"{job.id}-1", 0, OUT, 0, job.id.encode())
        told = await logs(service, array_id)
        assert told == [(job_pb2.LOG_STREAM_STDOUT, job.id.encode()) for job in jobs]
        error = await refused(logs(service, array_id, attempt=1))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_logs_of_one_task_are_its_newest_try(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        array_id, jobs = await submitted(service)
        job = await assign(service.book, jobs[1])
        attempt = f"{job.id}-1"
        await service.store.logs.append(attempt, 0, OUT, 0, b"first second other running")
        await service.store.logs.append(attempt, 0, ERR, 0, b"oops")
        await record(
            service,
            attempt,
            *(TaskRecord(12, 1, 1.0), TaskRecord(12, 1, 1.0, TaskEnd(1, (0, 6), (0, 0)))),
            *(TaskRecord(12, 2, 1.0), TaskRecord(12, 2, 1.0, TaskEnd(0, (6, 13), (0, 4)))),
            *(TaskRecord(10, 1, 1.0), TaskRecord(10, 1, 1.0, TaskEnd(0, (13, 19), (4, 4)))),
            TaskRecord(11, 1, 1.0),
        )
        assert await logs(service, array_id, task=12) == [
            (job_pb2.LOG_STREAM_STDOUT, b"second "),
            (job_pb2.LOG_STREAM_STDERR, b"oops"),
        ]
        assert await logs(service, job.id, task=10) == [(job_pb2.LOG_STREAM_STDOUT, b"other ")]
        assert await logs(service, job.id, task=11) == [(job_pb2.LOG_STREAM_STDOUT, b"running")]
        assert await logs(service, array_id, task=3) == []
        error = await refused(logs(service, array_id, task=25))
        assert "its tasks are 0 to 24" in str(error.details())
        error = await refused(logs(service, job.id, task=9))
        assert "its tasks are 10 to 19" in str(error.details())
        error = await refused(logs(service, array_id, task=9, attempt=1))
        assert "drop it" in str(error.details())


async def test_a_task_is_followed_to_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path, real_clock()) as service:
        array_id, [job] = await submitted(service, 10)
        reading = asyncio.create_task(logs(service, array_id, task=0, follow=True))
        job = await assign(service.book, job)
        await service.book.apply(running(job))
        attempt = f"{job.id}-1"
        at = await record(service, attempt, TaskRecord(0, 1, 1.0))
        await service.store.logs.append(attempt, 0, OUT, 0, b"one ")
        await record(service, attempt, TaskRecord(0, 1, 2.0, TaskEnd(0, (0, 8), (0, 0))), at=at)
        # The last words come after the record of the end.
        await service.store.logs.append(attempt, 0, OUT, 4, b"two ")
        async with asyncio.timeout(2.5):
            told = await reading
        assert b"".join(data for _, data in told) == b"one two "


async def test_words_that_never_come_are_waited_for_a_short_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "GRACE_S", 0.3)
    async with serving(tmp_path, real_clock()) as service:
        array_id, [job] = await submitted(service, 10)
        job = await assign(service.book, job)
        await service.store.logs.append(f"{job.id}-1", 0, OUT, 0, b"cut off")
        end_ = TaskEnd(1, (0, 100), (0, 0))
        await record(service, f"{job.id}-1", TaskRecord(0, 1, 1.0), TaskRecord(0, 1, 2.0, end_))
        await end(service.book, job, Event.FAIL_FINAL, AttemptState.LOST)
        async with asyncio.timeout(5):
            told = await logs(service, array_id, task=0, follow=True)
        assert told == [(job_pb2.LOG_STREAM_STDOUT, b"cut off")]
