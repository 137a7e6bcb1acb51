"""Packing a working directory: same content, same hash; nothing that should stay behind."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from scheduler.client import workdir
from scheduler.client.workdir import WorkingDirError, pack


def filled(folder: Path) -> Path:
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    (folder / "sub" / "__pycache__" / "a.pyc").write_text("x")
    (folder / "train.py").write_text("print(1)")
    (folder / "sub" / "b.txt").write_text("b")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    return folder


def members(folder: Path) -> dict[str, tarfile.TarInfo]:
    with pack(folder) as packed:
        packed.file.seek(0)
        data = packed.file.read()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        return {info.name: info for info in tar}


def test_hash_and_size_are_those_of_the_bytes(tmp_path: Path) -> None:
    with pack(filled(tmp_path)) as packed:
        first, *rest = packed.requests()
        data = b"".join(item.data for item in rest)
        assert first.sha256 == packed.sha256 == hashlib.sha256(data).hexdigest()
        assert first.size_bytes == packed.size_bytes == len(data)


def test_times_owners_and_order_do_not_change_the_hash(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "one"), tmp_path / "two"
    two.mkdir()
    for name in ("train.py", "run.sh"):
        (two / name).write_bytes((one / name).read_bytes())
        os.utime(two / name, (1, 1))
    (two / "run.sh").chmod(0o755)
    (two / "sub").mkdir()
    (two / "sub" / "b.txt").write_text("b")
    with pack(one) as first, pack(two) as second:
        assert first.sha256 == second.sha256


def test_content_and_the_executable_bit_change_the_hash(tmp_path: Path) -> None:
    filled(tmp_path)
    hashes = set()
    for change in (lambda: None, lambda: (tmp_path / "train.py").chmod(0o755),
                   lambda: (tmp_path / "sub" / "b.txt").write_text("c")):  # fmt: skip
        change()
        with pack(tmp_path) as packed:
            hashes.add(packed.sha256)
    assert len(hashes) == 3


def test_git_and_caches_stay_behind(tmp_path: Path) -> None:
    assert set(members(filled(tmp_path))) == {"train.py", "run.sh", "sub", "sub/b.txt"}


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ("*.txt\n", {"train.py", "run.sh", "sub"}),
        ("# note\n\nsub/\n", {"train.py", "run.sh"}),
        ("train.py/\n", {"train.py", "run.sh", "sub", "sub/b.txt"}),
        ("/sub/*\n", {"train.py", "run.sh", "sub"}),
        ("/b.txt\n", {"train.py", "run.sh", "sub", "sub/b.txt"}),
    ],
)
def test_westwardignore(patterns: str, left: set[str], tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / ".westwardignore").write_text(patterns)
    assert set(members(tmp_path)) == left


def test_exceptions_in_westwardignore_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".westwardignore").write_text("!keep\n")
    with pytest.raises(WorkingDirError, match=r"'!keep'.*not supported"):
        pack(tmp_path)


def test_links_inside_are_kept_and_those_outside_refused(tmp_path: Path) -> None:
    top = filled(tmp_path / "top")
    (top / "sub" / "link").symlink_to("../train.py")
    assert members(top)["sub/link"].linkname == "../train.py"
    for target in ("../../secret", "/etc/passwd"):
        (top / "sub" / "out").symlink_to(target)
        with pytest.raises(WorkingDirError, match="links outside"):
            pack(top)
        (top / "sub" / "out").unlink()


def test_hard_links_are_shipped_as_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert {name: info.isreg() for name, info in members(tmp_path).items()} == {
        "a": True,
        "b": True,
    }


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WorkingDirError, match="neither a file nor a directory"):
        pack(tmp_path)


def test_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdir, "MAX_BYTES", 1 << 20)
    (tmp_path / "noise").write_bytes(os.urandom(2 << 20))
    with pytest.raises(WorkingDirError, match="larger than 1 MiB compressed"):
        pack(tmp_path)


def test_a_large_compressible_directory_is_streamed(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(4 << 20))
    with pack(tmp_path) as packed:
        assert packed.size_bytes < 100_000
        packed.file.seek(0)
        assert len(gzip.decompress(packed.file.read())) > 4 << 20
