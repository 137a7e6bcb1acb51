"""Who is planned in a quick round: the first in line, as many of a kind as may have room."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import Job, JobState, WorkerShape
from scheduler.domain.reason import ReasonCode
from scheduler.planning.front import FRONT_MOST, SOON_MOST, Free, Front, Kinds, Line, free
from scheduler.planning.values import pending_job, running_attempt
from tests.fakes.jobs import NOW, WHY, a_node, a_spec, an_attempt

ROOM = Free({"A800": 4}, 64.0)


def a_job(number: int, **changes: Any) -> Job:
    """A pending job, the younger the greater its number."""
    state = changes.pop("state", JobState.PENDING)
    attempts = changes.pop("attempts", ())
    back_at = changes.pop("not_before_at", None)
    return Job(
        id=f"j{number:010}",
        spec=a_spec(**changes),
        state=state,
        reason=WHY,
        version=1,
        created_at=NOW + timedelta(seconds=number),
        updated_at=NOW,
        attempts=attempts,
        not_before_at=back_at,
    )


def front_of(
    jobs: list[Job],
    *,
    room: Free = ROOM,
    codes: Mapping[str, ReasonCode] | None = None,
    planned: Sequence[str] = (),
) -> Front:
    line = Line()
    for job in jobs:
        line.join(pending_job(job))
    known = codes or {}
    return line.front(without=(), now_at=NOW, free=room, code=known.get, planned=planned)


JOBS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([60.0, 120.0, 180.0]), st.booleans()), max_size=60
)


@given(JOBS, st.integers(1, 5), st.sets(st.integers(0, 59)))
def test_the_front_is_what_all_rows_together_begin_with(
    asked: list[tuple[int, float, bool]], gpus: int, left: set[int]
) -> None:
    line, room, rows = Line(), Free({"A800": gpus}, 64.0), defaultdict[object, list[Job]](list)
    jobs = [
        a_job(n, priority=priority, expected_duration_s=run_s)
        for n, (priority, run_s, _) in enumerate(asked)
    ]
    codes = {jobs[n].id: ReasonCode.NOT_YET for n, (_, _, waits) in enumerate(asked) if waits}
    for job in jobs:
        line.join(pending_job(job))
    for n in left & {*range(len(jobs))}:
        line.leave(jobs[n].id)
    for job in jobs:
        kind = rows[job.spec.priority, job.spec.expected_duration_s]
        if int(job.id[1:]) not in left and job.id not in codes and len(kind) < gpus:
            kind.append(job)
    want = sorted((-job.spec.priority, job.id) for row in rows.values() for job in row)
    inside = frozenset(job_id for _, job_id in want[:FRONT_MOST])
    front = line.front(without=(), now_at=NOW, free=room, code=codes.get, planned=())
    assert front.job_ids == inside
    full = [frozenset(job.id for job in row) for row in rows.values() if row]
    full = [row for row in full if row <= inside]
    assert {*front.rows} == {*full, *([inside] if len(inside) == FRONT_MOST else [])}


def test_of_one_kind_the_oldest_are_planned_as_many_as_may_have_room() -> None:
    jobs = [a_job(n, name=f"n{n}", env={"N": str(n)}) for n in range(10)]
    front = front_of(jobs[::-1])
    assert front.job_ids == {job.id for job in jobs[:4]}
    assert front.asks_for_more(front.job_ids)
    assert not front.asks_for_more([job.id for job in jobs[:3]])


def test_without_room_one_of_each_kind_stands_for_its_claim() -> None:
    gangs = [a_job(n, workers=8) for n in range(3)]
    singles = [a_job(n) for n in range(3, 6)]
    front = front_of(gangs + singles, room=Free({"A800": -2}, 0.0))
    assert front.job_ids == {gangs[0].id, singles[0].id}


def test_priority_goes_before_age_and_the_front_is_bounded() -> None:
    kinds = [a_job(n, expected_duration_s=60.0 + n) for n in range(FRONT_MOST)]
    urgent = a_job(1000, priority=5)
    front = front_of([*kinds, urgent])
    assert front.job_ids == {urgent.id, *(job.id for job in kinds[:-1])}
    assert front.asks_for_more(front.job_ids)


@pytest.mark.parametrize("code", [ReasonCode.WAITING_FOR_CHEAPER, ReasonCode.RESIDENCY])
def test_what_waits_for_something_else_than_room_is_not_in_line(code: ReasonCode) -> None:
    first, second = a_job(1), a_job(2)
    front = front_of([first, second], codes={first.id: code})
    assert front.job_ids == {second.id}


def test_what_may_not_start_yet_is_not_in_line() -> None:
    later = NOW + timedelta(seconds=1)
    jobs = [a_job(1, not_before_at=later), a_job(2, earliest_start_at=later), a_job(3)]
    assert front_of(jobs).job_ids == {jobs[2].id}


def test_of_what_was_put_off_the_soonest_is_planned_too() -> None:
    put_off = [a_job(n) for n in range(SOON_MOST + 5)]
    codes = {job.id: ReasonCode.WAITING_FOR_GREEN for job in put_off}
    front = front_of(put_off, codes=codes, planned=[job.id for job in reversed(put_off)])
    assert front.job_ids == {job.id for job in put_off[5:]}
    assert not front.asks_for_more(front.job_ids), "they are not in line"


def test_a_job_that_pends_no_longer_leaves_the_line() -> None:
    line, first, second = Line(), a_job(1), a_job(2)
    line.join(pending_job(first))
    line.join(pending_job(second))
    line.leave(first.id)
    front = line.front(without=(), now_at=NOW, free=ROOM, code={}.get, planned=())
    assert front.job_ids == {second.id}


def test_the_only_one_of_its_kind_is_known() -> None:
    kinds, job = Kinds(), a_job(1)
    assert kinds.follow(job)
    assert kinds.follow(job), "it still is"
    assert not kinds.follow(a_job(2))
    kinds.follow(replace(job, state=JobState.ASSIGNED))
    assert not kinds.follow(a_job(3))
    assert kinds.follow(a_job(4, priority=1))


def test_what_live_attempts_hold_on_ready_nodes_is_not_free() -> None:
    nodes = [a_node(), a_node(id="qingyang-2", lifecycle=NodeLifecycle.LOST)]
    shape = WorkerShape(2, 4.0, 16.0)
    running = [
        running_attempt(job, attempt)
        for n, state in enumerate((JobState.RUNNING, JobState.CANCELLING))
        for attempt in (an_attempt(f"j{n:010}"),)
        for job in (a_job(n, state=state, attempts=(attempt,), per_worker=shape),)
    ]
    left = free(nodes, running)
    assert (dict(left.gpus), left.cpus) == ({"A800": 4}, 56.0)
    assert left.room(a_spec()) == 4
    assert left.room(a_spec(workers=3)) == 1
    assert left.room(a_spec(accelerators=(), per_worker=WorkerShape(0, 8.0, 1.0))) == 7
