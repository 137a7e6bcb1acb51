"""Archives from strangers."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.executor import archive
from agents.executor.archive import ArchiveError


def tar_of(*members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def a_file(name: str, size: int = 1) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def a_link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    return member


def a_device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


def test_files_and_inner_links_are_unpacked(tmp_path: Path) -> None:
    archive.unpack(tar_of(a_file("a/b", 3), a_link("a/c", "b")), tmp_path)
    assert (tmp_path / "a" / "c").read_bytes() == b"xxx"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: tar_of(a_file("../out")), "out"),
        (lambda: tar_of(a_link("a", "/etc/passwd")), "absolute"),
        (lambda: tar_of(a_link("a", "../../x")), "outside"),
        (lambda: tar_of(a_device("tty")), "special file"),
        (lambda: b"not an archive", "gzip"),
        (lambda: tar_of(a_file("a"), mode="w"), "gzip"),
        (lambda: tar_of(a_file("a", 100_000))[:60], "unpacked"),
    ],
)
def test_what_is_refused(make: Callable[[], bytes], told: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(ArchiveError, match=told):
        archive.unpack(make(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]


def a_header(kind: bytes, size: int) -> bytes:
    """An archive that is one header, of any size."""
    member = tarfile.TarInfo("a")
    member.type, member.size = kind, size
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (a_header(tarfile.REGTYPE, -512), "-512 bytes"),
        (a_header(tarfile.GNUTYPE_LONGNAME, 2**33), "claims 8589934592 bytes"),
        (a_header(tarfile.XHDTYPE, -512), "claims -512 bytes"),
    ],
)
def test_lengths_that_lie_are_refused(hostile: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=told):
        archive.unpack(hostile, tmp_path)


def test_headers_within_headers_are_refused(tmp_path: Path) -> None:
    nested = tarfile.TarInfo("a")
    nested.type = tarfile.XHDTYPE
    with pytest.raises(ArchiveError, match="recursion"):
        archive.unpack(gzip.compress(nested.tobuf() * 5000), tmp_path)


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES_MAX", 1000)
    with pytest.raises(ArchiveError, match="1002 bytes or more"):
        archive.unpack(tar_of(a_file("a", 501), a_file("b", 501)), tmp_path)
    monkeypatch.setattr(archive, "MEMBERS_MAX", 2)
    with pytest.raises(ArchiveError, match="more than 2 files"):
        archive.unpack(tar_of(a_file("a"), a_file("b"), a_file("c")), tmp_path)
