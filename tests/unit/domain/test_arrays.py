"""Arrays: cut and joined, bitmaps, and what an ended attempt keeps."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain import arrays
from scheduler.domain.arrays import Progress, TaskCounts
from scheduler.domain.job import ArraySpec, AttemptState, Job, JobState
from scheduler.domain.progress import settled
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.validation import Violation, violations
from tests.fakes.jobs import NOW, WHY, a_spec, an_attempt

TASKS = st.sets(st.integers(0, 99))


def bitmap(*tasks: int) -> bytes:
    return arrays.union(bytes(task // 8) + bytes([1 << task % 8]) for task in tasks)


def a_chunk(state: JobState = JobState.RUNNING, tasks: int = 100, **changes: object) -> Job:
    spec = a_spec(array=ArraySpec(tasks=tasks, chunk_tasks=tasks), expected_duration_s=1000.0)
    job = Job(
        id="j", spec=spec, state=state, reason=WHY, version=2, created_at=NOW, updated_at=NOW,
        attempts=(an_attempt("j", state=AttemptState.RUNNING),), array_id="a",
    )  # fmt: skip
    return replace(job, **changes)  # type: ignore[arg-type]


@given(
    tasks=st.integers(1, 5000),
    chunk_tasks=st.integers(7, 3000),
    workers=st.integers(1, 64),
    duration_s=st.floats(0.001, 1e6),
)
def test_chunks_cover_every_task_once_and_join_to_the_whole(
    tasks: int, chunk_tasks: int, workers: int, duration_s: float
) -> None:
    array = ArraySpec(tasks=tasks, chunk_tasks=chunk_tasks, task_attempts=3)
    spec = a_spec(array=array, workers=workers, expected_duration_s=duration_s)
    cut = arrays.chunks(spec)
    assert len(cut) == arrays.chunk_count(spec)
    covered = [
        task
        for part in cut
        if part.array
        for task in range(part.array.first_task, part.array.first_task + part.array.tasks)
    ]
    assert covered == list(range(tasks))
    whole = arrays.whole(cut)
    assert whole.expected_duration_s == pytest.approx(duration_s)
    assert replace(whole, expected_duration_s=duration_s) == spec


def test_a_chunk_lasts_as_long_as_its_busiest_worker() -> None:
    array = ArraySpec(tasks=25, chunk_tasks=10)
    cut = arrays.chunks(a_spec(array=array, workers=4, expected_duration_s=60.0))
    assert [part.expected_duration_s for part in cut] == [180.0, 180.0, 120.0]


@given(TASKS, TASKS)
def test_bitmaps_are_sets(one: set[int], other: set[int]) -> None:
    joined = arrays.union((bitmap(*one), bitmap(*other)))
    assert {task for task in range(120) if arrays.holds(joined, task)} == one | other
    assert arrays.count(joined) == len(one | other)
    assert arrays.fitted(joined, 10) == bitmap(*(t for t in one | other if t < 10))


@pytest.mark.parametrize("tasks", [1, 7, 8, 9, 64, 100])
def test_a_full_bitmap_holds_every_task_and_no_more(tasks: int) -> None:
    full = arrays.full(tasks)
    assert len(full) == -(-tasks // 8)
    assert arrays.count(full) == tasks
    assert not arrays.holds(full, tasks)


def test_counts_of_a_live_chunk_join_earlier_attempts_and_the_news() -> None:
    ended = an_attempt("j", state=AttemptState.LOST, tasks_done=bitmap(0, 1, 2))
    job = a_chunk(attempts=(ended, an_attempt("j", 2, state=AttemptState.RUNNING)))
    assert arrays.counts(job) == TaskCounts(100, succeeded=3)
    heard = Progress(bitmap(2, 3), bitmap(3, 4), 8)
    assert arrays.counts(job, heard) == TaskCounts(100, running=8, succeeded=4, failed=1)


@pytest.mark.parametrize(
    ("state", "code", "counted"),
    [
        (JobState.PENDING, ReasonCode.CAPACITY, TaskCounts(100, succeeded=3)),
        (JobState.SUCCEEDED, ReasonCode.OK, TaskCounts(100, succeeded=100)),
        (JobState.FAILED, ReasonCode.TASKS_FAILED, TaskCounts(100, succeeded=3, failed=97)),
        (JobState.FAILED, ReasonCode.WORKER_LOST, TaskCounts(100, succeeded=3, unfinished=97)),
        (JobState.CANCELLED, ReasonCode.CANCELLED, TaskCounts(100, succeeded=3, unfinished=97)),
    ],
)
def test_counts_of_a_chunk_without_a_live_attempt(
    state: JobState, code: ReasonCode, counted: TaskCounts
) -> None:
    ended = an_attempt("j", state=AttemptState.LOST, tasks_done=bitmap(0, 1, 2))
    job = a_chunk(state, attempts=(ended,), reason=Reason(code, ""))
    assert arrays.counts(job, Progress(bitmap(9), b"", 1)) == counted


def test_an_ended_attempt_keeps_its_tasks_and_their_share_of_the_work() -> None:
    first = an_attempt("j", state=AttemptState.LOST, tasks_done=bitmap(*range(40)))
    job = a_chunk(attempts=(first, an_attempt("j", 2, state=AttemptState.RUNNING)))
    ran = replace(
        an_attempt("j", 2, state=AttemptState.LOST, energy_kwh=10.0),
        expected_end_at=NOW + timedelta(seconds=1000),
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=400),
    )
    ended = arrays.settled(
        job, settled(job.spec, ran, done_s=job.done_s), Progress(bitmap(*range(60)), b"", 4)
    )
    assert ended.tasks_done == bitmap(*range(60))
    assert (ended.kept_s, ended.lost_s) == (pytest.approx(200.0), pytest.approx(200.0))
    assert ended.lost_kwh == pytest.approx(2.0)
    nothing = arrays.settled(job, settled(job.spec, ran, done_s=job.done_s), None)
    assert (nothing.tasks_done, nothing.kept_s) == (first.tasks_done, 0.0)


def test_a_success_is_one_of_every_task_whatever_was_heard() -> None:
    job = a_chunk()
    ended = arrays.settled(job, an_attempt("j", state=AttemptState.SUCCEEDED), None)
    assert ended.tasks_done == arrays.full(100)
    assert ended.kept_s == 1000.0
    longer = an_attempt("j", state=AttemptState.SUCCEEDED, kept_s=1500.0)
    assert arrays.settled(job, longer, None).lost_s == 0.0


def judged(**changes: object) -> dict[str, str]:
    spec = a_spec(**changes)
    found: list[Violation] = violations(spec, now_at=NOW, regions={"shanghai"}, places=(), nodes=())
    return {violation.field: violation.description for violation in found}


def test_a_good_array_has_no_faults() -> None:
    array = ArraySpec(tasks=100_000, chunk_tasks=100, task_attempts=100)
    assert judged(array=array, expected_duration_s=0.01) == {}


def test_an_array_is_not_cut_into_too_many_jobs() -> None:
    array = ArraySpec(tasks=100_000, chunk_tasks=99)
    assert "at least 100" in judged(array=array)["array.chunk_tasks"]


def test_the_duration_that_counts_is_that_of_a_chunk() -> None:
    hour = {"expected_duration_s": 3600.0, "workers": 4, "accelerators": ()}
    until = NOW + timedelta(hours=25)
    assert judged(array=ArraySpec(tasks=1000, chunk_tasks=100), deadline_at=until, **hour) == {}
    late = judged(array=ArraySpec(tasks=1000, chunk_tasks=101), deadline_at=until, **hour)
    assert "93600 s long" in late["deadline_at"]
    long = judged(array=ArraySpec(tasks=100_000, chunk_tasks=100_000), **hour)
    assert "make the chunks smaller" in long["array.chunk_tasks"]
