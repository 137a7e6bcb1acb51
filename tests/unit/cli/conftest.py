"""A scheduler of canned answers that the settings point to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.fake_scheduler import FakeScheduler, serving


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeScheduler]:
    with serving() as fake:
        for name in ("CONFIG", "TOKEN", "TLS_CA", "TENANT"):
            monkeypatch.delenv(f"WESTWARD_{name}", raising=False)
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv("WESTWARD_ADDRESS", fake.address)
        yield fake
