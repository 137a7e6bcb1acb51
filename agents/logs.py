"""Sends what this node's workers wrote, from where the scheduler has it, never more than a bounded
number of bytes ahead of what it has stored.
"""

import asyncio
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agents.finding import find
from agents.link import Session
from agents.waiting import wait
from agents.wire import ID, Terms
from westward.v1 import job_pb2, node_pb2

log = structlog.get_logger()

CHUNK_BYTES = 64 * 1024
# Sent and not yet acknowledged: of one stream, and of all streams of this node.
STREAM_WINDOW_BYTES = 4 * CHUNK_BYTES
NODE_WINDOW_BYTES = 64 * CHUNK_BYTES
# Of each worker's stdout, and of its stderr, the first bytes are kept, and a note at the end. The
# records of an array's tasks are bounded by their number, and kept whole.
STREAM_LIMIT_BYTES = 16 * 1024 * 1024
# A file that has grown past this is cut back to the limit: no job fills its disk by printing.
FLOOD_BYTES = 2 * STREAM_LIMIT_BYTES
NOTE = f"\n[westward: only the first {STREAM_LIMIT_BYTES >> 20} MiB are kept]\n".encode()
LOOK_EVERY_S = 0.2
# While no attempt has a file here. Five looks a second, each in a thread, were most of what an idle
# daemon cost its host.
LOOK_IDLE_EVERY_S = 1.0
# Acknowledgements that come closer together than this are answered together.
GAP_S = 0.01
RESEND_AFTER_S = 10.0
RANK_DIGITS_MOST = 6

SUFFIXES = {
    "stdout": job_pb2.LOG_STREAM_STDOUT,
    "stderr": job_pb2.LOG_STREAM_STDERR,
    "tasks": job_pb2.LOG_STREAM_TASKS,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One stream of one worker."""

    attempt_id: str
    rank: int
    stream: "job_pb2.LogStream.ValueType"


@dataclass(frozen=True, slots=True)
class Tail:
    """A stream's file as it was found; ``done``: nothing more will be written."""

    path: Path
    length: int
    done: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What to send next of a stream."""

    offset: int
    length: int
    end: bool


@dataclass(slots=True)
class Outgoing:
    """How far one stream has been sent and acknowledged: pure, time is an argument."""

    acked: int = 0
    sent: int = 0
    # The first piece on a connection finds out how far the scheduler has come.
    sounding: bool = True
    # Where the stream ends, once that was sent.
    end_at: int | None = None
    ended: bool = False
    heard_at_s: float = 0.0

    def next_piece(self, tail: Tail) -> Piece | None:
        """The next piece within the window, or None while there is nothing to send."""
        in_flight = self.sent - self.acked
        if self.ended or self.end_at is not None or (self.sounding and in_flight > 0):
            return None
        room = min(CHUNK_BYTES, STREAM_WINDOW_BYTES - in_flight)
        length = max(0, min(room, tail.length - self.sent))
        end = tail.done and self.sent + length >= tail.length
        # An end without bytes waits for the acknowledgement of those before, to be told from it.
        if length == 0 and not (end and in_flight == 0):
            return None
        return Piece(self.sent, length, end)

    def note_sent(self, offset: int, *, end: bool, at_s: float) -> None:
        """Bytes up to ``offset`` were sent."""
        if self.sent == self.acked:
            self.heard_at_s = at_s
        self.sent = offset
        self.end_at = offset if end else None

    def acknowledge(self, offset: int, at_s: float) -> None:
        """The scheduler has the bytes up to ``offset``, and wants those from there on."""
        self.sounding = False
        self.heard_at_s = at_s
        if offset < self.acked:
            self.sent, self.end_at = offset, None
        self.acked = offset
        self.sent = max(self.sent, offset)
        self.ended = self.end_at is not None and offset >= self.end_at

    def resend(self) -> None:
        """Goes back to what was acknowledged: a new connection, or too long no word."""
        self.sent, self.end_at, self.sounding = self.acked, None, True

    def overdue(self, now_s: float) -> bool:
        waiting = self.sent > self.acked or self.end_at is not None
        return waiting and not self.ended and now_s - self.heard_at_s > RESEND_AFTER_S


@dataclass(slots=True)
class Tailer:
    """The streams of all attempts in one node's ``attempts`` folder."""

    folder: Path
    _streams: dict[Key, Outgoing] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, session: Session, terms: Terms) -> None:
        """Sends until cancelled; on a new stream from where the scheduler says."""
        for outgoing in self._streams.values():
            outgoing.resend()
        while True:
            self._news.clear()
            tails = await asyncio.to_thread(look, self.folder)
            self._streams = {key: self._streams.get(key) or Outgoing() for key in tails}
            if not tails:
                await asyncio.sleep(LOOK_IDLE_EVERY_S)  # nobody can tell: files appear
                continue
            await self._send_due(session, tails)
            await asyncio.to_thread(self._tidy, tails)
            await asyncio.sleep(GAP_S)
            await wait(self._news, LOOK_EVERY_S)

    async def on_ack(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes an acknowledgement; one of a stream that is gone is dropped."""
        ack = message.log_ack
        outgoing = self._streams.get(Key(ack.attempt_id, ack.rank, ack.stream))
        if outgoing is not None:
            outgoing.acknowledge(ack.offset, time.monotonic())
            self._news.set()

    async def _send_due(self, session: Session, tails: Mapping[Key, Tail]) -> None:
        """Gives each stream a piece in turn until nothing is due or the node's window is full."""
        now_s = time.monotonic()
        for outgoing in self._streams.values():
            if outgoing.overdue(now_s):
                outgoing.resend()
        budget = NODE_WINDOW_BYTES - sum(o.sent - o.acked for o in self._streams.values())
        due = list(self._streams)
        while due and budget > 0:
            still_due = []
            for key in due:
                sent = await self._send_piece(session, key, tails[key])
                if sent:
                    still_due.append(key)
                    budget -= CHUNK_BYTES
                if budget <= 0:
                    break
            due = still_due

    async def _send_piece(self, session: Session, key: Key, tail: Tail) -> bool:
        outgoing = self._streams[key]
        piece = outgoing.next_piece(tail)
        if piece is None:
            return False
        try:
            data = await asyncio.to_thread(read_piece, tail.path, piece)
        except OSError as error:
            log.warning("log_unreadable", file=str(tail.path), error=str(error))
            return False
        whole = len(data) == piece.length
        if not whole and not data:
            return False
        chunk = node_pb2.LogChunk(
            attempt_id=key.attempt_id,
            rank=key.rank,
            stream=key.stream,
            offset=piece.offset,
            data=data,
            end=piece.end and whole,
        )
        end_offset = piece.offset + len(data)
        outgoing.note_sent(end_offset, end=chunk.end, at_s=time.monotonic())
        await session.send(log=chunk)
        return True

    def _tidy(self, tails: Mapping[Key, Tail]) -> None:
        """Deletes the files of workers whose streams the scheduler has to their ends."""
        workers: dict[Path, list[Key]] = {}
        for key, tail in tails.items():
            workers.setdefault(_done_file(tail.path), []).append(key)
        for done_file, keys in workers.items():
            if not all(self._streams[key].ended for key in keys):
                continue
            try:
                for key in keys:
                    tails[key].path.unlink(missing_ok=True)
                done_file.unlink(missing_ok=True)
                done_file.parent.rmdir()
            except OSError:
                # The executor keeps its own record there until the attempt is forgotten.
                continue


def look(folder: Path) -> dict[Key, Tail]:
    """All streams that lie in a node's ``attempts`` folder; other things that jobs may have put
    there are left alone."""
    tails: dict[Key, Tail] = {}
    for path in find(folder, "*/rank-*.*"):
        rank, suffix = path.stem.removeprefix("rank-"), path.suffix.removeprefix(".")
        ours = rank.isdecimal() and len(rank) <= RANK_DIGITS_MOST and ID.fullmatch(path.parent.name)
        if not ours or suffix not in SUFFIXES:
            continue
        # Before the size: what is written between the two is found by the next look.
        done = _done_file(path).exists()
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                continue
            if found.st_size > FLOOD_BYTES and _limited(path) and not done:
                _cut(path)
        except OSError as error:
            log.warning("log_unreadable", file=str(path), error=str(error))
            continue
        length = found.st_size
        if length > STREAM_LIMIT_BYTES and _limited(path):
            length = STREAM_LIMIT_BYTES + len(NOTE)
        tails[Key(path.parent.name, int(rank), SUFFIXES[suffix])] = Tail(path, length, done)
    return tails


def read_piece(path: Path, piece: Piece) -> bytes:
    """The bytes of a piece: of the file up to the limit, of the note beyond it.

    Raises:
        OSError: the file cannot be read.
    """
    end = piece.offset + piece.length
    limit = STREAM_LIMIT_BYTES if _limited(path) else end
    data = b""
    if piece.offset < limit:
        with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
            file.seek(piece.offset)
            data = file.read(min(end, limit) - piece.offset)
    if end > limit:
        data += NOTE[max(0, piece.offset - limit) : end - limit]
    return data


def _limited(path: Path) -> bool:
    return path.suffix != ".tasks"


def _cut(path: Path) -> None:
    """Drops what nobody will be sent. Workers append, so that what they write next comes behind
    the cut; one byte over the limit stays, to tell that there was more."""
    with os.fdopen(_open(path, os.O_WRONLY), "wb") as file:
        file.truncate(STREAM_LIMIT_BYTES + 1)


def _open(path: Path, how: int) -> int:
    """Opens nothing but a plain file: a job may have put a link or a pipe in its place."""
    opened = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(f"{path} is not a plain file")
    return opened


def _done_file(path: Path) -> Path:
    return path.with_suffix(".done")
