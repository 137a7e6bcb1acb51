"""Writes log bytes as they came, the worker's rank before each line where there are several."""

from typing import BinaryIO

from westward.v1 import job_pb2

_COLOURS = (b"36", b"33", b"35", b"32", b"34", b"31")
# A line that grows longer than this is written in parts, each with the rank.
_LONGEST_LINE_BYTES = 64 << 10

_Source = tuple[str, int, int]


class LogWriter:
    """Bytes in, bytes out: nothing is decoded, so whatever a job prints arrives unchanged.

    Args:
        ranks: put ``[rank] `` before each line; lines of different workers then never mix.
        colours: one colour per rank.
    """

    def __init__(self, *, out: BinaryIO, err: BinaryIO, ranks: bool, colours: bool) -> None:
        self._out = out
        self._err = err
        self._ranks = ranks
        self._colours = colours
        self._pending: dict[_Source, bytes] = {}

    def write(self, piece: job_pb2.LogsResponse) -> None:
        """Writes what is whole of a piece."""
        if not self._ranks:
            file = self._file(piece.stream)
            file.write(piece.data)
            file.flush()
            return
        source = (piece.attempt_id, piece.rank, piece.stream)
        *lines, rest = (self._pending.pop(source, b"") + piece.data).split(b"\n")
        while len(rest) > _LONGEST_LINE_BYTES:
            lines.append(rest[:_LONGEST_LINE_BYTES])
            rest = rest[_LONGEST_LINE_BYTES:]
        if rest:
            self._pending[source] = rest
        self._lines(source, lines)

    def flush(self) -> None:
        """Writes the last lines, which have no end."""
        for source, rest in self._pending.items():
            self._lines(source, [rest])
        self._pending.clear()

    def _lines(self, source: _Source, lines: list[bytes]) -> None:
        _, rank, stream = source
        file = self._file(stream)
        prefix = b"[%d] " % rank
        if self._colours:
            prefix = b"\x1b[%sm%s\x1b[0m" % (_COLOURS[rank % len(_COLOURS)], prefix)
        file.write(b"".join(b"%s%s\n" % (prefix, line) for line in lines))
        file.flush()

    def _file(self, stream: int) -> BinaryIO:
        return self._err if stream == job_pb2.LOG_STREAM_STDERR else self._out
