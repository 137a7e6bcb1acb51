"""What a scheduler's configuration refuses."""

from pathlib import Path

import pytest

from scheduler.config import ConfigError, load


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
