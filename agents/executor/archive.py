"""Unpacking a job's working directory: bytes from a stranger."""

import gzip
import io
import tarfile
from pathlib import Path

UNPACKED_BYTES_MAX = 4 * 1024**3
MEMBERS_MAX = 100_000
# Far more than a header needs; file contents are read in smaller pieces.
READ_BYTES_MAX = 4 * 1024**2


class ArchiveError(Exception):
    """The archive is broken, too big unpacked, or points outside its folder."""


class _Unzipped(gzip.GzipFile):
    """Refuses to hold in memory whatever length a header claims."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= READ_BYTES_MAX:
            raise ArchiveError(f"a header claims {size} bytes")
        return super().read(size)


def unpack(archive: bytes, folder: Path) -> None:
    """Unpacks a gzip-compressed tar into a folder.

    Python's ``data`` filter refuses absolute paths, paths and links that lead outside, and
    devices. Raises ArchiveError.
    """
    try:
        with (
            _Unzipped(fileobj=io.BytesIO(archive)) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r:") as tar,
        ):
            _unpack(tar, folder)
    except Exception as error:
        # tarfile meets hostile headers with errors of many kinds, RecursionError among them.
        raise ArchiveError(f"the working directory cannot be unpacked: {error}") from error


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    unpacked_bytes = 0
    # Member by member: the sizes are checked before their bytes are decompressed.
    for count, member in enumerate(tar, start=1):
        if member.size < 0:
            raise ArchiveError(f"{member.name!r} has {member.size} bytes")
        unpacked_bytes += member.size
        if count > MEMBERS_MAX:
            raise ArchiveError(f"it has more than {MEMBERS_MAX} files")
        if unpacked_bytes > UNPACKED_BYTES_MAX:
            raise ArchiveError(
                f"it is {unpacked_bytes} bytes or more when unpacked;"
                f" at most {UNPACKED_BYTES_MAX} are allowed"
            )
        tar.extract(member, folder, filter="data")
