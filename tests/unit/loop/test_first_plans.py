"""What was told first of a start, how far it was off, and what is expected of a job that waits."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from scheduler.domain.explanation import Outcome
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord
from scheduler.domain.why import Expected, Moved, Obstacles, Sureness
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.expected import expected
from scheduler.planning.first_plans import STARTS_LEAST, FirstPlans
from scheduler.planning.values import next_attempt, placement_record
from tests.fakes.jobs import NOW, a_spec
from tests.fakes.planning import explained, place
from tests.scenario.world import World

SNAPSHOT = World(now_at=NOW).hub("qingyang").job("job").snapshot()


def a_job(job_id: str, **changes: object) -> Job:
    job = Job(
        id=job_id,
        spec=a_spec(),
        state=JobState.PENDING,
        reason=Reason(ReasonCode.NOT_PLANNED_YET, ""),
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def planned(job_id: str, in_s: float) -> PlacementRecord:
    placement = place(SNAPSHOT, SNAPSHOT.jobs[0], in_s)._replace(job_id=job_id)
    told = explained(job_id, Outcome.PLANNED, NOW, ReasonCode.CAPACITY)
    return placement_record(placement, None, told, 1)


def started(job_id: str, at: datetime) -> Job:
    job = a_job(job_id)
    attempt = next_attempt(job, place(SNAPSHOT, SNAPSHOT.jobs[0]), at)
    return replace(job, state=JobState.ASSIGNED, attempts=(attempt,))


def test_the_first_plan_counts_and_only_starts_that_were_planned_ahead() -> None:
    plans = FirstPlans()
    for n in range(STARTS_LEAST):
        plans.take([planned(f"job{n}", 600.0)])
        plans.take([planned(f"job{n}", 1200.0)])
        assert plans.of(f"job{n}") == NOW + timedelta(seconds=600)
    assert plans.moved() is None
    plans.left(started("at once", NOW + timedelta(hours=9)))
    plans.take([planned("cancelled", 600.0)])
    plans.left(a_job("cancelled", state=JobState.CANCELLED))
    for n in range(STARTS_LEAST):
        # The first ten are on time, the next eight a minute off, either way, the last two an hour.
        off_s = 0 if n < 10 else (-60 if n % 2 else 60) if n < 18 else 3600
        plans.left(started(f"job{n}", NOW + timedelta(seconds=600 + off_s)))
    assert plans.moved() == Moved(p50_s=0.0, p90_s=60.0, jobs=STARTS_LEAST)
    assert plans.of("job1") is None


UNTIL = NOW + timedelta(hours=6)
START = PlannedStart("qingyang", "A800", NOW + timedelta(hours=1))


def stopped_by(code: ReasonCode, *, making_room: bool = False) -> Obstacles:
    return Obstacles(
        reason=Reason(code, ""),
        evidence=(),
        others=(),
        relaxations=(),
        pools=1,
        sooner=False,
        fits=False,
        making_room=making_room,
        decided_at=NOW,
        until_at=UNTIL,
    )


@pytest.mark.parametrize(
    ("obstacles", "start", "deadline_at", "sureness"),
    [
        (stopped_by(ReasonCode.CAPACITY), START, None, Sureness.PLANNED),
        (None, START, None, Sureness.PLANNED),
        (stopped_by(ReasonCode.CAPACITY), None, None, Sureness.NOT_BEFORE),
        (stopped_by(ReasonCode.CAPACITY), None, UNTIL, Sureness.NEVER_AS_IT_IS),
        (stopped_by(ReasonCode.LATENCY), None, None, Sureness.NEVER_AS_IT_IS),
        (stopped_by(ReasonCode.LATENCY_UNKNOWN), None, None, Sureness.UNKNOWN),
        (stopped_by(ReasonCode.CAPACITY, making_room=True), START, None, Sureness.MAKING_ROOM),
        (None, None, None, Sureness.UNKNOWN),
    ],
)
def test_what_is_expected_is_no_more_than_is_known(
    obstacles: Obstacles | None,
    start: PlannedStart | None,
    deadline_at: datetime | None,
    sureness: Sureness,
) -> None:
    job = a_job("job", spec=replace(a_spec(), deadline_at=deadline_at))
    told = expected(job, start, obstacles, None)
    assert told.sureness is sureness
    times = {Sureness.PLANNED: START.start_at, Sureness.NOT_BEFORE: UNTIL}
    assert told.start_at == times.get(sureness)
    assert isinstance(told, Expected)
