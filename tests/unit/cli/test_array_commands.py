"""Arrays on the command line: named by id, name or beginning, listed, watched, read, cancelled."""

import json
import socket
from pathlib import Path

import pytest

from scheduler.cli import tasks as tasks_command
from scheduler.cli.main import main
from tests.fakes import canned
from tests.fakes.fake_scheduler import FakeScheduler
from westward.v1 import job_pb2

Capture = pytest.CaptureFixture[str]
SECOND, FIRST = canned.chunks()
ARRAY = FIRST.array_id


@pytest.fixture(autouse=True)
def sweep(fake: FakeScheduler) -> FakeScheduler:
    fake.jobs = {job.id: job for job in [*canned.chunks(), *canned.jobs()]}
    return fake


@pytest.mark.parametrize("called", [ARRAY, "sweep", ARRAY[:-1]])
def test_tasks_of_an_array(called: str, capsys: Capture) -> None:
    assert main(["tasks", called]) == 0
    bar, head, *rows = capsys.readouterr().out.splitlines()
    assert "997 of 1500 succeeded, 1 failed, 1 running, 501 pending" in bar
    assert head.split() == ["TASK", "STATE", "TRIES", "EXIT", "NODE", "STARTED", "TOOK"]
    assert [row.split()[:2] for row in rows] == [
        ["17", "failed"],
        ["18", "succeeded"],
        ["998", "running"],
        ["1000", "pending"],
    ]


def test_tasks_of_a_cancelled_array_wait_no_more(fake: FakeScheduler, capsys: Capture) -> None:
    for chunk in (FIRST, SECOND):
        ended = job_pb2.Job()
        ended.CopyFrom(chunk)
        ended.state = job_pb2.JOB_STATE_CANCELLED
        total, done = chunk.tasks.total, chunk.tasks.succeeded
        counts = job_pb2.TaskCounts(total=total, succeeded=done, unfinished=total - done)
        ended.tasks.CopyFrom(counts)
        fake.jobs[ended.id] = ended
    assert main(["job", "sweep"]) == 0
    assert "997 of 1500 succeeded, 503 unfinished\n" in capsys.readouterr().out
    assert main(["tasks", "sweep", "--state", "unfinished"]) == 0


def test_tasks_are_filtered_and_cut(capsys: Capture) -> None:
    assert main(["tasks", "sweep", "--state", "failed", "-s", "running", "-o", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [task["index"] for task in answer["tasks"]] == [17, 998]
    assert answer["counts"]["total"] == 1500
    assert main(["tasks", FIRST.id, "-n", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "more" in err


def test_a_job_without_tasks_says_so(capsys: Capture) -> None:
    assert main(["tasks", "llama-sft"]) == 2
    assert "is no array" in capsys.readouterr().err


def test_an_array_is_shown_by_its_chunks(capsys: Capture) -> None:
    for argv in (["job", "sweep"], ["jobs", "--array", SECOND.id]):
        assert main(argv) == 0
        out = capsys.readouterr().out
        assert "sweep [0-999]" in out
        assert "997/1000, 1 failed" in out
        assert "llama-sft" not in out
    assert main(["job", ARRAY, "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["jobs"]
    assert [job["id"] for job in listed] == [FIRST.id, SECOND.id]
    assert main(["jobs", "--array", "llama-sft"]) == 2
    assert "is no array" in capsys.readouterr().err


def test_what_is_for_one_job_refuses_an_array(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["job", "suspend", "sweep"]) == 2
    assert f"{ARRAY} is an array; name one of its chunks" in capsys.readouterr().err


def test_an_array_is_cancelled_as_one(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["cancel", "sweep", "--reason", "typo"]) == 0
    assert fake.cancelled == [(ARRAY, "typo")]
    assert fake.metadata["westward-actor"].endswith(f"@{socket.gethostname()}")
    assert capsys.readouterr().out == f"{ARRAY}  sweep  cancelling\n"
    # Whatever became of the first chunk before.
    fake.jobs[FIRST.id].state = job_pb2.JOB_STATE_FAILED
    assert main(["cancel", "sweep"]) == 0
    assert capsys.readouterr().out == f"{ARRAY}  sweep  cancelling\n"
    fake.jobs[SECOND.id].state = job_pb2.JOB_STATE_CANCELLED
    assert main(["cancel", "sweep"]) == 0
    assert capsys.readouterr().out == f"{ARRAY}  sweep  cancelled\n"


def test_the_output_of_one_task(
    fake: FakeScheduler, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    piece = job_pb2.LogsResponse(
        attempt_id="x-1", rank=1, stream=job_pb2.LOG_STREAM_STDOUT, offset=900, data=b"seed 17\n"
    )
    fake.pieces = [[piece]]
    assert main(["logs", "sweep", "--task", "17"]) == 0
    assert capfdbinary.readouterr().out == b"seed 17\n"
    [request] = fake.log_requests
    assert (request.job_id, request.HasField("task"), request.task) == (ARRAY, True, 17)


def test_progress_is_told_until_all_chunks_have_ended(
    fake: FakeScheduler, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_again(_: float) -> None:
        for job_id, failed in ((FIRST.id, 1), (SECOND.id, 0)):
            job = fake.jobs[job_id]
            job.state = job_pb2.JOB_STATE_FAILED if failed else job_pb2.JOB_STATE_SUCCEEDED
            total = job.tasks.total
            counts = job_pb2.TaskCounts(total=total, succeeded=total - failed, failed=failed)
            job.tasks.CopyFrom(counts)

    monkeypatch.setattr(tasks_command.time, "sleep", look_again)
    assert main(["tasks", "sweep", "--watch"]) == 1
    first, last, hint = capsys.readouterr().out.splitlines()
    assert "997 of 1500 succeeded, 1 failed, 2 running, 500 pending" in first
    assert "1499 of 1500 succeeded, 1 failed" in last
    assert "--state failed" in hint
    assert main(["tasks", SECOND.id, "--watch", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["succeeded"] == 500


def test_a_submitted_array_is_watched_chunk_by_chunk(
    fake: FakeScheduler, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: sweep\ntenant: t\nregion: shanghai\ncommand: x\nduration: 1s\n"
        "array: {tasks: 1500, chunk_tasks: 1000}\n"
    )
    assert main(["submit", str(file)]) == 0
    out = capsys.readouterr().out
    assert "sweep  1500 tasks in 2 chunks  submitted from shanghai" in out
    done = [job_pb2.Job(), job_pb2.Job()]
    for job, chunk in zip(done, canned.chunks(), strict=True):
        job.CopyFrom(chunk)
        job.array_id, job.state = "new2", job_pb2.JOB_STATE_SUCCEEDED
    fake.watches = [[job_pb2.WatchResponse(job=job) for job in done]]
    assert main(["submit", str(file), "--watch"]) == 0
    assert "sweep [1000-1499]" in capsys.readouterr().out
