"""What the head node remembers, and messages on the wire."""

import asyncio
from pathlib import Path

import pytest

from agents.executor import wire
from agents.executor.base import Assignment, Observation
from agents.executor.records import Record, Records
from scheduler.domain.arrays import Progress
from scheduler.domain.job import ArraySpec, AttemptState, Command
from scheduler.domain.reason import Reason, ReasonCode

ASSIGNMENT = Assignment(
    attempt_id="job-1",
    job_id="job",
    epoch=3,
    number=1,
    work=Command(("echo", "西算")),
    nodes=("n1", "n2"),
    gpus=1,
    cpus=0.5,
    memory_gb=2.0,
    env={"A": "b"},
    working_dir=Path("/w.tar.gz"),
    array=ArraySpec(tasks=20, task_attempts=2, first_task=40),
    tasks_done=b"\x01\xff",
)
FAILED = Observation(
    attempt_id="job-1",
    epoch=3,
    state=AttemptState.FAILED,
    started_at_s=1.5,
    ended_at_s=2.5,
    exit_code=3,
    reason=Reason(ReasonCode.NONZERO_EXIT, "exit code 3"),
    tasks=Progress(b"\x01\xff", b"\x02", 3),
)


def a_record(data_dir: Path) -> Record:
    order = wire.order_of(ASSIGNMENT, data_dir=data_dir, cluster="c")
    return Record(order, FAILED, site="abc", stop_grace_s=4.0)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = Records(tmp_path, "n1")
    adopted = Record(None, Observation(attempt_id="x", epoch=1, state=AttemptState.RUNNING))
    records.save(a_record(tmp_path), durable=True)
    records.save(adopted)
    assert list(Records(tmp_path, "n1").load()) == [a_record(tmp_path), adopted]
    assert list(Records(tmp_path, "n2").load()) == []


def test_dropping_a_record_keeps_logs_that_may_not_have_been_sent(tmp_path: Path) -> None:
    records = Records(tmp_path, "n1")
    records.save(a_record(tmp_path))
    folder = records.folder("job-1")
    (folder / "rank-0.stdout").write_text("kept")
    (folder / "rank-0.cwd").mkdir()
    records.drop("job-1")
    assert [path.name for path in folder.iterdir()] == ["rank-0.stdout"]
    (folder / "rank-0.stdout").unlink()
    records.drop("job-1")
    assert not folder.exists()


def test_an_unreadable_record_is_set_aside(tmp_path: Path) -> None:
    records = Records(tmp_path, "n1")
    records.save(a_record(tmp_path))
    path = records.folder("job-1") / "record.json"
    path.write_text('{"order": nul')
    assert list(records.load()) == []
    assert path.with_suffix(".unreadable").exists()


async def read_all(data: bytes) -> list[wire.Message | None]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    messages = [await wire.read(reader)]
    while messages[-1] is not None:
        messages.append(await wire.read(reader))
    return messages


async def test_messages_come_back_one_by_one() -> None:
    first, second = {"kind": "a", "text": "西算"}, {"kind": "b"}
    data = wire.encode(first) + wire.encode(second)
    assert await read_all(data) == [first, second, None]
    assert await read_all(data[:-1]) == [first, None]


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\x02[]", b"\0\0\0\x03{ab"])
async def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        await read_all(data)
