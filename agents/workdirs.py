"""Working directories: fetched from the scheduler once per content, kept on disk by hash."""

import asyncio
import hashlib
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog

from agents.link import Session
from agents.waiting import wait
from agents.wire import Terms
from westward.v1 import node_pb2

log = structlog.get_logger()

# An archive that arrives damaged is asked for again, so many times in all.
TRIES = 3
# Asked for again when nothing came for so long on an open stream.
STALLED_S = 20.0
ARCHIVE_LIMIT_BYTES = 1024**3
# Above this, the archives that were not used for longest are dropped.
CACHE_LIMIT_BYTES = 8 * 1024**3


class WorkingDirError(Exception):
    """A working directory is not to be had; the message says why."""


@dataclass(slots=True)
class _Fetch:
    """One archive on its way; ``asked_at_s`` is None until this stream was asked for it."""

    path: Path
    done: asyncio.Future[Path]
    tries: int = 0
    asked_at_s: float | None = None
    size_bytes: int = 0
    file: BinaryIO | None = None
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def partial(self) -> Path:
        return self.path.with_suffix(".partial")

    def reset(self) -> None:
        """Drops what has arrived."""
        if self.file is not None:
            self.file.close()
            self.partial.unlink(missing_ok=True)
        self.file, self.size_bytes, self.digest = None, 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        if self.file is None:
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.partial.open("wb")
        self.file.write(data)
        self.digest.update(data)
        self.size_bytes += len(data)

    def finish(self) -> bool:
        """Puts the archive in its place if its content is what its name says."""
        self.write(b"")
        if self.file is None or self.digest.hexdigest() != self.path.name.partition(".")[0]:
            return False
        self.file.close()
        self.file = None
        self.partial.replace(self.path)
        return True


class WorkingDirs:
    """The cache of one node. An archive under its name has been verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fetches: dict[str, _Fetch] = {}
        self._news = asyncio.Event()

    async def get(self, sha256: str) -> Path:
        """The archive (a gzip-compressed tar), once it is here; waits for a stream if need be.

        Raises:
            WorkingDirError: the scheduler does not have it, or it keeps arriving damaged.
        """
        path = self._folder / f"{sha256}.tar.gz"
        if path.is_file():
            path.touch()
            return path
        if sha256 not in self._fetches:
            self._fetches[sha256] = _Fetch(path, asyncio.get_running_loop().create_future())
            self._news.set()
        return await asyncio.shield(self._fetches[sha256].done)

    async def run(self, session: Session, terms: Terms) -> None:
        """Asks for what is missing, on every stream anew, until cancelled."""
        loop = asyncio.get_running_loop()
        for fetch in self._fetches.values():
            fetch.asked_at_s = None
        await asyncio.to_thread(_drop_leftovers, self._folder, set(self._fetches))
        while True:
            self._news.clear()
            for sha256, fetch in list(self._fetches.items()):
                asked_at_s = fetch.asked_at_s
                if asked_at_s is None or loop.time() - asked_at_s > STALLED_S:
                    fetch.reset()
                    fetch.asked_at_s = loop.time()
                    await session.send(
                        working_dir_request=node_pb2.WorkingDirRequest(sha256=sha256)
                    )
            await wait(self._news, STALLED_S / 4)

    async def on_chunk(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes the next piece; pieces that nobody waits for are dropped."""
        chunk = message.working_dir_chunk
        fetch = self._fetches.get(chunk.sha256)
        if fetch is None or fetch.asked_at_s is None:
            return
        fetch.asked_at_s = asyncio.get_running_loop().time()
        if chunk.error:
            self._fail(chunk.sha256, f"the scheduler cannot give it: {chunk.error}")
        elif chunk.offset > 0 and fetch.size_bytes == 0:
            return  # the rest of an answer that was given up
        elif chunk.offset > 0 and chunk.offset != fetch.size_bytes:
            self._again(chunk.sha256, f"byte {chunk.offset} came after {fetch.size_bytes}")
        elif fetch.size_bytes + len(chunk.data) > ARCHIVE_LIMIT_BYTES:
            self._fail(chunk.sha256, f"larger than {ARCHIVE_LIMIT_BYTES} bytes")
        else:
            await self._take(fetch, chunk)

    async def _take(self, fetch: _Fetch, chunk: node_pb2.WorkingDirChunk) -> None:
        try:
            if chunk.offset == 0:
                fetch.reset()
            await asyncio.to_thread(fetch.write, chunk.data)
            if not chunk.end:
                return
            complete = await asyncio.to_thread(fetch.finish)
        except OSError as error:
            self._fail(chunk.sha256, f"cannot be kept on disk: {error}")
            return
        if not complete:
            self._again(chunk.sha256, "its content has another hash")
            return
        del self._fetches[chunk.sha256]
        fetch.done.set_result(fetch.path)
        await asyncio.to_thread(_prune, self._folder, keep=fetch.path)

    def _again(self, sha256: str, why: str) -> None:
        fetch = self._fetches[sha256]
        fetch.reset()
        fetch.tries += 1
        if fetch.tries >= TRIES:
            self._fail(sha256, f"arrived damaged {TRIES} times, last: {why}")
            return
        log.warning("working_dir_damaged", sha256=sha256, why=why)
        fetch.asked_at_s = None
        self._news.set()

    def _fail(self, sha256: str, why: str) -> None:
        fetch = self._fetches.pop(sha256)
        fetch.reset()
        fetch.done.set_exception(WorkingDirError(f"working directory {sha256[:12]}…: {why}"))
        # Nobody may be waiting any more.
        fetch.done.exception()


def _drop_leftovers(folder: Path, wanted: Set[str]) -> None:
    """Deletes what a daemon that was killed had fetched in part."""
    for partial in folder.glob("*.partial"):
        if partial.name.partition(".")[0] not in wanted:
            partial.unlink(missing_ok=True)


def _prune(folder: Path, *, keep: Path) -> None:
    archives = sorted(folder.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    total_bytes = sum(path.stat().st_size for path in archives)
    for path in archives:
        if total_bytes <= CACHE_LIMIT_BYTES:
            return
        if path != keep:
            total_bytes -= path.stat().st_size
            path.unlink()
