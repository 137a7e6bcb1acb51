"""What the workers of an attempt write."""

from dataclasses import dataclass
from enum import StrEnum


class LogStream(StrEnum):
    """The two outputs of every worker, and its records of an array's tasks."""

    STDOUT = "STDOUT"
    STDERR = "STDERR"
    TASKS = "TASKS"


# What people read.
OUTPUTS = (LogStream.STDOUT, LogStream.STDERR)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Bytes of one worker's stream from ``offset`` on. ``id`` grows with arrival."""

    id: int
    attempt_id: str
    rank: int
    stream: LogStream
    offset: int
    data: bytes
