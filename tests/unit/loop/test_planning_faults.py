"""What breaks a round: the loop goes on, and no job holds up the others for ever."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from scheduler.clock import PowerClock
from scheduler.domain.explanation import Explanation
from scheduler.domain.job import JobState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planner.plan import Explanations, Plan
from scheduler.planner.snapshot import Snapshot
from scheduler.planning import loop as loop_module
from scheduler.store.errors import StoreError
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import a_change, assign, eventually
from tests.fakes.planning import HEAD, Desk, all_now, desk, nothing, place, plan_of


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged; printing it with all its tracebacks would take longer than the tests."""
    with capture_logs() as entries:
        yield entries


@asynccontextmanager
async def going(at_work: Desk) -> AsyncIterator[None]:
    """The loop, running; it must still be when the test is done."""
    running = asyncio.create_task(at_work.loop.run())
    try:
        yield
        assert not running.done(), running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def fast_clock(speedup: float) -> PowerClock:
    now = datetime.now(UTC)
    return PowerClock(speedup, now, now)


async def test_a_submission_wakes_the_loop_and_names_what_woke_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at_work, going(at_work):
        job = await at_work.submit()
        at_work.loop.trigger("fleet changed")
        await eventually(lambda: job.id in at_work.book.active() and bool(at_work.seen))
        await eventually(lambda: at_work.book.active()[job.id].state is JobState.ASSIGNED)
        while not (rounds := await at_work.store.rounds.list_newest(1)):
            await asyncio.sleep(0.01)
    assert rounds[0].trigger == "fleet changed, submit"


async def test_the_loop_wakes_for_a_planned_start(tmp_path: Path) -> None:
    # Of the power clock, 300 s are 0.3 s here; a round without a reason comes after 1000 s.
    async with desk(tmp_path, fast_clock(1000.0)) as at_work:

        def later(snapshot: Snapshot) -> Plan:
            at_work.decide = all_now
            return plan_of(snapshot, *(place(snapshot, job, 300.0) for job in snapshot.jobs))

        at_work.decide = later
        job = await at_work.submit(max_delay_s=3600.0)
        async with going(at_work):
            await eventually(lambda: at_work.book.active()[job.id].state is JobState.ASSIGNED)
        first, second = at_work.seen
        assert second.now_at - first.now_at >= timedelta(seconds=300)


async def test_the_loop_wakes_at_the_end_of_a_back_off(tmp_path: Path) -> None:
    async with desk(tmp_path, fast_clock(1000.0)) as at_work:
        job = await at_work.submit()
        assigned = await assign(at_work.book, job)
        due_at = at_work.clock.now() + timedelta(seconds=400)
        at_work.decide = nothing
        async with going(at_work):
            await at_work.book.apply(
                a_change(job.id, Event.FAIL_RETRY, attempt=assigned.attempt, not_before_at=due_at)
            )
            await eventually(lambda: any(s.now_at >= due_at for s in at_work.seen))
    assert at_work.seen[0].jobs[0].not_before_at == due_at


async def test_a_planned_start_that_passed_while_it_was_planned_is_due_at_once(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with desk(tmp_path, clock) as at_work:

        def soon(snapshot: Snapshot) -> Plan:
            at_work.decide = all_now
            clock.pass_s(5.0)
            return plan_of(snapshot, *(place(snapshot, job, 4.0) for job in snapshot.jobs))

        at_work.decide = soon
        job = await at_work.submit(max_delay_s=3600.0)
        async with going(at_work):
            await eventually(lambda: at_work.book.active()[job.id].state is JobState.ASSIGNED)


async def test_a_round_that_raises_does_not_end_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "AFTER_FAULT_S", 0.01)
    async with desk(tmp_path) as at_work:
        add, failures = at_work.store.rounds.add, [StoreError("disk full"), RuntimeError("a bug")]

        async def fails(*given: Any) -> None:
            if failures:
                raise failures.pop()
            await add(*given)

        monkeypatch.setattr(at_work.store.rounds, "add", fails)
        at_work.decide = nothing
        async with going(at_work):
            for _ in range(3):
                seen = len(at_work.seen)
                await at_work.submit()
                await eventually(lambda seen=seen: len(at_work.seen) > seen)
            while not await at_work.store.rounds.list_newest(1):
                await asyncio.sleep(0.01)


def breaks_on(bad: set[str], snapshot: Snapshot) -> Plan:
    if bad & {job.id for job in snapshot.jobs}:
        raise OverflowError("cannot convert float infinity to integer")
    return all_now(snapshot)


async def test_jobs_that_break_the_planner_do_not_hold_up_the_others(tmp_path: Path) -> None:
    async with desk(tmp_path, fast_clock(1.0)) as at_work:
        jobs = [await at_work.submit() for _ in range(7)]
        bad = {jobs[2].id, jobs[3].id}
        at_work.decide = lambda snapshot: breaks_on(bad, snapshot)
        good = [job.id for job in jobs if job.id not in bad]
        async with going(at_work):
            await eventually(
                lambda: (
                    all(at_work.book.active()[i].state is JobState.ASSIGNED for i in good)
                    and all(at_work.loop.explanation(i) for i in bad)
                )
            )
            told = at_work.loop.waits_because(jobs[2].id)
            assert told is not None
            assert told.code is ReasonCode.NOT_PLANNED_YET
            assert "the planner fails on this job: OverflowError" in told.message
            # One that comes later is planned as if nothing were.
            late = await at_work.submit()
            await eventually(lambda: at_work.book.active()[late.id].state is JobState.ASSIGNED)
            # And when the fault is mended, nobody is left behind.
            bad.clear()
            await eventually(lambda: all(at_work.book.active()[j.id].attempts for j in jobs), 30.0)


async def test_a_plan_that_is_legal_but_for_one_job_is_made_without_it(tmp_path: Path) -> None:
    async with desk(tmp_path, fast_clock(1.0)) as at_work:
        bad = await at_work.submit()
        good = await at_work.submit()

        def twice(snapshot: Snapshot) -> Plan:
            plan = all_now(snapshot)
            again = [p for p in plan.placements if p.job_id == bad.id]
            return plan_of(snapshot, *plan.placements, *again)

        at_work.decide = twice
        async with going(at_work):
            await eventually(lambda: at_work.book.active()[good.id].state is JobState.ASSIGNED)
        assert await at_work.state(bad) is JobState.PENDING


async def test_a_job_that_cannot_be_told_of_costs_nobody_his_start(tmp_path: Path) -> None:
    def tongue_tied(snapshot: Snapshot) -> Plan:
        made = plan_of(snapshot, *(place(snapshot, job) for job in snapshot.jobs[1:]))

        def tell(i: int) -> Explanation:
            if i == 0:
                raise OverflowError("date value out of range")
            return made.explanations[i]

        return replace(made, explanations=Explanations(made.verdicts, tell))

    async with desk(tmp_path, ManualClock()) as at_work:
        waits, starts = await at_work.submit(), await at_work.submit()
        at_work.decide = tongue_tied
        await at_work.loop.round("tick")
        assert await at_work.state(starts) is JobState.ASSIGNED
        told = at_work.loop.waits_because(waits.id)
    assert told is not None
    assert told.code is ReasonCode.CAPACITY
    assert "OverflowError: date value out of range" in told.message


async def test_a_job_that_ends_is_no_longer_suspected(tmp_path: Path) -> None:
    clock = ManualClock()
    async with desk(tmp_path, clock) as at_work:
        job = await at_work.submit()
        at_work.decide = lambda snapshot: breaks_on({job.id}, snapshot)
        for _ in range(3):
            await at_work.loop.round("tick")
            clock.pass_s(1.0)
            at_work.fleet.heard(HEAD.node_id)
        await at_work.book.cancel(job.id)
        assert await at_work.state(job) is JobState.CANCELLED
        seen = len(at_work.seen)
        await at_work.loop.round("tick")
        assert len(at_work.seen) == seen
        assert at_work.loop.explanation(job.id) is None
