"""Packs a working directory: the same content always gives the same bytes, and so the same hash."""

import gzip
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Self, cast

from westward.v1 import job_pb2

MAX_BYTES = 64 << 20
IGNORE_FILE = ".westwardignore"
# Never wanted on a worker, and different on every machine.
ALWAYS_IGNORED = frozenset({".git", "__pycache__", IGNORE_FILE})
_CHUNK_BYTES = 512 << 10
_IN_MEMORY_BYTES = 8 << 20


class WorkingDirError(ValueError):
    """A working directory that cannot be shipped; the message names the file and the fix."""


@dataclass(frozen=True, slots=True)
class PackedDir:
    """A gzip-compressed tar in a temporary file, gone when closed."""

    sha256: str
    size_bytes: int
    file: IO[bytes]

    def requests(self) -> Iterator[job_pb2.UploadWorkingDirRequest]:
        """The messages of an upload: the hash first, so that the scheduler can answer at once
        when it has the content."""
        yield job_pb2.UploadWorkingDirRequest(sha256=self.sha256, size_bytes=self.size_bytes)
        self.file.seek(0)
        while data := self.file.read(_CHUNK_BYTES):
            yield job_pb2.UploadWorkingDirRequest(data=data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def pack(directory: Path) -> PackedDir:
    """Packs what ``.westwardignore`` leaves of a directory: names in order, no owners, no times.

    Raises:
        WorkingDirError: larger than 64 MiB compressed, a link that leads outside, a socket or
            device, or a file that cannot be read.
    """
    ignored = _patterns(directory)
    target = _Bounded(directory)
    zipped = gzip.GzipFile(filename="", mode="wb", fileobj=cast(IO[bytes], target), mtime=0)
    try:
        with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _walk(directory, directory, ignored):
                _add(tar, directory, path)
    except OSError as error:
        target.file.close()
        raise WorkingDirError(f"working_dir {directory}: {error}") from error
    except WorkingDirError:
        target.file.close()
        raise
    return PackedDir(target.digest.hexdigest(), target.size_bytes, target.file)


class _Bounded:
    """Takes what gzip writes, counts and hashes it, and refuses to grow beyond the limit."""

    def __init__(self, directory: Path) -> None:
        # Whoever takes the PackedDir closes it.
        spooled = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self.file = cast(IO[bytes], spooled)
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._directory = directory

    def write(self, data: bytes) -> int:
        self.size_bytes += len(data)
        if self.size_bytes > MAX_BYTES:
            raise WorkingDirError(
                f"working_dir {self._directory} is larger than {MAX_BYTES >> 20} MiB compressed; "
                f"name what the job does not need in {IGNORE_FILE}, or list large data under `data`"
            )
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _patterns(directory: Path) -> list[str]:
    file = directory / IGNORE_FILE
    if not file.is_file():
        return []
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    for pattern in patterns:
        if pattern.startswith("!"):
            raise WorkingDirError(f"{file}: {pattern!r}: exceptions (!) are not supported")
    return patterns


def _ignored(name: str, is_dir: bool, patterns: list[str]) -> bool:
    """``name`` is relative, with slashes. A pattern with a slash inside counts from the top, one
    without matches at any depth; one that ends in a slash matches directories only."""
    base = name.rsplit("/", 1)[-1]
    if base in ALWAYS_IGNORED:
        return True
    for pattern in patterns:
        if pattern.endswith("/") and not is_dir:
            continue
        bare = pattern.rstrip("/")
        against = name if "/" in bare else base
        if fnmatchcase(against, bare.lstrip("/")):
            return True
    return False


def _walk(top: Path, folder: Path, patterns: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        is_dir = path.is_dir() and not path.is_symlink()
        if _ignored(path.relative_to(top).as_posix(), is_dir, patterns):
            continue
        yield path
        if is_dir:
            yield from _walk(top, path, patterns)


def _add(tar: tarfile.TarFile, top: Path, path: Path) -> None:
    info = tar.gettarinfo(path, arcname=path.relative_to(top).as_posix())
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    # Hard links depend on the order of the walk and on what else shares the inode: ship content.
    if info.islnk():
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    executable = bool(info.mode & stat.S_IXUSR)
    info.mode = 0o755 if info.isdir() or executable else 0o644
    if info.issym():
        target = Path(os.path.normpath(path.parent / info.linkname))
        if Path(info.linkname).is_absolute() or not target.is_relative_to(os.path.normpath(top)):
            raise WorkingDirError(f"{path} links outside of the working directory: {info.linkname}")
        tar.addfile(info)
    elif info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    elif info.isdir():
        tar.addfile(info)
    else:
        raise WorkingDirError(f"{path} is neither a file nor a directory; name it in {IGNORE_FILE}")
