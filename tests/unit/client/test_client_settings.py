"""Settings: the environment above the file, and errors that name the key."""

from pathlib import Path

import pytest

from scheduler.client import settings
from scheduler.client.settings import SettingsError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ADDRESS", "TOKEN", "TLS_CA", "TENANT", "CONFIG"):
        monkeypatch.delenv(f"WESTWARD_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def config(tmp_path: Path, text: str) -> None:
    (tmp_path / "westward").mkdir()
    (tmp_path / "westward" / "config.yaml").write_text(text)


def test_defaults_reach_a_scheduler_on_this_machine() -> None:
    assert settings.load().address == "127.0.0.1:7443"


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path, "address: hub:1\ntenant: vision\ntoken: hush\n")
    monkeypatch.setenv("WESTWARD_ADDRESS", "other:2")
    loaded = settings.load()
    assert (loaded.address, loaded.tenant) == ("other:2", "vision")
    assert "hush" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adress: a:1\n", "adress: unknown key; did you mean 'address'?"),
        ("address: hub\n", "'hub' is not host:port"),
        ("address: [\n", "config.yaml: "),
    ],
)
def test_a_bad_file_is_named(text: str, told: str, tmp_path: Path) -> None:
    config(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert told in str(caught.value)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WESTWARD_ADDRESS", "hub")
    with pytest.raises(SettingsError, match="WESTWARD_ADDRESS: 'hub' is not host:port"):
        settings.load()


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WESTWARD_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(SettingsError, match="is not a file"):
        settings.load()
