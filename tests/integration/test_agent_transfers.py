"""Working directories on their way to an agent, and logs on their way from it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents import logs
from tests.fakes.agent import attempt, connected
from tests.fakes.executor import MemoryExecutor
from tests.fakes.node_service import FakeScheduler, Stream
from westward.v1 import job_pb2, node_pb2


def archive_sender(content: bytes, damage: Callable[[int, bytes], bytes]) -> Any:
    """Answers working directory requests with what ``damage`` makes of (try, content)."""
    tries = 0

    def answer(stream: Stream, message: node_pb2.ConnectRequest) -> None:
        nonlocal tries
        if message.WhichOneof("body") != "working_dir_request":
            return
        sha256 = message.working_dir_request.sha256
        data = damage(tries, content)
        tries += 1
        half = len(data) // 2
        for offset, part in ((0, data[:half]), (half, data[half:])):
            chunk = node_pb2.WorkingDirChunk(
                sha256=sha256, offset=offset, data=part, end=offset > 0
            )
            stream.send(working_dir_chunk=chunk)

    return answer


async def test_a_damaged_working_directory_is_fetched_again(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    sha256 = hashlib.sha256(content).hexdigest()
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    scheduler.on_message = archive_sender(
        content, lambda tried, data: bytes([data[0] ^ 1]) + data[1:] if tried == 0 else data
    )
    async with connected(tmp_path, scheduler, executor) as stream:
        stream.desire(attempt("j1-1", working_dir_sha256=sha256))
        await scheduler.until(executor.live)
        stream.desire(attempt("j1-1"), attempt("j2-1", working_dir_sha256=sha256))
        await scheduler.until(lambda: "j2-1" in executor.live())
    assert len(stream.requests) == 2, "once damaged, once whole, then from the cache"
    path = executor.assignments["j1-1"].working_dir
    assert path is not None and path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]


async def test_a_working_directory_that_cannot_be_had_fails_the_attempt(tmp_path: Path) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    scheduler.on_message = archive_sender(b"content", lambda tried, data: b"other!!")
    async with connected(tmp_path, scheduler, executor) as stream:
        stream.desire(attempt("j1-1", working_dir_sha256="0" * 64))
        await scheduler.until(lambda: stream.states() == {"j1-1": job_pb2.ATTEMPT_STATE_FAILED})
    reason = stream.observed[-1].observed.attempts[0].reason
    assert reason.code == "WORKING_DIR" and "3 times" in reason.message
    assert executor.starts == []


async def test_what_a_killed_daemon_had_fetched_in_part_is_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "qingyang-1" / "workdirs"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 64}.tar.partial").write_bytes(b"half")
    (folder / f"{'1' * 64}.tar.gz").write_bytes(b"whole")
    scheduler = FakeScheduler()
    async with connected(tmp_path, scheduler):
        await scheduler.until(lambda: len(list(folder.iterdir())) == 1)
    assert [path.name for path in folder.iterdir()] == [f"{'1' * 64}.tar.gz"]


async def test_logs_wait_for_acknowledgements_and_end_when_all_is_there(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    folder = tmp_path / "qingyang-1" / "attempts" / "j1-1"
    folder.mkdir(parents=True)
    content = os.urandom(1_000_000)
    (folder / "rank-0.stdout").write_bytes(content)
    (folder / "rank-0.stderr").write_bytes(b"")
    stored = bytearray()
    acknowledging = False

    def keep(stream: Stream, message: node_pb2.ConnectRequest) -> None:
        chunk = message.log
        if message.WhichOneof("body") != "log" or chunk.stream != job_pb2.LOG_STREAM_STDOUT:
            if message.WhichOneof("body") == "log":
                acknowledge(stream, chunk, 0)
            return
        if chunk.offset == len(stored):
            stored.extend(chunk.data)
        if acknowledging:
            acknowledge(stream, chunk, len(stored))

    scheduler.on_message = keep
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: stream.logs)
        await scheduler.until(lambda: len(stream.reports) > 5)
        assert len(stream.logs) == 1, "one piece sounds how far the scheduler is"
        acknowledging = True
        acknowledge(stream, stream.logs[0].log, len(stored))
        await scheduler.until(lambda: len(stored) == len(content))
        assert bytes(stored) == content
        assert not any(message.log.end for message in stream.logs)
        (folder / "rank-0.done").write_text("{}")
        await scheduler.until(lambda: not folder.exists())
    ends = [m.log for m in stream.logs if m.log.end]
    assert {(e.stream, e.offset + len(e.data)) for e in ends} == {
        (job_pb2.LOG_STREAM_STDOUT, len(content)),
        (job_pb2.LOG_STREAM_STDERR, 0),
    }


def acknowledge(stream: Stream, chunk: node_pb2.LogChunk, offset: int) -> None:
    ack = node_pb2.LogAck(
        attempt_id=chunk.attempt_id, rank=chunk.rank, stream=chunk.stream, offset=offset
    )
    stream.send(log_ack=ack)


async def test_logs_of_a_flood_are_cut_at_the_limit_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "STREAM_LIMIT_BYTES", 500_000)
    scheduler = FakeScheduler()
    folder = tmp_path / "qingyang-1" / "attempts" / "j1-1"
    folder.mkdir(parents=True)
    with (folder / "rank-0.stdout").open("wb") as file:
        file.truncate(2**40)
    (folder / "rank-0.done").write_text("{}")
    stored = bytearray()

    def keep(stream: Stream, message: node_pb2.ConnectRequest) -> None:
        if message.WhichOneof("body") == "log":
            assert message.log.offset == len(stored)
            stored.extend(message.log.data)
            acknowledge(stream, message.log, len(stored))

    scheduler.on_message = keep
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: stream.logs and stream.logs[-1].log.end)
    assert bytes(stored) == bytes(500_000) + logs.NOTE


async def test_a_new_stream_goes_on_where_the_scheduler_is(tmp_path: Path) -> None:
    folder = tmp_path / "qingyang-1" / "attempts" / "j1-1"
    folder.mkdir(parents=True)
    (folder / "rank-0.stdout").write_bytes(bytes(900_000))
    scheduler = FakeScheduler()

    def has_most(stream: Stream, message: node_pb2.ConnectRequest) -> None:
        if message.WhichOneof("body") == "log":
            reached = max(850_000, message.log.offset + len(message.log.data))
            acknowledge(stream, message.log, reached)

    scheduler.on_message = has_most
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: len(stream.logs) == 2)
    assert [m.log.offset for m in stream.logs] == [0, 850_000]
