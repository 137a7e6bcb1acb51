"""What workers write, bounded: of every output the beginning and the end are kept.

An attempt keeps at most ``ATTEMPT_MOST_BYTES``, shared evenly by its workers' outputs; half of
an output's share holds its first bytes, half its last. What lies between is dropped, and seen
by readers as a jump of the offset. The records of an array's tasks have a limit of their own,
which only a worker that makes them up could reach.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from scheduler.domain.log import OUTPUTS, LogPiece, LogStream
from scheduler.store.database import Database
from scheduler.store.errors import UnknownAttemptError
from scheduler.store.signal import Signal
from scheduler.store.tables import ATTEMPTS, LOG_PIECES, LOG_STREAMS

ATTEMPT_MOST_BYTES = 64 * 1024 * 1024
STREAM_LEAST_BYTES = 16 * 1024
# 100,000 tasks of 10 tries each make 150 MB.
RECORDS_MOST_BYTES = 256 * 1024 * 1024
PIECE_MOST_BYTES = 64 * 1024
SPAN_PIECES_MOST = 64

Key = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class LogProgress:
    """Of an attempt's outputs: how many wrote something, and how many of them have ended."""

    streams: int
    ended: int


class LogStore:
    """Logs of attempts. ``signal`` wakes those who follow a job's id when its logs have grown."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.signal = Signal()

    async def append(
        self,
        attempt_id: str,
        rank: int,
        stream: LogStream,
        offset: int,
        data: bytes,
        *,
        end: bool = False,
    ) -> int:
        """Stores bytes durably. Repeats are ignored, a gap stores nothing.

        Args:
            offset: position of the first byte of ``data`` in this output.
            end: nothing comes after ``data``.

        Returns:
            The offset to go on from, to be acknowledged to the sender.

        Raises:
            UnknownAttemptError: no such attempt, or it has no such worker.
            StoreError: the database could not.
        """

        def work(connection: Connection) -> int:
            key: Key = {"attempt_id": attempt_id, "rank": rank, "stream": stream.value}
            return _append(connection, key, offset, data, end)

        next_offset = await self._database.write(work)
        # An attempt's id is "<job id>-<number>".
        self.signal.notify(attempt_id.rpartition("-")[0])
        return next_offset

    async def read(
        self,
        attempt_id: str,
        after_id: int = 0,
        limit: int = 64,
        *,
        streams: Sequence[LogStream] = OUTPUTS,
    ) -> list[LogPiece]:
        """Pieces of all outputs of an attempt in the order they came, so in order per output."""
        query = (
            sa.select(LOG_PIECES)
            .where(LOG_PIECES.c.attempt_id == attempt_id, LOG_PIECES.c.id > after_id)
            .where(LOG_PIECES.c.stream.in_([stream.value for stream in streams]))
            .order_by(LOG_PIECES.c.id)
            .limit(limit)
        )
        return await self._database.read(lambda c: [_piece(row) for row in c.execute(query)])

    async def span(
        self, attempt_id: str, rank: int, stream: LogStream, *, begin: int, end: int
    ) -> list[LogPiece]:
        """What is stored of one output from offset ``begin`` to before ``end``, cut to that; the
        first ``SPAN_PIECES_MOST`` pieces of it; none where the span is empty."""
        if begin >= end:
            return []
        query = (
            sa.select(LOG_PIECES)
            .where(
                LOG_PIECES.c.attempt_id == attempt_id,
                LOG_PIECES.c.rank == rank,
                LOG_PIECES.c.stream == stream.value,
                LOG_PIECES.c.start_offset < end,
                LOG_PIECES.c.end_offset > begin,
            )
            .order_by(LOG_PIECES.c.start_offset)
            .limit(SPAN_PIECES_MOST)
        )
        found = await self._database.read(lambda c: [_piece(row) for row in c.execute(query)])
        return [_cut(piece, begin, end) for piece in found]

    async def progress(self, attempt_id: str) -> LogProgress:
        """How far the outputs of an attempt have come."""
        ended = sa.func.coalesce(sa.func.sum(sa.cast(LOG_STREAMS.c.ended, sa.Integer)), 0)
        query = sa.select(sa.func.count(), ended).where(
            LOG_STREAMS.c.attempt_id == attempt_id,
            LOG_STREAMS.c.stream.in_([stream.value for stream in OUTPUTS]),
        )
        streams, done = await self._database.read(lambda c: tuple(c.execute(query).one()))
        return LogProgress(streams, done)


def _piece(row: Row[Any]) -> LogPiece:
    return LogPiece(
        id=row.id,
        attempt_id=row.attempt_id,
        rank=row.rank,
        stream=LogStream(row.stream),
        offset=row.start_offset,
        data=row.data,
    )


def _cut(piece: LogPiece, begin: int, end: int) -> LogPiece:
    """The part of a piece that lies within two offsets."""
    first = max(begin, piece.offset)
    data = piece.data[first - piece.offset : end - piece.offset]
    return replace(piece, offset=first, data=data)


def _append(connection: Connection, key: Key, offset: int, data: bytes, end: bool) -> int:
    is_stream = sa.and_(*(LOG_STREAMS.c[name] == value for name, value in key.items()))
    row = connection.execute(sa.select(LOG_STREAMS).where(is_stream)).one_or_none()
    if row is None:
        limit = _share(connection, str(key["attempt_id"]), int(key["rank"]))
        if key["stream"] == LogStream.TASKS:
            limit = RECORDS_MOST_BYTES
        new = {**key, "next_offset": 0, "limit_bytes": limit, "ended": False}
        connection.execute(sa.insert(LOG_STREAMS), [new])
        at, ended = 0, False
    else:
        limit, at, ended = row.limit_bytes, row.next_offset, row.ended
    if offset > at:
        return int(at)
    fresh = data[at - offset :]
    next_offset = at + len(fresh)
    if fresh:
        _keep(connection, key, at, fresh, limit)
    if fresh or (end and not ended):
        change = {"next_offset": next_offset, "ended": ended or end}
        connection.execute(sa.update(LOG_STREAMS).where(is_stream).values(change))
    return int(next_offset)


def _share(connection: Connection, attempt_id: str, rank: int) -> int:
    query = sa.select(ATTEMPTS.c.nodes).where(ATTEMPTS.c.id == attempt_id)
    nodes = connection.scalar(query)
    workers = 0 if nodes is None else len(json.loads(nodes))
    if rank >= workers:
        raise UnknownAttemptError(attempt_id, rank)
    return max(STREAM_LEAST_BYTES, ATTEMPT_MOST_BYTES // (workers * len(OUTPUTS)))


def _keep(connection: Connection, key: Key, at: int, data: bytes, limit: int) -> None:
    """Stores pieces, then drops those between the first and the last half of the share."""
    half = limit // 2
    size = min(PIECE_MOST_BYTES, half // 4)
    pieces = [
        {
            **key,
            "start_offset": at + begin,
            "end_offset": at + min(begin + size, len(data)),
            "data": data[begin : begin + size],
        }
        for begin in range(0, len(data), size)
    ]
    connection.execute(sa.insert(LOG_PIECES), pieces)
    before = at + len(data) - half
    if before > half:
        is_stream = sa.and_(*(LOG_PIECES.c[name] == value for name, value in key.items()))
        connection.execute(
            sa.delete(LOG_PIECES).where(
                is_stream,
                LOG_PIECES.c.start_offset.between(half, before),
                LOG_PIECES.c.end_offset <= before,
            )
        )
