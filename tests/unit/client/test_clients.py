"""Both clients against a real socket: what is sent, repeated, resumed, and how errors arrive."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc.aio import Metadata
from grpc.aio import _call as aio_call

from scheduler.client import (
    AsyncClient,
    Client,
    InvalidRequestError,
    NotFoundError,
    SchedulerError,
    UnreachableError,
    errors,
    jobfile,
    requests,
)
from tests.fakes import canned
from tests.fakes.fake_scheduler import UNKNOWN_REGION, FakeScheduler, serving
from tests.fakes.impatience import make_impatient
from westward.v1 import job_pb2, placement_pb2

RUNNING, *_ = canned.jobs()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


@pytest.fixture
def fake() -> Iterator[FakeScheduler]:
    with serving() as fake:
        yield fake


@pytest.fixture
def client(fake: FakeScheduler) -> Iterator[Client]:
    with Client(fake.address, token="secret") as client:
        yield client


@contextmanager
def serving_nothing() -> Iterator[str]:
    """A gRPC server without any of our services."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None)


def changes(*versions: int) -> list[job_pb2.WatchResponse]:
    return [job_pb2.WatchResponse(job=job_pb2.Job(id="a", version=version)) for version in versions]


def piece(offset: int, data: bytes, rank: int = 0) -> job_pb2.LogsResponse:
    return job_pb2.LogsResponse(
        attempt_id="a-1", rank=rank, stream=job_pb2.LOG_STREAM_STDOUT, offset=offset, data=data
    )


def test_every_call_carries_the_token(client: Client, fake: FakeScheduler) -> None:
    client.get(RUNNING.id)
    assert fake.metadata["authorization"] == "Bearer secret"


def test_submissions_carry_a_key_of_their_own(client: Client, fake: FakeScheduler) -> None:
    first = client.submit(canned.spec("a"))
    second = client.submit(canned.spec("a"))
    assert first.job.id != second.job.id
    assert len(fake.keys) == 2
    assert all(fake.keys)


def test_a_repeat_with_the_same_key_is_the_same_job(client: Client) -> None:
    first = client.submit(canned.spec("a"), key="k")
    again = client.submit(canned.spec("a"), key="k")
    assert first.job.id == again.job.id
    assert (first.existed, again.existed) == (False, True)


def test_a_scheduler_that_is_briefly_away_is_asked_again(
    client: Client, fake: FakeScheduler
) -> None:
    fake.unavailable = 2
    client.submit(canned.spec("a"))
    fake.unavailable = 2
    client.submit_batch([canned.spec("b"), canned.spec("c")])
    assert [spec.name for spec in fake.specs] == ["a", "b", "c"]


def test_batch_results_come_in_order(client: Client) -> None:
    specs = [canned.spec("a"), canned.spec("b", UNKNOWN_REGION), canned.spec("c")]
    results = client.submit_batch(specs).results
    assert [result.WhichOneof("result") for result in results] == ["job_id", "error", "job_id"]
    with pytest.raises(ValueError, match="1 keys for 3 jobs"):
        client.submit_batch(specs, keys=["only"])
    with pytest.raises(ValueError, match="key 2 is empty"):
        client.submit_batch(specs, keys=["a", "", "c"])
    with pytest.raises(ValueError, match="key is empty; leave it out"):
        client.submit(specs[0], key="")


def test_placements_are_those_of_all_pages_by_their_start(
    client: Client, fake: FakeScheduler
) -> None:
    async def ask() -> placement_pb2.ListPlacementsResponse:
        async with AsyncClient(fake.address) as other:
            return await other.placements()

    starts = [one.start_at.seconds for one in canned.placements().placements]
    for told in (client.placements(), asyncio.run(ask())):
        assert [one.start_at.seconds for one in told.placements] == sorted(starts, reverse=True)
        assert not told.next_page_token


def test_listing_reads_all_pages(client: Client) -> None:
    assert [job.id for job in client.jobs()] == [job.id for job in canned.jobs()]
    pending = client.jobs(states=[job_pb2.JOB_STATE_PENDING])
    assert {job.spec.name for job in pending} == {"nightly-embeddings", "tick-quotes"}


def test_a_broken_watch_goes_on_without_repeats(client: Client, fake: FakeScheduler) -> None:
    fake.watches = [changes(1, 2), changes(2, 3), changes(4)]
    assert [answer.job.version for answer in client.watch(["a"])] == [1, 2, 3, 4]


def test_a_broken_log_stream_goes_on_at_its_byte(client: Client, fake: FakeScheduler) -> None:
    fake.pieces = [
        [piece(0, b"hel"), piece(0, b"x", rank=1)],
        [piece(0, b"hello"), piece(0, b"x", rank=1), piece(5, b"!")],
    ]
    got: dict[int, bytes] = {}
    for item in client.logs("a", follow=True):
        assert item.offset == len(got.get(item.rank, b""))
        got[item.rank] = got.get(item.rank, b"") + item.data
    assert got == {0: b"hello!", 1: b"x"}


def test_a_working_dir_is_uploaded_once(
    client: Client, fake: FakeScheduler, tmp_path: Path
) -> None:
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 10_000)
    (tmp_path / "job.yaml").write_text(
        "name: a\ntenant: t\nregion: shanghai\ncommand: x\nduration: 1m\n"
        "working_dir: .\ndeadline: +2h\n"
    )
    (document,) = jobfile.load(tmp_path / "job.yaml")
    spec = client.prepare(document)
    again = client.prepare(document)
    assert list(fake.dirs) == [spec.working_dir_sha256] == [again.working_dir_sha256]
    assert spec.deadline_at == canned.stamp(120)


def test_refused_fields_are_named(client: Client) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.submit(canned.spec("a", UNKNOWN_REGION))
    (violation,) = caught.value.violations
    assert violation.field == "region"
    assert "known: shanghai" in violation.description
    assert caught.value.code == "INVALID_ARGUMENT"


def test_an_unknown_job_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no job 'zzz'"):
        client.get("zzz")


def test_a_scheduler_that_is_not_there_is_named() -> None:
    with (
        Client("127.0.0.1:1") as client,
        pytest.raises(UnreachableError, match=r"127.0.0.1:1 cannot be reached: Connection refused"),
    ):
        client.clusters()


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: No route",
            "No route",
        ),
        (
            "errors resolving x.invalid:1: [field:hostname lookup error:address lookup failed for "
            "x.invalid:1: Domain name not found]",
            "Domain name not found",
        ),
    ],
)
def test_of_a_failed_connection_the_cause_is_told(details: str, told: str) -> None:
    failed = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), details)
    text = str(errors.from_rpc(failed, "x.invalid:1"))
    assert text == f"the scheduler at x.invalid:1 cannot be reached: {told}"


def test_an_answer_of_something_else_names_the_address() -> None:
    with (
        serving_nothing() as address,
        Client(address) as client,
        pytest.raises(SchedulerError, match=f"what answers at {address} is no scheduler"),
    ):
        client.clusters()


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tls_ca .*none\.pem cannot be read"):
        Client("127.0.0.1:1", tls_ca=tmp_path / "none.pem")


async def test_the_asynchronous_client_does_the_same(fake: FakeScheduler, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    fake.watches = [changes(1, 2), changes(2, 3)]
    fake.pieces = [[piece(0, b"hel")], [piece(0, b"hello")]]
    fake.unavailable = 1
    async with AsyncClient(fake.address, token="secret") as client:
        job = (await client.submit(canned.spec("a"), key="k")).job
        assert (await client.submit(canned.spec("a"), key="k")).existed
        assert fake.metadata["authorization"] == "Bearer secret"
        assert [item.id async for item in client.jobs()] == [*(j.id for j in canned.jobs()), job.id]
        assert [w.job.version async for w in client.watch(["a"])] == [1, 2, 3]
        assert [p.data async for p in client.logs("a")] == [b"hel", b"lo"]
        assert await client.upload(tmp_path) in fake.dirs
        assert await client.now_at() == canned.NOW
        assert (await client.cancel(job.id)).job.state == job_pb2.JOB_STATE_CANCELLING
        with pytest.raises(NotFoundError):
            await client.get("zzz")
        with pytest.raises(InvalidRequestError) as caught:
            await client.submit(canned.spec("a", UNKNOWN_REGION))
        assert caught.value.violations[0].field == "region"


@pytest.fixture
def late_failing_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to grpc.aio in a few of a hundred early answers, always: it learns that the
    call has ended, then that its last write failed."""

    async def write(call: Any, request: job_pb2.UploadWorkingDirRequest) -> None:
        if not request.data:
            return await plain(call, request)
        await call._cython_call.status()
        call._cython_call.set_internal_error("a write failed")
        return await call._raise_for_status()

    plain = aio_call.StreamUnaryCall._write
    monkeypatch.setattr(aio_call.StreamUnaryCall, "_write", write)


def an_upload(sha256: str) -> requests.Call[job_pb2.UploadWorkingDirResponse]:
    sent = [
        job_pb2.UploadWorkingDirRequest(sha256=sha256, size_bytes=1),
        job_pb2.UploadWorkingDirRequest(data=b"x"),
    ]
    return requests.Call(lambda s: s.jobs.UploadWorkingDir, iter(sent))


@pytest.mark.usefixtures("late_failing_writes")
async def test_an_answer_before_all_is_sent_is_not_lost(fake: FakeScheduler) -> None:
    fake.dirs["0" * 64] = b"x"
    async with AsyncClient(fake.address, token="secret") as client:
        assert (await client.call(an_upload("0" * 64))).existed
        assert fake.metadata["authorization"] == "Bearer secret"
        with pytest.raises(InvalidRequestError) as caught:
            await client.call(an_upload("zz"))
    assert [v.field for v in caught.value.violations] == ["sha256"]


async def test_closing_ends_a_call_that_is_still_sending(fake: FakeScheduler) -> None:
    sent, over, asked = threading.Event(), threading.Event(), an_upload("0" * 64)

    def never_all() -> Iterator[job_pb2.UploadWorkingDirRequest]:
        yield from asked.request
        sent.set()
        over.wait(30.0)

    client = AsyncClient(fake.address)
    calling = asyncio.create_task(client.call(replace(asked, request=never_all())))
    await asyncio.to_thread(sent.wait, 10.0)
    await client.close()
    with pytest.raises(errors.WestwardError):
        await calling
    over.set()
    with pytest.raises(grpc.aio.UsageError, match="closed"):
        await client.call(an_upload("0" * 64))


async def test_the_asynchronous_client_names_who_is_not_there() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
            await client.clusters()
