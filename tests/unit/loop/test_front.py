"""Who is planned in a quick round: the first in line, as many of a kind as may have room."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import Job, JobState, WorkerShape
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord
from scheduler.planning.front import FRONT_MOST, SOON_MOST, Free, Front, Line, free
from tests.fakes.jobs import NOW, WHY, a_node, a_placement, a_spec, an_attempt

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


def explained(job: Job, code: ReasonCode) -> Explanation:
    return Explanation(
        job_id=job.id,
        decided_at=NOW,
        outcome=Outcome.PLANNED,
        reason=Reason(code, "so it is"),
        candidates=(),
    )


def front_of(
    jobs: list[Job],
    *,
    room: Free = ROOM,
    explained: Mapping[str, Explanation] | None = None,
    planned: Mapping[str, PlacementRecord] | None = None,
) -> Front:
    ids = frozenset(job.id for job in jobs)
    return Line(jobs).front(
        ids, now_at=NOW, free=room, explained=explained or {}, planned=planned or {}
    )


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
    front = front_of([first, second], explained={first.id: explained(first, code)})
    assert front.job_ids == {second.id}


def test_what_may_not_start_yet_is_not_in_line() -> None:
    later = NOW + timedelta(seconds=1)
    jobs = [a_job(1, not_before_at=later), a_job(2, earliest_start_at=later), a_job(3)]
    assert front_of(jobs).job_ids == {jobs[2].id}


def test_of_what_was_put_off_the_soonest_is_planned_too() -> None:
    put_off = [a_job(n) for n in range(SOON_MOST + 5)]
    told = {job.id: explained(job, ReasonCode.WAITING_FOR_GREEN) for job in put_off}
    planned = {
        job.id: replace(
            a_placement(an_attempt(job.id)), start_at=NOW + timedelta(hours=len(put_off) - n)
        )
        for n, job in enumerate(put_off)
    }
    front = front_of(put_off, explained=told, planned=planned)
    assert front.job_ids == {job.id for job in put_off[5:]}
    assert not front.asks_for_more(front.job_ids), "they are not in line"


def test_a_job_that_pends_no_longer_leaves_the_line() -> None:
    line = Line([])
    job = a_job(1)
    assert line.follow(job), "the only one of its kind"
    assert not line.follow(a_job(2))
    line.follow(replace(job, state=JobState.ASSIGNED))
    front = line.front({job.id, a_job(2).id}, now_at=NOW, free=ROOM, explained={}, planned={})
    assert front.job_ids == {a_job(2).id}


def test_what_live_attempts_hold_on_ready_nodes_is_not_free() -> None:
    nodes = [a_node(), a_node(id="qingyang-2", lifecycle=NodeLifecycle.LOST)]
    shape = WorkerShape(2, 4.0, 16.0)
    running = [
        a_job(n, state=state, attempts=(an_attempt(f"j{n:010}"),), per_worker=shape)
        for n, state in enumerate((JobState.RUNNING, JobState.CANCELLING, JobState.SUSPENDED))
    ]
    left = free(nodes, [*running, a_job(9)])
    assert (dict(left.gpus), left.cpus) == ({"A800": 4}, 56.0)
    assert left.room(a_spec()) == 4
    assert left.room(a_spec(workers=3)) == 1
    assert left.room(a_spec(accelerators=(), per_worker=WorkerShape(0, 8.0, 1.0))) == 7
