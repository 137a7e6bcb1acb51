"""What became of an array's tasks: the lines that each worker of a chunk writes about them.

A task that is begun is ``S <index> <try> <time>``, one that has ended
``E <index> <try> <exit code> <time> <stdout from> <stdout to> <stderr from> <stderr to>``.
Indices are those of the whole array; tries are counted from 1 within the chunk's attempt.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# No record's line is longer.
LINE_MOST_BYTES = 256
_LINE = re.compile(
    rb"S (\d{1,9}) (\d{1,3}) (\d{1,12}\.\d{3})"
    rb"|E (\d{1,9}) (\d{1,3}) (-?\d{1,9}) (\d{1,12}\.\d{3}) (\d{1,18}) (\d{1,18}) (\d{1,18})"
    rb" (\d{1,18})"
)


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How one try of a task ended: negative exit codes are signals; what it wrote lies at these
    bytes, from the first to before the last, of its worker's streams."""

    exit_code: int
    stdout: tuple[int, int]
    stderr: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One line: a try began (``end`` is None) or ended at ``at_s``, seconds since the epoch."""

    index: int
    number: int
    at_s: float
    end: TaskEnd | None = None


def encode(record: TaskRecord) -> bytes:
    """The line of a record."""
    task = f"{record.index} {record.number}"
    end = record.end
    if end is None:
        return f"S {task} {record.at_s:.3f}\n".encode()
    out, err = end.stdout, end.stderr
    spans = f"{out[0]} {out[1]} {err[0]} {err[1]}"
    return f"E {task} {end.exit_code} {record.at_s:.3f} {spans}\n".encode()


def parse(text: bytes) -> Iterator[TaskRecord]:
    """The records of a worker's lines, in their order. What is no record is passed over: a line
    that a crash cut off, or the note at the end of a stream that grew too long."""
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        index, number, at_s, *end = (part for part in found.groups() if part is not None)
        if not end:
            yield TaskRecord(int(index), int(number), float(at_s))
            continue
        # In an end's line the exit code comes before the time.
        exit_code, (at_s, *offsets) = int(at_s), end
        out, out_to, err, err_to = map(int, offsets)
        yield TaskRecord(
            int(index), int(number), float(at_s), TaskEnd(exit_code, (out, out_to), (err, err_to))
        )
