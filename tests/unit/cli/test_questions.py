"""`westward plan` and `westward what-if` end to end: answers, exit codes, messages."""

import json
from pathlib import Path

import pytest

from scheduler.cli.main import main
from tests.fakes import canned_questions
from tests.fakes.fake_scheduler import UNKNOWN_REGION, FakeScheduler
from westward.v1 import placement_pb2, what_if_pb2

JOB = "name: {name}\ntenant: t\nregion: {region}\ncommand: x\nduration: 1m\ndeadline: +2h\n"
Capture = pytest.CaptureFixture[str]


def job_file(folder: Path, *regions: str) -> str:
    documents = [JOB.format(name=f"j{n}", region=region) for n, region in enumerate(regions)]
    file = folder / "job.yaml"
    file.write_text("---\n".join(documents) + f"working_dir: {folder}\n")
    return str(file)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (placement_pb2.OUTCOME_PLACED, 0),
        (placement_pb2.OUTCOME_PLANNED, 1),
        (placement_pb2.OUTCOME_UNPLACED, 2),
    ],
)
def test_the_exit_code_is_the_answer(
    outcome: placement_pb2.Outcome.ValueType,
    code: int,
    fake: FakeScheduler,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    fake.preview.jobs[0].outcome = outcome
    assert main(["plan", "-f", job_file(tmp_path, "shanghai")]) == code
    assert "j0 " in capsys.readouterr().out


def test_the_worst_of_several_jobs_is_the_answer(fake: FakeScheduler, tmp_path: Path) -> None:
    fake.preview.jobs.append(fake.preview.jobs[0])
    fake.preview.jobs[1].outcome = placement_pb2.OUTCOME_PLANNED
    assert main(["plan", "-f", job_file(tmp_path, "shanghai", "beijing")]) == 1
    [request] = fake.previews
    assert [spec.region for spec in request.specs] == ["shanghai", "beijing"]


def test_a_plan_stores_nothing_and_a_token_is_passed_on(
    fake: FakeScheduler, tmp_path: Path, capsys: Capture
) -> None:
    file = job_file(tmp_path, "shanghai")
    assert main(["plan", "-f", file]) == 0
    assert (fake.specs, fake.dirs) == ([], {})
    shown = capsys.readouterr().out
    assert f"westward submit {file} --plan \\\n    {canned_questions.TOKEN}\n" in shown
    assert main(["submit", file, "--plan", canned_questions.TOKEN]) == 0
    assert fake.tokens == [canned_questions.TOKEN]
    assert capsys.readouterr().out.startswith("new1  j0  submitted")


def test_a_token_that_does_not_hold_shows_both_answers(
    fake: FakeScheduler, tmp_path: Path, capsys: Capture
) -> None:
    assert main(["submit", job_file(tmp_path, "shanghai"), "--plan", "plan.old"]) == 2
    told = capsys.readouterr().err
    assert told == "Error: the plan was qingyang A800 at once; it would now be nowhere\n"
    assert not fake.specs


def test_a_token_is_of_one_job(fake: FakeScheduler, tmp_path: Path, capsys: Capture) -> None:
    file = job_file(tmp_path, "shanghai", "beijing")
    assert main(["submit", file, "--plan", canned_questions.TOKEN]) == 2
    assert "the token is of one job, and there are 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["plan"], "Missing option '--file'"),
        (["plan", "-f", "bad.yaml"], "bad.yaml:1: nmae: unknown field; did you mean 'name'?"),
        (["plan", "-f", "none.yaml"], "none.yaml:1: "),
        (["plan", "-f", "job.yaml", "-n", "0"], "greater than or equal to 1"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_errors_of_a_plan_are_above_2(
    argv: list[str],
    told: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("nmae: x\n")
    job_file(Path(), "shanghai")
    assert main(argv) == 7
    assert told in capsys.readouterr().err


def test_what_the_scheduler_refuses_of_a_plan_is_told_at_its_line(
    fake: FakeScheduler, tmp_path: Path, capsys: Capture
) -> None:
    file = job_file(tmp_path, "shanghai", UNKNOWN_REGION)
    assert main(["plan", "-f", file]) == 7
    assert f"{file}:10: region: unknown region 'atlantis'" in capsys.readouterr().err


def test_what_if_sends_every_change_in_its_form(fake: FakeScheduler, capsys: Capture) -> None:
    argv = ["--drain", "qingyang", "--drain", "qy-1", "--price", "horinger*1.3"]
    argv += ["--green", "qingyang-40%@12:00-16:00", "--rtt", "shanghai:qingyang=25"]
    assert main(["what-if", *argv, "--add-nodes", "zhongwei:16xA800", "-n", "5"]) == 0
    [request] = fake.what_ifs
    kinds = [change.WhichOneof("change") for change in request.changes]
    assert kinds == ["price", "green", "drain", "drain", "rtt", "add_nodes"]
    green = request.changes[1].green
    assert green.until_at.seconds - green.from_at.seconds == 4 * 3600
    assert request.effects_most == 5
    told = capsys.readouterr().out
    assert "412 jobs fare otherwise" in told
    assert "… and 405 more; -n shows more, -o json all" in told


def test_json_asks_for_all_that_differs(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["what-if", "--drain", "qingyang", "-o", "json"]) == 0
    assert fake.what_ifs[0].effects_most == 0
    assert json.loads(capsys.readouterr().out)["after"]["unplaced"] == 4
    assert main(["what-if"]) == 0
    assert fake.what_ifs[1] == what_if_pb2.WhatIfRequest(effects_most=20)


def test_a_change_that_cannot_be_read_is_2_and_names_its_option(
    fake: FakeScheduler, capsys: Capture
) -> None:
    assert main(["what-if", "--rtt", "shanghai=25"]) == 2
    told = capsys.readouterr().err
    assert "--rtt: 'shanghai=25' is no round trip; write REGION:CLUSTER=MS" in told
    assert not fake.what_ifs


def test_an_empty_token_submits_nothing(
    fake: FakeScheduler, tmp_path: Path, capsys: Capture
) -> None:
    before = len(fake.jobs)
    assert main(["submit", job_file(tmp_path, "shanghai"), "--plan", ""]) == 2
    assert "is empty" in capsys.readouterr().err
    assert len(fake.jobs) == before


def test_settings_that_cannot_be_used_are_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("WESTWARD_TLS_CA", str(tmp_path / "none.pem"))
    assert main(["plan", "-f", job_file(tmp_path, "shanghai")]) == 7
    assert "tls_ca" in capsys.readouterr().err
