"""`westward events` and `westward rounds` as people follow them."""

import json
from datetime import timedelta

import pytest

from scheduler.cli import watch
from scheduler.cli.main import main
from tests.fakes import canned, canned_events
from tests.fakes.fake_scheduler import FakeScheduler
from westward.v1 import event_pb2

Capture = pytest.CaptureFixture[str]
AUDIT = canned_events.audit()


def told(number: int) -> event_pb2.WatchEventsResponse:
    return event_pb2.WatchEventsResponse(event=AUDIT[number], position=f"8.{number}")


def test_pages_are_read_as_one_list_oldest_first(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["events", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["events"]
    assert [item["event"] for item in found] == [event.event for event in AUDIT]
    assert main(["events", "-n", "2", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["events"]
    assert [item["event"] for item in found] == ["FAILED", "STOPPED"]


def test_what_is_asked_for_is_asked_of_the_scheduler(fake: FakeScheduler, capsys: Capture) -> None:
    argv = ["--job", "llama-sft", "--cluster", "qingyang", "--since", "2h"]
    assert main(["events", *argv]) == 0
    asked = fake.event_requests[0]
    assert (asked.job_id, asked.cluster) == (canned.jobs()[0].id, "qingyang")
    assert asked.since_at.ToDatetime() == canned.NOW.replace(tzinfo=None) - timedelta(hours=2)
    assert main(["events", "--since", "2026-11-20T18:00+08:00"]) == 0
    assert fake.event_requests[-1].since_at.ToDatetime().hour == 10
    assert main(["events", "--node", "nobody"]) == 0
    assert "No such events." in capsys.readouterr().out


@pytest.mark.parametrize("since", ["yesterday", "2026-11-20T18:00", "2026-13-41", "99999999999d"])
def test_a_time_that_is_none_says_how_to_write_one(
    since: str, fake: FakeScheduler, capsys: Capture
) -> None:
    assert main(["events", "--since", since]) == 2
    assert "write 2h, 30m, 7d" in capsys.readouterr().err


def test_following_goes_on_after_a_break_without_a_gap(
    fake: FakeScheduler, capsys: Capture
) -> None:
    fake.happenings = [[told(0), told(1)], [told(2)]]
    assert main(["events", "-n", "1", "-f"]) == 130
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith("scheduler  scheduler  STOPPED  asked to stop")
    assert fake.afters == ["7.9", "8.1"], "first after the list, then after what was seen"


def test_followed_events_are_a_line_of_json_each(fake: FakeScheduler, capsys: Capture) -> None:
    fake.happenings = [[told(0)]]
    assert main(["events", "-n", "1", "-f", "-o", "json"]) == 130
    found = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert found == ["STOPPED", "JOINED"]


def test_a_round_that_is_not_there(fake: FakeScheduler, capsys: Capture) -> None:
    assert main(["rounds", "39"]) == 3
    assert "no round 39" in capsys.readouterr().err


def test_rounds_can_be_watched_with_and_without_seconds(
    fake: FakeScheduler, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def stop(seconds: float) -> None:
        slept.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", stop)
    assert main(["rounds", "--watch"]) == 0
    assert main(["rounds", "-n", "5", "-w", "7"]) == 0
    assert slept == [watch.EVERY_DEFAULT_S, 7]
    assert capsys.readouterr().out.count("NOWHERE") == 4
