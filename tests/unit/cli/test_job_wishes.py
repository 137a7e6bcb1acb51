"""`westward job suspend`, `resume` and `force-retry`: what is sent, asked and answered."""

import io
import json

import pytest

from scheduler.cli.main import main
from tests.fakes import canned
from tests.fakes.fake_scheduler import FakeScheduler

Capture = pytest.CaptureFixture[str]
JOB = next(job for job in canned.jobs() if job.attempts)


def test_a_job_is_held_and_goes_on(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["job", "suspend", JOB.id, "--reason", "maintenance"]) == 0
    assert capsys.readouterr().out == f"{JOB.id}  {JOB.spec.name}  suspending\n"
    assert main(["job", "resume", JOB.id, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"]["state"] == "JOB_STATE_PENDING"
    assert fake.wishes == [
        ("SuspendRequest", JOB.id, "maintenance"),
        ("ResumeRequest", JOB.id, ""),
    ]


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 1), ("y\n", 0)])
def test_nothing_is_given_up_unasked(
    fake: FakeScheduler,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["job", "force-retry", JOB.id, "--reason", "burned down"]) == code
    out, err = capsys.readouterr()
    assert "two attempts" in err
    assert "two attempts" not in out
    assert len(fake.wishes) == (code == 0)


def test_who_says_yes_is_warned_all_the_same(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["job", "force-retry", JOB.id, "--yes", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["job"]["id"] == JOB.id
    assert err.startswith(f"Warning: The attempt at {JOB.attempts[-1].cluster} may still be alive")
    assert fake.wishes == [("ForceRetryRequest", JOB.id, "")]
