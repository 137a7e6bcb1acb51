"""What the dispatcher wishes for, and what it makes of what agents see."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scheduler.dispatch import dispatcher
from scheduler.dispatch.dispatcher import may_start
from scheduler.dispatch.verdict import Seen
from scheduler.domain.arrays import Progress, TaskCounts
from scheduler.domain.job import ArraySpec, AttemptState, Job, JobState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.transitions import Event
from scheduler.state.jobs import Change, JobBook, Refusal
from scheduler.store.errors import StaleVersionError, StoreError
from tests.fakes.desk import SPEC, Desk, Head, running, sitting


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with sitting(tmp_path) as desk:
        yield desk


async def test_an_assignment_is_wished_for_until_it_has_ended(desk: Desk) -> None:
    job = await desk.assigned()
    assert desk.head.wishes[-1] == [f"{job.id}-1"]
    await desk.see(running(job))
    assert await desk.state(job) is JobState.RUNNING
    done = Seen(attempt_id=f"{job.id}-1", epoch=1, state=AttemptState.SUCCEEDED, exit_code=0)
    await desk.see(done)
    await desk.see(done)  # told again, as agents do until it is no longer wished for
    assert await desk.state(job) is JobState.SUCCEEDED
    assert desk.head.wishes[-1] == []


async def test_a_cancel_is_done_only_when_the_agent_has_answered_the_wish_without_it(
    desk: Desk,
) -> None:
    desk.head.wish_changed()
    job = await desk.assigned()
    with_it = desk.head.seq
    assert with_it > 1
    await desk.book.cancel(job.id)
    assert desk.head.wishes[-1] == []
    # From before the agent had heard of the attempt, and arrived late.
    for earlier in range(with_it):
        await desk.see(answers=earlier)
        assert await desk.state(job) is JobState.CANCELLING
    await desk.see(answers=with_it)  # it may be on its way
    assert await desk.state(job) is JobState.CANCELLING
    await desk.see()
    assert await desk.state(job) is JobState.CANCELLED


async def test_an_attempt_that_the_agent_does_not_know_is_lost_and_retried(desk: Desk) -> None:
    job = await desk.assigned()
    await desk.see(running(job))
    await desk.see()
    after = await desk.book.get(job.id)
    assert after.state is JobState.PENDING
    assert after.reason.code is ReasonCode.WORKER_LOST


async def test_a_chunk_that_is_lost_keeps_the_tasks_it_has_told_of(desk: Desk) -> None:
    [job], _ = await desk.book.submit_array(replace(SPEC, array=ArraySpec(tasks=20)))
    job = await desk.assign(job)
    for told in (Progress(b"\x01", b"", 4), Progress(b"\x0f", b"\x10", 4)):
        await desk.see(replace(running(job), tasks=told))
    job = await desk.book.get(job.id)
    assert desk.book.progress.counts(job) == TaskCounts(20, running=4, succeeded=4, failed=1)
    await desk.see()
    after = await desk.book.get(job.id)
    assert after.state is JobState.PENDING
    assert after.attempts[0].tasks_done == b"\x0f"
    assert desk.book.progress.of(after) is None


async def test_an_exchange_looks_at_no_job_that_waits(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be 100,000 of them, and every head agent's exchange would pay for that."""
    job = await desk.assigned()
    await desk.book.submit(SPEC)

    def never(_: JobBook) -> Mapping[str, Job]:
        raise AssertionError("all jobs were asked for")

    monkeypatch.setattr(JobBook, "active", never)
    await desk.see(running(job))
    assert await desk.state(job) is JobState.RUNNING
    assert desk.dispatcher.alive_for_s("qingyang") > 0
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    assert await desk.state(job) is JobState.UNREACHABLE


async def test_nothing_starts_elsewhere_before_the_lease_has_expired(desk: Desk) -> None:
    job = await desk.assigned()
    await desk.see(running(job))
    desk.streams.remove(desk.head)
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    silent = await desk.book.get(job.id)
    assert silent.state is JobState.UNREACHABLE
    assert silent.reason.message.startswith("qingyang is silent for 20 s; its lease ends in 3")
    desk.clock.pass_s(30.0)
    await desk.dispatcher.check_contact()
    assert await desk.state(job) is JobState.UNREACHABLE
    desk.clock.pass_s(2.0)
    await desk.dispatcher.check_contact()
    lost = await desk.book.get(job.id)
    assert lost.state is JobState.PENDING
    assert lost.attempts[0].state is AttemptState.LOST
    assert lost.reason.code is ReasonCode.LEASE_EXPIRED


async def test_a_cluster_that_comes_back_in_time_goes_on(desk: Desk) -> None:
    job = await desk.assigned()
    await desk.see(running(job))
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    desk.reach.up = True
    await desk.see(running(job))
    assert await desk.state(job) is JobState.RUNNING


async def test_an_old_attempt_says_nothing_about_the_new_one(desk: Desk) -> None:
    job = await desk.assigned()
    await desk.see(running(job))
    await desk.see()  # lost
    again = await desk.assign(await desk.book.get(job.id))
    old = Seen(attempt_id=f"{job.id}-1", epoch=1, state=AttemptState.SUCCEEDED, exit_code=0)
    await desk.see(old, running(again))
    assert await desk.state(job) is JobState.RUNNING
    assert desk.head.wishes[-1] == [f"{job.id}-2"]


async def test_a_stream_that_was_taken_over_is_not_listened_to(desk: Desk) -> None:
    job = await desk.assigned()
    old = desk.head
    desk.head = Head(desk)
    desk.streams.add(desk.head)
    await desk.dispatcher.observed(old, 1, [running(job)], old.seq)
    assert await desk.state(job) is JobState.ASSIGNED


async def test_an_attempt_that_nobody_saw_run_may_start_when_the_cluster_is_back(
    desk: Desk,
) -> None:
    job = await desk.assigned()
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    silent = await desk.book.get(job.id)
    assert silent.state is JobState.UNREACHABLE
    assert may_start(silent)
    desk.reach.up = True
    await desk.see(running(job))
    seen = await desk.book.get(job.id)
    assert seen.attempt is not None and seen.attempt.started_at is not None
    assert not may_start(seen)
    desk.reach.up = False
    await desk.dispatcher.check_contact()
    assert not may_start(await desk.book.get(job.id))


async def test_what_runs_keeps_its_lease_while_the_store_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.assigned()

    async def full(*_: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(desk.book, "apply_many", full)
    wishes = len(desk.head.wishes)
    await desk.see(running(job))
    assert desk.head.wishes[wishes:] == [[f"{job.id}-1"]]
    monkeypatch.undo()
    await desk.see(running(job))
    assert await desk.state(job) is JobState.RUNNING


@pytest.mark.parametrize("event", [Event.PREEMPT, Event.SUSPEND])
async def test_an_end_counts_as_heard_only_when_it_is_stored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    """It is wished for no more: an agent that took its end for heard would drop it, and what had
    succeeded would run again."""
    job = await desk.assigned(replace(SPEC, interruptible=True))
    await desk.see(running(job))
    assert desk.head.stored_seq == 1
    await desk.stop(job, event, ReasonCode.PREEMPTED)
    assert desk.head.wishes[-1] == []

    async def full(*_: Any) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(desk.book, "apply_many", full)
    done = Seen(attempt_id=f"{job.id}-1", epoch=1, state=AttemptState.SUCCEEDED, exit_code=0)
    wishes = len(desk.head.wishes)
    await desk.see(done)
    assert desk.head.stored_seq == 1
    assert len(desk.head.wishes) > wishes, "its lease goes on"
    monkeypatch.undo()
    await desk.see(done)
    assert desk.head.stored_seq == 3
    assert await desk.state(job) is JobState.SUCCEEDED


async def test_an_end_that_was_overtaken_is_not_stored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.assigned()

    async def overtaken(changes: Sequence[Change]) -> list[Refusal]:
        return [StaleVersionError(change.job_id, 1, 2) for change in changes]

    monkeypatch.setattr(desk.book, "apply_many", overtaken)
    await desk.see(running(job))
    assert desk.head.stored_seq == 0


async def test_attempts_of_a_silent_head_count_as_alive_until_their_lease_ends(
    desk: Desk,
) -> None:
    assert desk.dispatcher.alive_for_s("qingyang") == 0, "there are none"
    await desk.assigned()
    assert 30 < desk.dispatcher.alive_for_s("qingyang") < 32
    assert desk.dispatcher.alive_for_s("zhongwei") == 0
    desk.clock.pass_s(40.0)
    assert desk.dispatcher.alive_for_s("qingyang") == 0


async def test_a_wish_names_no_more_specs_than_a_message_can_carry(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SPECS_MOST_BYTES", 3 * dispatcher.SPEC_BYTES)
    await desk.book.load()
    jobs = [await desk.assign((await desk.book.submit(SPEC))[0]) for _ in range(4)]
    ids = [f"{job.id}-1" for job in jobs]
    assert desk.head.wishes[-1] == ids[:2], "specs have more to them than their bounded parts"
    starts = replace(running(jobs[1]), state=AttemptState.STARTING)
    await desk.see(running(jobs[0]), starts)
    assert desk.head.wishes[-1] == ids[:3], "what runs needs no spec any more"
    assert await desk.state(jobs[3]) is JobState.ASSIGNED
    await desk.see(*map(running, jobs[:3]))
    assert desk.head.wishes[-1] == ids
