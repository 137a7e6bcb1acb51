"""What records tell of tasks: newest tries, over ranks and attempts, however the bytes come."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.job import ArraySpec, AttemptState, Job, JobState
from scheduler.domain.log import LogPiece, LogStream
from scheduler.domain.tasks import LINE_MOST_BYTES, TaskEnd, TaskRecord, encode
from scheduler.domain.transitions import Event
from scheduler.state import tasks as tasks_module
from scheduler.state.jobs import JobBook
from scheduler.state.tasks import AttemptTasks, ChunkTasks, TaskState, TaskTables
from scheduler.store import Store
from tests.fakes.jobs import NOW, WHY, a_spec, an_attempt, assign, end, opened

S = TaskState


def begun(index: int, number: int = 1, at_s: float = 1.0) -> TaskRecord:
    return TaskRecord(index, number, at_s)


def ended(
    index: int, exit_code: int = 0, number: int = 1, out: tuple[int, int] = (0, 0)
) -> TaskRecord:
    return TaskRecord(index, number, 2.0, TaskEnd(exit_code, out, (0, 0)))


def told(*records: TaskRecord, rank: int = 0) -> AttemptTasks:
    tasks = AttemptTasks(range(100, 110))
    tasks.take([piece(b"".join(map(encode, records)), rank=rank)])
    return tasks


def piece(data: bytes, *, rank: int = 0, offset: int = 0, number: int = 1) -> LogPiece:
    return LogPiece(
        id=number, attempt_id="j-1", rank=rank, stream=LogStream.TASKS, offset=offset, data=data
    )


def a_chunk(state: JobState, attempts: int = 1, task_attempts: int = 1) -> Job:
    array = ArraySpec(tasks=10, first_task=100, task_attempts=task_attempts)
    return Job(
        id="j", spec=a_spec(array=array), state=state, reason=WHY, version=2, created_at=NOW,
        updated_at=NOW, attempts=tuple(an_attempt("j", n + 1) for n in range(attempts)),
    )  # fmt: skip


@given(st.integers(1, 60), st.integers(0, 3))
def test_the_pieces_may_be_cut_anywhere(size: int, lost: int) -> None:
    records = [begun(100), ended(100, 1), begun(100, 2), ended(100, 0, 2), begun(101)]
    text = b"".join(map(encode, records))
    tasks = AttemptTasks(range(100, 110))
    for at in range(0, len(text), size):
        tasks.take([piece(text[at : at + size], offset=at, number=at + 1)])
    assert tasks.tries == told(*records).tries
    # After a gap the broken line is passed over, and what comes then counts.
    gap = len(text) + lost + 1
    tasks.take([piece(b"03 1 1.000\n" + encode(begun(104)), offset=gap)])
    assert 104 in tasks.tries
    assert 103 not in tasks.tries


def test_the_newest_try_counts_whatever_rank_tells_of_it_first() -> None:
    tasks = told(begun(100, 2, 5.0), rank=1)
    tasks.take([piece(encode(begun(100)) + encode(ended(100, 3)), rank=0)])
    tried = tasks.tries[100]
    assert (tried.number, tried.rank, tried.end) == (2, 1, None)


def test_a_task_writes_where_the_one_before_it_on_its_rank_ended() -> None:
    tasks = told(begun(100), ended(100, out=(0, 17)), begun(101))
    assert tasks.tries[101].begins_at == (17, 0)
    assert told(begun(101), rank=1).tries[101].begins_at == (0, 0)


def test_tasks_that_are_none_of_the_chunk_are_not_kept() -> None:
    assert told(begun(99), begun(110), ended(10**8)).tries == {}


def test_a_line_that_never_ends_is_not_kept_whole() -> None:
    tasks = AttemptTasks(range(100, 110))
    for number in range(4):
        tasks.take([piece(bytes(4096), offset=4096 * number, number=number + 1)])
    rest, offset = tasks._rests[0]
    assert (len(rest), offset) == (LINE_MOST_BYTES, 4 * 4096)
    tasks.take([piece(b"\n" + encode(begun(104)), offset=offset)])
    assert list(tasks.tries) == [104]


@pytest.mark.parametrize(
    ("state", "records", "expected"),
    [
        (JobState.RUNNING, [], S.PENDING),
        (JobState.RUNNING, [begun(100)], S.RUNNING),
        (JobState.UNREACHABLE, [begun(100)], S.RUNNING),
        (JobState.RUNNING, [begun(100), ended(100)], S.SUCCEEDED),
        (JobState.RUNNING, [begun(100), ended(100, 1)], S.PENDING),
        (JobState.RUNNING, [begun(100, 2), ended(100, 1, 2)], S.FAILED),
        (JobState.PENDING, [begun(100)], S.PENDING),
        (JobState.PENDING, [begun(100, 2), ended(100, 1, 2)], S.PENDING),
        (JobState.CANCELLED, [], S.UNFINISHED),
        (JobState.CANCELLED, [begun(100)], S.UNFINISHED),
        (JobState.CANCELLED, [begun(100), ended(100, 1)], S.FAILED),
        (JobState.FAILED, [begun(100), ended(100, 1)], S.FAILED),
    ],
)
def test_states(state: JobState, records: list[TaskRecord], expected: TaskState) -> None:
    tasks = ChunkTasks(a_chunk(state, task_attempts=2), [told(*records)], b"")
    assert tasks.view(100).state is expected
    done = ChunkTasks(a_chunk(state, task_attempts=2), [told(*records)], b"\x01")
    assert done.view(100).state is S.SUCCEEDED


def test_tries_add_up_over_attempts_and_the_newest_attempt_counts() -> None:
    first = told(begun(100), ended(100, 1), begun(100, 2), ended(100, 1, 2), begun(101))
    tasks = ChunkTasks(a_chunk(JobState.RUNNING, 2, 2), [first, told(begun(100))], b"")
    assert (tasks.view(100).state, tasks.view(100).tries) == (S.RUNNING, 3)
    assert tasks.view(100).attempt == 2
    assert (tasks.view(101).state, tasks.view(101).tries) == (S.PENDING, 1)
    running = [view.index for view in tasks.views(0, frozenset({S.RUNNING}))]
    assert running == [100]
    assert [view.index for view in tasks.views(107, frozenset())] == [107, 108, 109]


async def chunk_with_records(store: Store, book: JobBook, tasks: int) -> Job:
    array = ArraySpec(tasks=tasks, chunk_tasks=tasks)
    [job], _ = await book.submit_array(a_spec(array=array))
    job = await assign(book, job)
    text = b"".join(encode(begun(n)) + encode(ended(n)) for n in range(tasks))
    await store.logs.append(f"{job.id}-1", 0, LogStream.TASKS, 0, text)
    return job


async def test_tables_follow_the_store_and_forget_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_module, "KEPT_TASKS", 70)
    async with opened(tmp_path) as (store, book):
        jobs = [await chunk_with_records(store, book, 30) for _ in range(3)]
        tables = TaskTables(store.logs)
        for job in [*jobs, *jobs]:
            tasks = await tables.of(job, None)
            assert {view.state for view in tasks.views(0, frozenset())} == {S.SUCCEEDED}
            assert len(tables._tables) <= 2
        job = await end(book, jobs[2], Event.FAIL_FINAL, AttemptState.FAILED)
        more = encode(begun(3, 2))
        at = await store.logs.append(f"{job.id}-1", 0, LogStream.TASKS, 10**6, b"")
        await store.logs.append(f"{job.id}-1", 0, LogStream.TASKS, at, more)
        assert (await tables.of(job, None)).view(3).tries == 2
