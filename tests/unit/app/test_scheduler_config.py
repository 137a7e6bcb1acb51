"""What a scheduler's configuration refuses."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.config import ClockConfig, ConfigError, KeepConfig, load


def refused(tmp_path: Path, text: str) -> str:
    file = tmp_path / "scheduler.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    return str(caught.value)


@pytest.mark.parametrize("token", ["", "schlüssel", "two\\nlines"])
def test_a_token_that_would_let_in_everyone_or_nobody(tmp_path: Path, token: str) -> None:
    told = refused(tmp_path, f'token: "{token}"\n')
    assert "token = '***'" in told
    assert "schl" not in told


def test_an_empty_token_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTWARD_SCHEDULER_TOKEN", "")
    assert "token" in refused(tmp_path, "slot_s: 900\n")


def test_a_clock_without_a_time_zone(tmp_path: Path) -> None:
    assert "clock.starts_at" in refused(tmp_path, 'clock: {starts_at: "2026-06-18T10:00:00"}\n')
    file = tmp_path / "scheduler.yaml"
    file.write_text('clock: {starts_at: "2026-06-18T10:00:00+08:00"}\n')
    assert load(file).clock.starts_at is not None


def test_an_unknown_key_and_a_figure_out_of_range_are_both_told(tmp_path: Path) -> None:
    told = refused(tmp_path, "slots: 900\nhorizon_slots: 0\n")
    assert "2 thing(s) to mend" in told
    assert "slots = 900" in told and "horizon_slots = 0" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keep: {jobs_days: 1000000}", "keep.jobs_days = 1000000: .* equal to 36500"),
        ("keep: {logs_days: 36501}", "keep.logs_days = 36501: .* equal to 36500"),
        ("keep: {rounds_days: 1e300}", "keep.rounds_days = 1e300|keep.rounds_days = '1e300'"),
        ("keep: {events_days: 99999999}", "keep.events_days = 99999999: .* equal to 36500"),
        ("slot_s: 1.0e+12", "slot_s = 1000000000000.0: .* equal to 86400"),
        ("clock: {speedup: 1.0e+300}", r"clock.speedup = 1e\+300: .* equal to 1000000"),
        (
            "clock: {starts_at: 9999-12-31T23:59:00Z}",
            "clock.starts_at = .* 2020 and 2149",
        ),
        ('clock: {starts_at: "0001-01-01T00:00:00+14:00"}', "clock.starts_at = .* between 2020"),
    ],
)
def test_figures_that_no_calendar_holds(tmp_path: Path, text: str, told: str) -> None:
    assert re.search(told, refused(tmp_path, text))


def test_the_longest_that_may_be_kept_is_a_time_that_exists() -> None:
    keep = KeepConfig(jobs_days=36500, logs_days=36500, rounds_days=36500, events_days=36500)
    first_at = ClockConfig(starts_at=datetime(2020, 1, 1, tzinfo=UTC)).starts_at
    assert first_at is not None
    assert first_at - timedelta(days=keep.jobs_days)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("regions: {shanghai: [", "not YAML: .*line 1"),
        ("- listen: 127.0.0.1:7443\n", "holds list, not a mapping of keys; write"),
        ("listen", "holds str, not a mapping"),
        ("clock: {starts_at: 2026-13-01T00:00:00Z}", "not YAML: .*month"),
        ("7: 8", "7 = 8: Extra inputs"),
    ],
)
def test_a_file_that_holds_no_keys(tmp_path: Path, text: str, told: str) -> None:
    said = refused(tmp_path, text)
    assert re.search(told, said, re.DOTALL)
    assert str(tmp_path / "scheduler.yaml") in said


def test_a_file_that_nobody_may_read(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_bytes(b"listen: \xff\xfe\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(file)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text("# all as it comes\n")
    assert load(file).listen == "127.0.0.1:7443"


def test_the_environment_counts_for_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text("keep: {jobs_days: 5, logs_days: 6}\n")
    monkeypatch.setenv("WESTWARD_SCHEDULER_KEEP__JOBS_DAYS", "7")
    keep = load(file).keep
    assert (keep.jobs_days, keep.logs_days) == (7, 6)
