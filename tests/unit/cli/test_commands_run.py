"""The `westward` command end to end against a real socket: output, exit codes, messages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scheduler.cli.main import COMMANDS, load, main
from tests.fakes import canned
from tests.fakes.fake_scheduler import UNKNOWN_REGION, FakeScheduler
from tests.fakes.impatience import make_impatient
from westward.v1 import job_pb2

RUNNING, DEFERRED, _, FAILED, DONE = canned.jobs()
JOB = "name: {name}\ntenant: t\nregion: {region}\ncommand: x\nduration: 1m\n"
RUN = [sys.executable, "-c", "from scheduler.cli.main import main; raise SystemExit(main())"]
Capture = pytest.CaptureFixture[str]


def job_file(folder: Path, *regions: str) -> str:
    documents = [JOB.format(name=f"j{n}", region=region) for n, region in enumerate(regions)]
    file = folder / "job.yaml"
    file.write_text("---\n".join(documents))
    return str(file)


def watched(job_id: str, *states: job_pb2.JobState.ValueType) -> list[job_pb2.WatchResponse]:
    return [
        job_pb2.WatchResponse(
            job=job_pb2.Job(
                id=job_id, spec=canned.spec("j0"), state=state, version=n,
                reason=canned.reason("OK", f"step {n}"), updated_at=canned.stamp(n),
            )
        )
        for n, state in enumerate(states)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "key"),
    [
        (["jobs"], "jobs"),
        (["job", RUNNING.id], "job"),
        (["explain", RUNNING.id], "explanation"),
        (["explain", RUNNING.id, "--slots", "--now"], "starts"),
        (["why", RUNNING.id], "why"),
        (["clusters"], "clusters"),
        (["nodes"], "nodes"),
        (["placements"], "placements"),
        (["rounds"], "rounds"),
        (["rounds", "41"], "round"),
        (["events"], "events"),
        (["cancel", RUNNING.id], "job"),
    ],
)
def test_json_and_yaml_are_the_answer_of_the_wire(
    argv: list[str], key: str, fake: FakeScheduler, capsys: Capture
) -> None:
    assert main([*argv, "-o", "json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main([*argv, "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == as_json
    assert as_json[key]
    assert main(argv) == 0
    assert capsys.readouterr().out.strip()


def test_a_round_is_exported_to_a_file(
    fake: FakeScheduler, capsys: Capture, tmp_path: Path
) -> None:
    file = tmp_path / "round.json.gz"
    assert main(["rounds", "export", "41", "-f", str(file)]) == 0
    assert file.read_bytes() == b"all of round 41"
    assert f"westward rounds replay {file}" in capsys.readouterr().out
    assert main(["rounds", "export", "40", "-f", str(file)]) == 3
    assert main(["rounds", "export", "-f", str(tmp_path / "no" / "folder")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_in_a_pipe_every_job_is_one_whole_line(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["jobs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "JOB"
    assert [row.split()[0] for row in rows] == [job.id for job in canned.jobs()]
    assert DEFERRED.reason.message in rows[1]


def test_jobs_are_filtered_and_cut(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["jobs", "--state", "failed", "-s", "running"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    for output in ("table", "json"):
        assert main(["jobs", "-n", "1", "-o", output]) == 0
        out, err = capsys.readouterr()
        assert "more" in err, "neither people nor programs take a part for the whole"
        assert "more" not in out


@pytest.mark.parametrize("called", [RUNNING.id, "llama-sft", RUNNING.id[:10]])
def test_a_job_goes_by_id_name_or_beginning(
    called: str, fake: FakeScheduler, capsys: Capture
) -> None:
    assert main(["job", called]) == 0
    assert RUNNING.id in capsys.readouterr().out


def test_an_ambiguous_beginning_lists_who_is_meant(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["job", "1k7dq3m8t9"]) == 2
    told = capsys.readouterr().err
    assert "2 jobs" in told
    assert DEFERRED.id in told


def test_an_unknown_job_is_3(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["explain", "nobody"]) == 3
    assert capsys.readouterr().err == (
        "Error: no job has the id or name 'nobody'; see `westward jobs`\n"
    )


def test_a_job_named_like_a_subcommand_is_reached(fake: FakeScheduler, capsys: Capture) -> None:
    fake.jobs["s"] = job_pb2.Job(id="s", spec=canned.spec("schema"))
    assert main(["job", "show", "schema"]) == 0
    assert "schema" in capsys.readouterr().out
    assert main(["job", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Westward job"


def test_submit_sends_every_document(fake: FakeScheduler, capsys: Capture, tmp_path: Path) -> None:
    assert main(["submit", job_file(tmp_path, "shanghai", "beijing"), "--key", "k"]) == 0
    assert [spec.region for spec in fake.specs] == ["shanghai", "beijing"]
    assert set(fake.keys) == {"k-1", "k-2"}
    assert capsys.readouterr().out.splitlines()[0].startswith("new1  j0  submitted")


def test_a_bad_file_sends_nothing(fake: FakeScheduler, capsys: Capture, tmp_path: Path) -> None:
    good, bad = job_file(tmp_path, "shanghai"), tmp_path / "bad.yaml"
    bad.write_text("nmae: x\n")
    assert main(["submit", good, str(bad)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: nothing was submitted; ")
    assert f"  {bad}:1: nmae: unknown field; did you mean 'name'?" in told
    assert not fake.specs


def test_what_the_scheduler_refuses_is_told_at_its_line(
    fake: FakeScheduler, capsys: Capture, tmp_path: Path
) -> None:
    file = job_file(tmp_path, "shanghai", UNKNOWN_REGION)
    assert main(["submit", file]) == 1
    assert f"{file}:9: region: unknown region" in capsys.readouterr().err
    assert main(["submit", job_file(tmp_path, UNKNOWN_REGION)]) == 2


def test_watch_tells_every_change_and_the_outcome(
    fake: FakeScheduler, capsys: Capture, tmp_path: Path
) -> None:
    running, done = job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_SUCCEEDED
    fake.watches = [watched("new1", running, done)]
    assert main(["submit", job_file(tmp_path, "shanghai"), "--watch"]) == 0
    out = capsys.readouterr().out
    assert "running  step 0" in out
    assert "succeeded  step 1" in out
    fake.watches = [watched("new2", running, job_pb2.JOB_STATE_FAILED)]
    assert main(["submit", job_file(tmp_path, "shanghai"), "--watch", "-o", "json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["job"]["state"] for line in lines] == ["JOB_STATE_RUNNING", "JOB_STATE_FAILED"]


def pieces(job_id: str) -> list[job_pb2.LogsResponse]:
    out, err = job_pb2.LOG_STREAM_STDOUT, job_pb2.LOG_STREAM_STDERR
    made = [(0, out, b"one\ntw"), (1, out, b"\xff\x00\n"), (0, out, b"o\nend"), (1, err, b"oh\n")]
    offsets: dict[tuple[int, int], int] = {}
    answers = []
    for rank, stream, data in made:
        offset = offsets.get((rank, stream), 0)
        offsets[rank, stream] = offset + len(data)
        answers.append(
            job_pb2.LogsResponse(
                attempt_id=f"{job_id}-1", rank=rank, stream=stream, offset=offset, data=data
            )
        )
    return answers


def test_logs_of_several_workers_carry_the_rank(
    fake: FakeScheduler, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fake.pieces = [pieces(RUNNING.id)]
    assert main(["logs", RUNNING.id]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"[0] one\n[1] \xff\x00\n[0] two\n[0] end\n"
    assert err == b"[1] oh\n"


def test_logs_of_one_worker_are_its_bytes(
    fake: FakeScheduler, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fake.pieces = [pieces(FAILED.id)]
    assert main(["logs", FAILED.id]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"one\ntw\xff\x00\no\nend"
    assert err == b"oh\n"


def test_cancel_passes_the_reason_on(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["cancel", RUNNING.id, "nightly-embeddings", "--reason", "wrong data"]) == 0
    assert fake.cancelled == [(RUNNING.id, "wrong data"), (DEFERRED.id, "wrong data")]
    assert "cancelling" in capsys.readouterr().out


def test_a_job_that_has_ended_does_not_keep_others_from_being_cancelled(
    fake: FakeScheduler, capsys: Capture
) -> None:
    assert main(["cancel", DONE.id, RUNNING.id]) == 1
    assert fake.cancelled == [(RUNNING.id, "")]
    assert f"{DONE.id} is already SUCCEEDED" in capsys.readouterr().err
    assert main(["cancel", DONE.id]) == 2


def test_logs_of_a_job_that_has_not_started_say_so(fake: FakeScheduler, capsys: Capture) -> None:
    fake.pieces = [[]]
    assert main(["logs", DEFERRED.id]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"Job {DEFERRED.id} has not started; why: westward explain {DEFERRED.id}\n"


def test_no_name_is_no_job(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["job", ""]) == 3
    assert "no job is called ''" in capsys.readouterr().err


def test_a_scheduler_that_is_not_there_is_4(
    fake: FakeScheduler, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    make_impatient(monkeypatch)
    monkeypatch.setenv("WESTWARD_ADDRESS", "127.0.0.1:1")
    assert main(["clusters"]) == 4
    told = capsys.readouterr().err
    assert "the scheduler at 127.0.0.1:1 cannot be reached: Connection refused" in told
    assert "The address comes from WESTWARD_ADDRESS" in told


def test_bad_settings_are_2(
    fake: FakeScheduler, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for wrong in ("nowhere", "http://127.0.0.1:80"):
        monkeypatch.setenv("WESTWARD_ADDRESS", wrong)
        assert main(["clusters"]) == 2
        assert f"WESTWARD_ADDRESS: {wrong!r} is not host:port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["jbos"], ["jobs", "--state", "lost"], ["gateway", "--region", "a", "--delay", "x"]]
)
def test_wrong_usage_is_2(argv: list[str], capsys: Capture) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err


def test_ctrl_c_ends_the_watching_not_the_job(fake: FakeScheduler, tmp_path: Path) -> None:
    fake.watches, fake.held = [watched("new1", job_pb2.JOB_STATE_RUNNING)], True
    argv = [*RUN, "submit", job_file(tmp_path, "shanghai"), "--watch"]
    with subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        while "running" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == (
            "Stopped watching; job new1 goes on. To end it: westward cancel new1\n"
        )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys; from scheduler.cli.main import main; main(['--help']); "
        "print([m for m in ('grpc', 'pydantic', 'ray', 'ortools', 'sqlmodel') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_the_overview_says(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert COMMANDS[name][1] in told
    assert "Examples:" in told
    assert load(name).name == name


def test_a_policy_file_is_checked_without_a_scheduler(tmp_path: Path, capsys: Capture) -> None:
    assert main(["policy", "check", "examples/policies.yaml"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert ["carbon_yuan_per_kg", "*", "0.08", "0"] in [t.split() for t in told]
    assert ["moving_yuan", "1", "1"] in [t.split() for t in told]
    assert any(t.startswith("render-farm") and "from 10: 0.01, late 30" in t for t in told)
    assert any(t.startswith("horinger/hh-17") and t.endswith("new fans") for t in told)
    bad = tmp_path / "policies.yaml"
    bad.write_text("weights: {moving: 1}\n")
    assert main(["policy", "check", str(bad)]) == 2
    assert "weights.moving = 1: no such key" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_key_submits_nothing(
    key: str, fake: FakeScheduler, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["submit", job_file(tmp_path, "shanghai"), "--key", key]) == 2
    assert "--key: is empty" in capsys.readouterr().err
    assert not fake.specs
