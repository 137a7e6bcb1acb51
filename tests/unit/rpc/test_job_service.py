"""The job service over a real socket."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from scheduler.client import AsyncClient, InvalidRequestError, channel, requests
from scheduler.domain.job import AttemptState, Job
from scheduler.domain.transitions import Event
from scheduler.planner.snapshot import PlannedStart
from scheduler.rpc import jobs as jobs_module
from scheduler.rpc.convert_jobs import spec_to_pb, when
from scheduler.state.jobs import JobBook
from scheduler.store import retention
from scheduler.store.blobs import SIZE_MOST_BYTES, UNUSED_MOST
from scheduler.store.errors import StoreError
from scheduler.store.tables import BLOBS
from tests.fakes.clock import ManualClock
from tests.fakes.job_service import Service, serving
from tests.fakes.jobs import NOW, a_spec, assign, end
from westward.v1 import job_pb2

CONTENT = b"a working directory" * 100_000
SHA = hashlib.sha256(CONTENT).hexdigest()


def submission(key: str = "", **changes: Any) -> job_pb2.SubmitRequest:
    return job_pb2.SubmitRequest(spec=spec_to_pb(a_spec(**changes)), idempotency_key=key)


def refused(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The refused fields of an INVALID_ARGUMENT, from its google.rpc.BadRequest."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(error)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    return {violation.field: violation.description for violation in bad.field_violations}


async def test_submit_get_list_cancel(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        stub = service.stub
        first = await stub.Submit(submission("key"))
        again = await stub.Submit(submission("key"))
        assert (first.existed, again.existed) == (False, True)
        assert first.job == again.job
        assert first.job.state == job_pb2.JOB_STATE_PENDING
        service.world.planned[first.job.id] = PlannedStart("qingyang", "A800", NOW)
        got = await stub.Get(job_pb2.GetRequest(job_id=first.job.id, include_events=True))
        assert got.job.planned_cluster == "qingyang"
        assert when(got.job.planned_start_at) == NOW
        assert [event.event for event in got.events] == ["SUBMIT"]
        assert got.events[0].from_state == job_pb2.JOB_STATE_UNSPECIFIED
        cancelled = await stub.Cancel(job_pb2.CancelRequest(job_id=first.job.id, reason="typo"))
        assert cancelled.job.state == job_pb2.JOB_STATE_CANCELLED
        assert not cancelled.job.planned_cluster
        assert await stub.Cancel(job_pb2.CancelRequest(job_id=first.job.id)) == cancelled


async def test_pages_of_a_list(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        ids = [(await service.stub.Submit(submission())).job.id for _ in range(7)]
        request = job_pb2.ListRequest(page_size=3, states=[job_pb2.JOB_STATE_PENDING])
        found, pages = [], 0
        while pages == 0 or request.page_token:
            page = await service.stub.List(request)
            await service.stub.Submit(submission())
            found += [job.id for job in page.jobs]
            request.page_token = page.next_page_token
            pages += 1
        assert found == ids[::-1]
        assert pages == 3


async def test_a_deadline_that_passed_meanwhile_does_not_break_a_retry(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serving(tmp_path, clock) as service:
        request = submission("key", deadline_at=clock.now().replace(hour=5))
        first = await service.stub.Submit(request)
        clock.pass_s(6 * 3600)
        assert (await service.stub.Submit(request)).existed
        results = (await service.stub.SubmitBatch([_item(request)])).results
        assert [result.job_id for result in results] == [first.job.id]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Submit(submission("other", deadline_at=clock.now().replace(hour=5)))
        assert "in the past" in refused(caught.value)["spec.deadline_at"]


def _item(request: job_pb2.SubmitRequest) -> job_pb2.SubmitBatchRequest:
    return job_pb2.SubmitBatchRequest(spec=request.spec, idempotency_key=request.idempotency_key)


BAD: list[tuple[Callable[[job_pb2.SubmitRequest], Any], str, str]] = [
    (lambda r: setattr(r.spec, "region", "shangai"), "spec.region", "did you mean 'shanghai'?"),
    (lambda r: setattr(r.spec, "min_green_share", 1.7), "spec.min_green_share", "write 0.7 for 70"),
    (lambda r: r.spec.deadline_at.FromSeconds(1), "spec.deadline_at", "is in the past"),
    (lambda r: setattr(r.spec.deadline_at, "seconds", 10**12), "spec.deadline_at", "outside"),
    (lambda r: setattr(r.spec, "workers", 9), "spec.workers", "the most that fit are 8"),
    (lambda r: setattr(r.spec, "working_dir_sha256", SHA), "spec.working_dir_sha256", "upload it"),
    (lambda r: r.spec.MergeFromString(b"\xf8\x07\x01"), "spec.field 127", "does not know"),
    (lambda r: r.spec.env.update(X="x" * 600_000), "spec", "are over 524288"),
    (lambda r: setattr(r, "idempotency_key", "k" * 129), "idempotency_key", "at most 128"),
    (lambda r: r.spec.ClearField("command"), "spec.command.argv", "nothing to run"),
]


@pytest.mark.parametrize(("spoil", "field", "said"), BAD, ids=[case[1] for case in BAD])
async def test_bad_input_is_refused_by_field_and_nothing_is_stored(
    tmp_path: Path, spoil: Callable[[job_pb2.SubmitRequest], Any], field: str, said: str
) -> None:
    async with serving(tmp_path) as service:
        request = submission()
        spoil(request)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Submit(request)
        assert said in refused(caught.value)[field]
        assert field in (caught.value.details() or "")
        assert not service.book.active()
        [result] = (await service.stub.SubmitBatch([_item(request)])).results
        assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert [violation.field for violation in result.error.violations] == [field]
        assert (await service.stub.Submit(submission())).job.id


async def test_a_spec_of_many_megabytes_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Submit(submission(env={"X": "x" * 20_000_000}))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await service.stub.Submit(submission())).job.id


async def test_hundreds_of_faults_still_reach_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Submit(submission(env={f"{i}庆阳" * 10: "" for i in range(250)}))
        found = refused(caught.value)
        assert len(found) > 3
        assert "more)" in (caught.value.details() or "")


async def test_a_key_with_another_spec_already_exists(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = (await service.stub.Submit(submission("key"))).job
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Submit(submission("key", workers=2))
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert job.id in (caught.value.details() or "")
        assert "workers was 1, now 2" in (caught.value.details() or "")
        results = (
            await service.stub.SubmitBatch(
                [_item(submission("key", workers=2)), _item(submission("key"))]
            )
        ).results
        assert results[0].error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
        assert results[1].job_id == job.id


@pytest.mark.parametrize("method", ["Get", "Cancel", "Watch", "Logs"])
async def test_an_unknown_job_is_not_found_by_name(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path) as service:
        ask = {
            "Get": lambda: service.stub.Get(job_pb2.GetRequest(job_id="jnobody")),
            "Cancel": lambda: service.stub.Cancel(job_pb2.CancelRequest(job_id="jnobody")),
            "Watch": lambda: service.stub.Watch(job_pb2.WatchRequest(job_ids=["jnobody"])).read(),
            "Logs": lambda: service.stub.Logs(job_pb2.LogsRequest(job_id="jnobody")).read(),
        }[method]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "'jnobody'" in (caught.value.details() or "")


async def test_the_story_tells_who_asked_as_far_as_callers_state_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        stub, who = service.stub, dict(channel.metadata(None, "李雷@laptop"))
        job = (await stub.Submit(submission("key"), metadata=tuple(who.items()))).job
        posing = (("westward-actor", "planner%0A" + "x" * 2000),)
        await stub.Cancel(job_pb2.CancelRequest(job_id=job.id), metadata=posing)
        got = await stub.Get(job_pb2.GetRequest(job_id=job.id, include_events=True))
    assert [event.actor for event in got.events] == [
        "user/李雷@laptop",
        "user/planner" + "x" * 56,
    ]
    assert got.job.reason.message.startswith("cancelled by user/planner")


async def test_a_job_that_ended_cannot_be_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        job = await assign(service.book, (await service.book.submit(a_spec()))[0])
        await end(service.book, job, Event.SUCCEED, AttemptState.SUCCEEDED)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.Cancel(job_pb2.CancelRequest(job_id=job.id))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_batch_answers_item_by_item_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "BATCH_CHUNK", 10)
    monkeypatch.setattr(jobs_module, "BATCH_MOST", 25)
    async with serving(tmp_path) as service:
        items = [
            _item(submission(name="" if at % 7 == 3 else f"n{at}", key=f"k{at % 20}"))
            for at in range(30)
        ]
        results = (await service.stub.SubmitBatch(items)).results
        assert len(results) == 30
        for at, result in enumerate(results):
            if at >= 25:
                assert result.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            elif at % 7 == 3:
                assert [v.field for v in result.error.violations] == ["spec.name"]
            elif at >= 20 and (at - 20) % 7 != 3:
                assert result.error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
            else:
                assert service.book.active()[result.job_id].spec.name == f"n{at}"


async def test_a_store_that_fails_is_unavailable_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise StoreError("the database refused: disk full")

    async with serving(tmp_path) as service:
        with monkeypatch.context() as broken:
            broken.setattr(type(service.store.jobs), "insert", full)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.stub.Submit(submission())
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            [result] = (await service.stub.SubmitBatch([_item(submission())])).results
            assert result.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert (await service.stub.Submit(submission())).job.id


async def test_what_nobody_foresaw_is_told_by_an_id_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("a secret of ours")

    async with serving(tmp_path) as service:
        monkeypatch.setattr(service.store.jobs, "page", broken, raising=False)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.stub.List(job_pb2.ListRequest())
        details = caught.value.details() or ""
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in details
        assert details.split()[-1] in capsys.readouterr().out


async def upload(
    service: Service, content: bytes, sha256: str = SHA, size: int | None = None
) -> job_pb2.UploadWorkingDirResponse:
    """Through a client of ours, which unlike grpc.aio always has the answer (see its ``call``)."""
    size_bytes = len(content) if size is None else size
    sent = [job_pb2.UploadWorkingDirRequest(sha256=sha256, size_bytes=size_bytes)]
    for at in range(0, len(content), 500_000):
        sent.append(job_pb2.UploadWorkingDirRequest(data=content[at : at + 500_000]))
    async with AsyncClient(service.address) as client:
        return await client.call(requests.Call(lambda s: s.jobs.UploadWorkingDir, iter(sent)))


async def test_a_working_directory_is_stored_once_and_then_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        assert not (await upload(service, CONTENT)).existed
        assert (await upload(service, CONTENT)).existed
        stored = b"".join([chunk async for chunk in service.store.blobs.chunks(SHA)])
        assert stored == CONTENT
        job = (await service.stub.Submit(submission(working_dir_sha256=SHA))).job
        assert job.spec.working_dir_sha256 == SHA


async def test_retention_takes_no_working_directory_of_a_submission_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = JobBook.submit
    async with serving(tmp_path) as service:
        database = service.store.database

        async def late(*arguments: Any) -> tuple[Job, bool]:
            unused_since_at = datetime.now(UTC) - UNUSED_MOST
            assert await retention.forget_working_dirs(database, unused_since_at) == 0
            return await submit(*arguments)

        monkeypatch.setattr(JobBook, "submit", late)
        await upload(service, CONTENT)
        long_ago = sa.update(BLOBS).values(used_at=datetime(2026, 1, 1, tzinfo=UTC))
        await database.write(lambda c: c.execute(long_ago).rowcount)
        job = (await service.stub.Submit(submission(working_dir_sha256=SHA))).job
        assert job.spec.working_dir_sha256 == SHA
        assert await service.store.blobs.size_bytes(SHA) == len(CONTENT)


@pytest.mark.parametrize(
    ("content", "sha256", "size", "told"),
    [
        (CONTENT, "0" * 64, None, ("sha256", f"hash to {SHA}", "pack the directory anew")),
        (CONTENT, "zz", None, ("sha256", "'zz' is not a SHA-256", "send its 64 hex digits")),
        (CONTENT, SHA, SIZE_MOST_BYTES + 1, ("size_bytes", "67108865", "name it under data")),
        (CONTENT, SHA, 7, ("size_bytes", "than the 7 announced", "announce what is sent")),
        (CONTENT, SHA, 9_999_999, ("size_bytes", "1900000 bytes came", "announce what is sent")),
        (b"", SHA, None, ("size_bytes", "0 is not within 1 to", "leave large data out")),
    ],
)
async def test_an_upload_that_is_not_as_announced_is_refused(
    tmp_path: Path, content: bytes, sha256: str, size: int | None, told: tuple[str, str, str]
) -> None:
    field, value, fix = told
    async with serving(tmp_path) as service:
        with pytest.raises(InvalidRequestError, match=field) as caught:
            await upload(service, content, sha256, size)
        [violation] = caught.value.violations
        assert violation.field == field
        assert value in violation.description
        assert fix in violation.description
        assert await service.store.blobs.size_bytes(SHA) is None


async def test_sixteen_clients_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:

        async def client(number: int) -> list[str]:
            requests = [submission(f"{number}-{at % 10}") for at in range(20)]
            return [(await service.stub.Submit(request)).job.id for request in requests]

        answered = await asyncio.gather(*map(client, range(16)))
        assert all(ids[:10] == ids[10:] for ids in answered)
        assert {i for ids in answered for i in ids} == set(service.book.active())
        assert len(service.book.active()) == 160
