import os
from pathlib import Path

import pytest

from agents.finding import find


def test_finds_by_pattern_in_order(tmp_path: Path) -> None:
    for name in ("b/rank-0.lock", "a/rank-1.lock", "a/other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(tmp_path, "*/rank-*.lock") == [
        tmp_path / "a" / "rank-1.lock",
        tmp_path / "b" / "rank-0.lock",
    ]
    assert find(tmp_path / "nowhere", "*/rank-*.lock") == []


def test_a_folder_that_vanishes_while_it_is_looked_into_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rank-0.lock").touch()
    listing = os.scandir

    def vanishing(where: str | int) -> object:
        if isinstance(where, str) and Path(where).name == "gone":
            (tmp_path / "gone" / "rank-0.lock").unlink(missing_ok=True)
            (tmp_path / "gone").rmdir()
        return listing(where)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert find(tmp_path, "*/rank-*.lock") == [tmp_path / "kept" / "rank-0.lock"]
