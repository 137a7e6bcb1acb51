"""What a plan wants stopped is asked for, remembered for whom, and told."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from scheduler.domain.job import AttemptState, Job, JobState, WorkerShape
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import Interruption, InterruptionKind
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import a_change
from tests.fakes.planning import HEAD, Desk, desk, nothing

ALL = WorkerShape(8, 4.0, 16.0)


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


async def running(at_work: Desk, **changes: object) -> Job:
    """A job that has run for half an hour on all of the only node."""
    given = {"interruptible": True, "per_worker": ALL, "expected_duration_s": 36000.0, **changes}
    job = await at_work.submit(**given)
    at_work.decide = plan
    await at_work.loop.round("submit")
    job = await at_work.book.get(job.id)
    assert job.attempt is not None
    attempt = replace(job.attempt, state=AttemptState.RUNNING, started_at=at_work.clock.now())
    job = (await at_work.book.apply(a_change(job.id, Event.START, attempt=attempt))).job
    pass_s(at_work, 1800.0)
    return job


def pass_s(at_work: Desk, seconds: float) -> None:
    assert isinstance(at_work.clock, ManualClock)
    at_work.clock.pass_s(seconds)
    at_work.fleet.heard(HEAD.node_id)


async def stopped(at_work: Desk, job: Job) -> Job:
    """The agent says that it has ended within its grace."""
    assert job.attempt is not None
    attempt = replace(
        job.attempt,
        state=AttemptState.STOPPED,
        ended_at=at_work.clock.now(),
        exit_code=143,
        kept_s=1800.0,
    )
    change = a_change(job.id, Event.STOPPED, attempt=attempt)
    return (await at_work.book.apply(replace(change, reason=job.reason))).job


async def test_a_victim_gives_way_and_goes_on_after_the_urgent_job(at_work: Desk) -> None:
    victim = await running(at_work)
    urgent = await at_work.submit(priority=10, per_worker=ALL)
    await at_work.loop.round("submit")
    victim = await at_work.book.get(victim.id)
    assert victim.state is JobState.PREEMPTING
    assert victim.reason.code is ReasonCode.PREEMPTED
    assert f"Gave way at qingyang/A800 to {urgent.id} (priority 10)" in victim.reason.message
    told = at_work.loop.explanation(urgent.id)
    assert told is not None
    assert f"{victim.id}-1 must stop within 5 s" in told.reason.message

    await at_work.loop.round("tick")
    assert (await at_work.book.get(victim.id)).version == victim.version, "asked once"
    assert at_work.seen[-1].claims[0].job_id == urgent.id
    assert at_work.seen[-1].running[0].leaving

    pass_s(at_work, 4.0)
    victim = await stopped(at_work, victim)
    await at_work.loop.round("attempt ended")
    assert await at_work.state(urgent) is JobState.ASSIGNED
    assert await at_work.state(victim) is JobState.PENDING
    told = at_work.loop.explanation(victim.id)
    assert told is not None
    assert "Stopped before: Gave way" in told.reason.message
    resumed = next(job for job in at_work.seen[-1].jobs if job.id == victim.id)
    assert resumed.done_s == 1800.0
    await at_work.loop.round("tick")
    assert at_work.seen[-1].claims == ()


async def test_a_victim_that_ends_while_planning_is_not_asked(at_work: Desk) -> None:
    victim = await running(at_work)
    await at_work.submit(priority=10, per_worker=ALL)
    at_work.meanwhile = lambda: at_work.book.cancel(victim.id)
    await at_work.loop.round("submit")
    assert await at_work.state(victim) is JobState.CANCELLING
    await at_work.loop.round("tick")
    assert at_work.seen[-1].claims == ()


async def test_a_suspended_job_holds_nothing(at_work: Desk) -> None:
    job = await running(at_work)
    await at_work.book.apply(a_change(job.id, Event.SUSPEND))
    await stopped(at_work, await at_work.book.get(job.id))
    other = await at_work.submit(per_worker=ALL)
    await at_work.loop.round("submit")
    assert at_work.seen[-1].running == ()
    assert await at_work.state(other) is JobState.ASSIGNED


async def test_what_runs_is_looked_at_once_a_slot_though_nothing_waits(at_work: Desk) -> None:
    await running(at_work)
    at_work.seen.clear()
    await at_work.loop.round("tick")
    await at_work.loop.round("tick")
    assert [snapshot.jobs for snapshot in at_work.seen] == [()]
    assert [record.jobs for record in await at_work.store.rounds.list_newest(10)] == [1]
    pass_s(at_work, 900.0)
    await at_work.loop.round("tick")
    assert len(at_work.seen) == 2


def a_move(job: Job) -> Interruption:
    """As the planner would have it."""
    return Interruption(
        attempt_id=f"{job.id}-1",
        job_id=job.id,
        kind=InterruptionKind.MIGRATE,
        reason=Reason(ReasonCode.MIGRATED, "Moved"),
        cost_yuan=1.0,
        terms=(("price", 2.0),),
    )


async def test_an_illegal_move_is_thrown_away(at_work: Desk) -> None:
    job = await running(at_work)
    at_work.decide = lambda snapshot: replace(nothing(snapshot), interruptions=(a_move(job),))
    await at_work.loop.round("tick")
    assert await at_work.state(job) is JobState.RUNNING


async def test_a_leaving_attempt_ends_with_its_grace(at_work: Desk) -> None:
    job = await running(at_work, stop_grace_s=60.0)
    asked_at = at_work.clock.now()
    await at_work.book.apply(a_change(job.id, Event.SUSPEND))
    await at_work.submit(per_worker=ALL)
    await at_work.loop.round("submit")
    [attempt] = at_work.seen[-1].running
    assert attempt.expected_end_at == asked_at + timedelta(seconds=60)
