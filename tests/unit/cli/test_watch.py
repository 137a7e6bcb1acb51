"""Answers that are looked at again and again: what has changed, or on a terminal in its place."""

import json
from collections.abc import Callable

import pytest
import yaml

from scheduler.cli import watch
from scheduler.cli.main import main
from scheduler.client import Client, UnreachableError
from tests.fakes import canned
from tests.fakes.fake_scheduler import FakeScheduler
from westward.v1 import job_pb2

RUNNING, *_ = canned.jobs()
Capture = pytest.CaptureFixture[str]
Then = Callable[..., list[float]]


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Then:
    """What happens in each pause between two looks; after the last one somebody types Ctrl-C."""

    def script(*happens: Callable[[], object]) -> list[float]:
        left, waited = list(happens), list[float]()

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr(watch.time, "sleep", sleep)
        return waited

    return script


def nothing() -> None:
    """The world stays as it is."""


def ends(fake: FakeScheduler) -> Callable[[], None]:
    def end() -> None:
        fake.jobs[RUNNING.id] = job_pb2.Job(
            id=RUNNING.id, spec=RUNNING.spec, state=job_pb2.JOB_STATE_SUCCEEDED
        )

    return end


def test_in_a_pipe_a_table_is_printed_whenever_it_has_changed(
    fake: FakeScheduler, capsys: Capture, then: Then
) -> None:
    then(nothing, ends(fake), nothing)
    assert main(["jobs", "-s", "running", "-s", "succeeded", "--watch"]) == 0
    one, other = capsys.readouterr().out.split("\n\n")
    assert f"{RUNNING.id}  llama-sft        running" in one
    assert f"{RUNNING.id}  llama-sft        succeeded" in other


def test_programs_get_a_line_or_a_document_per_change(
    fake: FakeScheduler, capsys: Capture, then: Then
) -> None:
    then(ends(fake))
    assert main(["job", RUNNING.id, "-w", "-o", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["job"]["state"] for line in lines] == ["JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
    then(nothing)
    assert main(["clusters", "-w", "-o", "yaml"]) == 0
    [document] = list(yaml.safe_load_all(capsys.readouterr().out))
    assert document["clusters"]


def test_a_clock_that_goes_on_is_no_change(
    fake: FakeScheduler, capsys: Capture, then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = canned.clusters()
    older.now_at.seconds += 7
    older.clusters[0].silent_s += 7
    then(lambda: monkeypatch.setattr(canned, "clusters", lambda: older))
    assert main(["clusters", "-w", "-o", "json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_scheduler_that_goes_away_is_waited_for(
    fake: FakeScheduler, capsys: Capture, then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise UnreachableError("the scheduler cannot be reached: gone", code="UNAVAILABLE")

    there = Client.call
    then(
        lambda: monkeypatch.setattr(Client, "call", gone),
        nothing,
        lambda: monkeypatch.setattr(Client, "call", there),
    )
    assert main(["nodes", "--watch"]) == 0
    out, err = capsys.readouterr()
    assert err == "the scheduler cannot be reached: gone; trying again\n", "said once"
    assert out.count("NODE ") == 1, "it came back as it was"
    then()
    monkeypatch.setenv("WESTWARD_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(Client, "call", gone)
    assert main(["nodes", "--watch"]) == 4, "one that was never there is an error"


def test_on_a_terminal_it_is_drawn_in_its_place(
    fake: FakeScheduler, capsys: Capture, then: Then, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    then(nothing)
    assert main(["timeline", "--watch", "5"]) == 0
    out = capsys.readouterr().out
    assert out.count("power clock") >= 2
    assert "\x1b[1A" in out, "the cursor goes up again"
    assert "Ctrl-C ends" in out


@pytest.mark.parametrize(
    ("argv", "every_s"),
    [
        (["--watch"], 2.0),
        (["-w", "0.5"], 0.5),
        (["--watch=7"], 7.0),
        (["-o", "json", "-w"], 2.0),
        (["--watch", "--output", "json"], 2.0),
    ],
)
def test_the_seconds_may_be_left_out(
    argv: list[str], every_s: float, fake: FakeScheduler, then: Then
) -> None:
    waited = then()
    assert main(["clusters", *argv]) == 0
    assert waited == [every_s]


def test_too_often_is_refused(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["clusters", "--watch", "0"]) == 2
    assert "--watch" in capsys.readouterr().err
