"""Jobs that asked to wait for a silent cluster, and the operator who gives them up."""

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.dispatch.dispatcher import NotForcedError
from scheduler.dispatch.verdict import Seen
from scheduler.domain.job import AttemptState, Job, JobState, OnUnreachable
from scheduler.domain.reason import ReasonCode
from scheduler.domain.transitions import Event
from scheduler.state.jobs import UnknownJobError
from tests.fakes.desk import SPEC, Desk, running, sitting

WAITING = replace(SPEC, on_unreachable=OnUnreachable.WAIT)
LONG_S = 86_400.0


async def silent(desk: Desk, job: Job) -> Job:
    """The job after its cluster has fallen silent."""
    desk.streams.remove(desk.head)
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    return await desk.book.get(job.id)


async def test_nothing_starts_elsewhere_however_long_it_takes(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(WAITING)
        await desk.see(running(job))
        told = (await silent(desk, job)).reason
        assert told.message == "qingyang is silent for 20 s; the job waits for it, as it asked to"
        desk.clock.pass_s(LONG_S)
        await desk.dispatcher.check_contact()
        assert await desk.state(job) is JobState.UNREACHABLE
        desk.reach.up = True
        desk.streams.add(desk.head)
        await desk.see(running(job))
        assert await desk.state(job) is JobState.RUNNING


async def test_a_cancel_waits_too_as_the_attempt_may_be_alive(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(WAITING)
        await silent(desk, job)
        await desk.book.cancel(job.id)
        desk.clock.pass_s(LONG_S)
        await desk.dispatcher.check_contact()
        assert await desk.state(job) is JobState.CANCELLING
        given_up = await desk.dispatcher.force_retry(job.id, "burned down", "ops")
        assert given_up.state is JobState.CANCELLED


async def test_the_operator_gives_it_up_and_it_goes_on_elsewhere(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(WAITING)
        await desk.see(running(job))
        await silent(desk, job)
        given_up = await desk.dispatcher.force_retry(job.id, "burned down", "ops")
        assert given_up.state is JobState.PENDING
        assert given_up.attempts[0].state is AttemptState.LOST
        assert given_up.reason.code is ReasonCode.FORCED
        assert given_up.reason.message == (
            "given up on qingyang by ops, perhaps alive there: burned down"
        )
        # The old attempt turns up again, next to a new one: it is not wished for, and says nothing.
        second = await desk.assign(given_up)
        desk.reach.up = True
        desk.streams.add(desk.head)
        await desk.see(running(job))
        assert desk.head.wishes[-1] == [f"{job.id}-2"]
        assert await desk.state(second) is JobState.ASSIGNED


async def test_what_needs_no_force_is_refused_with_the_way_out(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(WAITING)
        with pytest.raises(NotForcedError, match=r"qingyang can be reached; cancel or suspend"):
            await desk.dispatcher.force_retry(job.id, "", "ops")
        desk.reach.up = False
        with pytest.raises(NotForcedError, match="only just fallen silent"):
            await desk.dispatcher.force_retry(job.id, "", "ops")
        with pytest.raises(UnknownJobError):
            await desk.dispatcher.force_retry("nobody", "", "ops")
        leased = await desk.assigned(SPEC)
        await silent(desk, leased)
        with pytest.raises(NotForcedError, match="goes on by itself once the lease is over"):
            await desk.dispatcher.force_retry(leased.id, "", "ops")
        pending, _ = await desk.book.submit(WAITING)
        with pytest.raises(NotForcedError, match="no attempt of it can be alive"):
            await desk.dispatcher.force_retry(pending.id, "", "ops")


async def test_a_preempted_job_goes_on_with_what_it_has_kept(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(replace(SPEC, interruptible=True))
        await desk.see(running(job))
        desk.clock.pass_s(20.0)
        await desk.stop(job, Event.PREEMPT, ReasonCode.PREEMPTED)
        assert desk.head.wishes[-1] == []
        # Running on within its grace, it is neither lost nor started again.
        await desk.see(running(job))
        assert await desk.state(job) is JobState.PREEMPTING
        saved = replace(running(job), state=AttemptState.STOPPED, exit_code=0)
        await desk.see(saved)
        after = await desk.book.get(job.id)
        assert after.state is JobState.PENDING
        assert after.done_s == pytest.approx(20.0, abs=0.1)
        assert after.reason.message == "make room; stopped: 20 of 60 s of work done"
        assert after.not_before_at is None


async def test_one_that_had_not_started_is_stopped_by_not_being_there(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(replace(SPEC, interruptible=True, max_attempts=1))
        await desk.stop(job, Event.SUSPEND, ReasonCode.SUSPENDED)
        await desk.see()
        after = await desk.book.get(job.id)
        assert after.state is JobState.SUSPENDED
        assert after.attempts[0].state is AttemptState.STOPPED


async def test_stops_that_we_asked_for_use_up_no_attempt(tmp_path: Path) -> None:
    async with sitting(tmp_path) as desk:
        job = await desk.assigned(replace(SPEC, interruptible=True, max_attempts=1))
        for _ in range(3):
            await desk.stop(job, Event.PREEMPT, ReasonCode.PREEMPTED)
            await desk.see(replace(running(job), state=AttemptState.STOPPED, exit_code=0))
            job = await desk.assign(await desk.book.get(job.id))
        lost = Seen(attempt_id=f"{job.id}-4", epoch=4, state=AttemptState.FAILED, exit_code=1)
        await desk.see(lost)
        assert await desk.state(job) is JobState.FAILED
