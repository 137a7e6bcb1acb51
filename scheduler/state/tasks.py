"""What became of every task of an array, from the records that workers write about them."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from scheduler.domain import arrays
from scheduler.domain.arrays import Progress
from scheduler.domain.job import ArraySpec, Job, JobState
from scheduler.domain.log import LogPiece, LogStream
from scheduler.domain.tasks import LINE_MOST_BYTES, TaskEnd, TaskRecord, parse
from scheduler.store.logs import LogStore

# Records are read again when they are asked for again; this many tasks stay in memory at least,
# those of two of the largest arrays, at about 400 bytes each.
KEPT_TASKS = 200_000


class TaskState(StrEnum):
    """States of a task. Unfinished is what never ran, or not to its end, in a chunk that has
    ended."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNFINISHED = "UNFINISHED"


@dataclass(slots=True)
class TaskTry:
    """The newest try of a task within an attempt; ``number`` counts from 1. ``begins_at`` is where
    its output begins in its worker's stdout and stderr. Times are seconds of the agent's clock."""

    rank: int
    number: int
    started_at_s: float | None
    begins_at: tuple[int, int]
    ended_at_s: float | None = None
    end: TaskEnd | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """One task. ``tried`` is None where no record tells of it, ``attempt`` the number of the
    chunk's attempt that ``tried`` belongs to."""

    index: int
    state: TaskState
    tries: int
    job: Job
    attempt: int = 0
    tried: TaskTry | None = None


@dataclass(slots=True, eq=False)
class AttemptTasks:
    """The records of one attempt, as far as they were read; only those of ``indices`` count."""

    indices: range
    tries: dict[int, TaskTry] = field(default_factory=dict)
    after_id: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    # By rank: a line's beginning that waits for its end, and where the next bytes should begin.
    _rests: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    # By rank: where the output of the next task begins, for ranks take one after the other.
    _written: dict[int, tuple[int, int]] = field(default_factory=dict)

    def take(self, pieces: Sequence[LogPiece]) -> None:
        """Takes in the next pieces of the attempt's records."""
        for piece in pieces:
            rest, next_offset = self._rests.get(piece.rank, (b"", 0))
            if piece.offset != next_offset:
                rest = b""
            text = rest + piece.data
            whole = text.rfind(b"\n") + 1
            for record in parse(text[:whole]):
                self._note(piece.rank, record)
            # What is longer than a record is none, however it ends.
            rest = text[whole : whole + LINE_MOST_BYTES]
            self._rests[piece.rank] = (rest, piece.offset + len(piece.data))
            self.after_id = piece.id

    def _note(self, rank: int, record: TaskRecord) -> None:
        if record.index not in self.indices:
            return
        known = self.tries.get(record.index)
        if known is not None and known.number > record.number:
            return
        if record.end is None:
            begins_at = self._written.get(rank, (0, 0))
            self.tries[record.index] = TaskTry(rank, record.number, record.at_s, begins_at)
            return
        end = record.end
        started_at_s = None
        if known is not None and known.number == record.number:
            started_at_s = known.started_at_s
        begins_at = (end.stdout[0], end.stderr[0])
        self._written[rank] = (end.stdout[1], end.stderr[1])
        self.tries[record.index] = TaskTry(
            rank, record.number, started_at_s, begins_at, record.at_s, end
        )


@dataclass(frozen=True, slots=True)
class ChunkTasks:
    """The tasks of one chunk, as of one look at it."""

    job: Job
    attempts: Sequence[AttemptTasks]
    done: bytes

    @property
    def indices(self) -> range:
        """Those of the chunk's tasks."""
        return indices(self.job)

    def views(self, begin: int, wanted: frozenset[TaskState]) -> Iterator[TaskView]:
        """The tasks from index ``begin`` on that are in a wanted state; empty: in any."""
        for index in self.indices[max(0, begin - self.indices.start) :]:
            view = self.view(index)
            if not wanted or view.state in wanted:
                yield view

    def view(self, index: int) -> TaskView:
        """One task; its newest try of the newest attempt counts."""
        tries, attempt, tried = 0, 0, None
        for number, tasks in enumerate(self.attempts, 1):
            found = tasks.tries.get(index)
            if found is not None:
                tries, attempt, tried = tries + found.number, number, found
        state = self._state(index, attempt, tried)
        return TaskView(index, state, tries, self.job, attempt, tried)

    def _state(self, index: int, attempt: int, tried: TaskTry | None) -> TaskState:
        job = self.job
        if arrays.holds(self.done, index - self.indices.start):
            return TaskState.SUCCEEDED
        waits = TaskState.UNFINISHED if job.state.final else TaskState.PENDING
        if tried is None:
            return waits
        going_on = job.state.live and attempt == len(job.attempts)
        if tried.end is None:
            return TaskState.RUNNING if going_on else waits
        if tried.end.exit_code == 0:
            return TaskState.SUCCEEDED
        # A later try, or a later attempt, may still make good of it.
        tried_enough = going_on and tried.number >= _array(job).task_attempts
        return TaskState.FAILED if tried_enough or job.state.final else waits


class TaskTables:
    """Reads the records of attempts, each piece once for as long as the tables stay in memory."""

    def __init__(self, logs: LogStore) -> None:
        self._logs = logs
        self._tables: OrderedDict[str, AttemptTasks] = OrderedDict()

    async def of(self, job: Job, heard: Progress | None) -> ChunkTasks:
        """The tasks of a chunk as of now; ``heard`` is the progress of its live attempt."""
        tables = [await self._table(attempt.id, indices(job)) for attempt in job.attempts]
        self._trim()
        done = arrays.tasks_done(job)
        if job.state is JobState.SUCCEEDED:
            done = arrays.full(_array(job).tasks)
        elif heard is not None:
            done = arrays.union((done, heard.succeeded))
        return ChunkTasks(job, tables, done)

    async def _table(self, attempt_id: str, of: range) -> AttemptTasks:
        table = self._tables.setdefault(attempt_id, AttemptTasks(of))
        self._tables.move_to_end(attempt_id)
        async with table.lock:
            while pieces := await self._logs.read(
                attempt_id, table.after_id, streams=[LogStream.TASKS]
            ):
                # Megabytes of records take a while; others want the event loop meanwhile.
                await asyncio.to_thread(table.take, pieces)
        return table

    def _trim(self) -> None:
        kept = sum(len(table.tries) for table in self._tables.values())
        while kept > KEPT_TASKS and len(self._tables) > 1:
            _, dropped = self._tables.popitem(last=False)
            kept -= len(dropped.tries)


def indices(job: Job) -> range:
    """Those of a chunk's tasks, within its array."""
    array = _array(job)
    return range(array.first_task, array.first_task + array.tasks)


def _array(job: Job) -> ArraySpec:
    assert job.spec.array is not None, f"job {job.id} is no chunk of an array"
    return job.spec.array
