"""The judge of a chaos run: what it must not let pass."""

from pathlib import Path

import pytest

from tests.chaos.evidence import Life, Told, Violation, judge, read, unheard
from westward.v1 import job_pb2

JOB = "j1"
MS = 1_000_000
State = job_pb2.JobState
WALK = (
    ("SUBMIT", "PENDING", "PENDING"),
    ("ASSIGN", "PENDING", "ASSIGNED"),
    ("START", "ASSIGNED", "RUNNING"),
    ("FAIL_RETRY", "RUNNING", "PENDING"),
    ("ASSIGN", "PENDING", "ASSIGNED"),
    ("SUCCEED", "ASSIGNED", "SUCCEEDED"),
)


def a_life(number: int, first_ms: int, last_ms: int, end: str | None = None, rank: int = 0) -> Life:
    return Life(f"{JOB}-{number}", rank, first_ms * MS, last_ms * MS, end)


def a_job(walk: tuple[tuple[str, str, str], ...] = WALK, **changes: object) -> Told:
    """A job that failed once and then succeeded."""
    attempts = [
        job_pb2.Attempt(id=f"{JOB}-1", number=1, state=job_pb2.ATTEMPT_STATE_FAILED),
        job_pb2.Attempt(id=f"{JOB}-2", number=2, state=job_pb2.ATTEMPT_STATE_SUCCEEDED),
    ]
    job = job_pb2.Job(id=JOB, state=State.JOB_STATE_SUCCEEDED, attempts=attempts)
    job.spec.name, job.spec.workers = "chaos-1", 1
    for name, value in changes.items():
        setattr(job, name, value)
    events = [
        job_pb2.JobEvent(
            event=event,
            from_state=State.Value(f"JOB_STATE_{before}"),
            to_state=State.Value(f"JOB_STATE_{after}"),
        )
        for event, before, after in walk
    ]
    return Told(job, events)


GOOD = (a_life(1, 0, 100), a_life(2, 200, 300, "succeeded"))


def judged(lives: tuple[Life, ...] = GOOD, told: Told | None = None) -> list[Violation]:
    return judge(lives, {JOB: told or a_job()}, {"chaos-1": JOB}, ())


def test_what_went_well_passes() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("kind", "lives", "told"),
    [
        ("overlap", (a_life(1, 0, 201), a_life(2, 200, 300, "succeeded")), a_job()),
        ("overlap", (a_life(1, 0, 900), a_life(2, 200, 300, "succeeded")), a_job()),
        ("started twice", (*GOOD, a_life(2, 301, 302)), a_job()),
        ("success", GOOD[:1], a_job()),
        ("success", (a_life(1, 0, 9, "succeeded"), a_life(2, 200, 300, "failed")), a_job()),
        ("success lost", GOOD, a_job((*WALK[:2], ("FAIL_FINAL", "ASSIGNED", "FAILED")), state=7)),
        ("never ended", GOOD, a_job(WALK[:4], state=1)),
        ("history", GOOD, a_job(WALK[1:])),
        ("history", GOOD, a_job((*WALK[:1], *WALK[2:]))),
        ("history", GOOD, a_job(WALK[:1] + WALK[4:])),
        ("history", GOOD, a_job((*WALK[:5], ("SUCCEED", "RUNNING", "SUCCEEDED")))),
    ],
)
def test_what_breaks_a_promise_is_caught(kind: str, lives: tuple[Life, ...], told: Told) -> None:
    assert kind in [violation.kind for violation in judged(lives, told)]


def test_a_job_that_was_acknowledged_must_be_known() -> None:
    assert [v.kind for v in judge((), {}, {"chaos-1": JOB}, ())] == ["lost"]


def test_a_job_that_nobody_knows_must_not_run() -> None:
    assert [v.kind for v in judge(GOOD, {}, {}, ())] == ["stranger"]


def test_one_key_is_one_job() -> None:
    other = a_job(id="j2")
    for attempt in other.job.attempts:
        attempt.id = attempt.id.replace(JOB, "j2")
    lives = (*GOOD, Life("j2-2", 0, 0, 1, "succeeded"))
    found = judge(lives, {JOB: a_job(), "j2": other}, {"chaos-1": JOB}, ())
    assert [v.kind for v in found] == ["doubled"]


def test_an_acknowledged_cancel_is_final() -> None:
    assert [v.kind for v in judge(GOOD, {JOB: a_job()}, {}, [JOB])] == ["cancel lost"]


def test_every_worker_of_a_gang_must_have_succeeded() -> None:
    told = a_job()
    told.job.spec.workers = 2
    assert [v.kind for v in judged(GOOD, told)] == ["success"]
    assert judged((*GOOD, a_life(2, 200, 310, "succeeded", rank=1)), told) == []


def test_work_that_was_done_again_is_counted() -> None:
    lives = (a_life(1, 0, 100, "succeeded"), GOOD[1])
    assert judged(lives) == []
    assert unheard(lives, {JOB: a_job()}) == 1


def test_files_of_killed_processes_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "j1-1.0.77.1").write_text("100 start\n150 beat\n2")
    (tmp_path / "j1-2.1.78.2").write_text("300 start\n400 succeeded\n")
    (tmp_path / "j1-3.0.79.3").write_text("")
    assert read(tmp_path) == [
        Life("j1-1", 0, 100, 150, None),
        Life("j1-2", 1, 300, 400, "succeeded"),
    ]
