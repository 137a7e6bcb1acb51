"""One round: what is committed, kept and told, and what of it is overtaken meanwhile."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.domain.explanation import Candidate, Outcome
from scheduler.domain.job import AcceleratorOption, AttemptState, JobState, WorkerShape
from scheduler.domain.reason import ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import PlannedStart, Snapshot
from scheduler.planning.standing import closer
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import assign, end
from tests.fakes.planning import HEAD, Desk, all_now, desk, nothing, place, plan_of


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


def pass_s(at_work: Desk, seconds: float) -> None:
    assert isinstance(at_work.clock, ManualClock)
    at_work.clock.pass_s(seconds)
    at_work.fleet.heard(HEAD.node_id)


async def test_what_starts_now_is_committed_with_its_reasons(at_work: Desk) -> None:
    job = await at_work.submit()
    await at_work.loop.round("submit")
    after = await at_work.book.get(job.id)
    assert after.state is JobState.ASSIGNED and after.attempt is not None
    assert (after.attempt.id, after.attempt.epoch) == (f"{job.id}-1", 1)
    assert after.attempt.nodes == ("qingyang-1",)
    assert after.attempt.expected_end_at == at_work.clock.now() + timedelta(seconds=600)
    [record] = await at_work.store.rounds.list_newest(10)
    assert (record.trigger, record.jobs, record.placed, record.unplaced) == ("submit", 1, 1, 0)
    stored = await at_work.store.rounds.explanation(job.id, 1)
    assert stored is not None
    assert (stored.round_id, stored.round_gap) == (record.id, 0.25)
    [(_, placement)] = await at_work.store.jobs.placements(limit=9)
    assert placement.attempt_id == f"{job.id}-1"
    assert at_work.loop.explanation(job.id) is None, "kept for pending jobs alone"


async def test_a_round_tells_what_it_saw_and_what_it_moved(at_work: Desk) -> None:
    for _ in range(4):
        await at_work.submit()

    def later(snapshot: Snapshot) -> Plan:
        return plan_of(snapshot, *(place(snapshot, job, 7200.0) for job in snapshot.jobs))

    def shuffled(snapshot: Snapshot) -> Plan:
        """One starts, one stays, one moves, one is given up."""
        starts, stays, moves, _ = snapshot.jobs
        stay_s = (snapshot.previous[stays.id].start_at - snapshot.now_at).total_seconds()
        places = ((starts, 0.0), (stays, stay_s), (moves, 3600.0))
        return plan_of(snapshot, *(place(snapshot, job, in_s) for job, in_s in places))

    at_work.decide = later
    await at_work.loop.round("submit")
    pass_s(at_work, 60.0)
    at_work.decide = shuffled
    await at_work.loop.round("tick")
    newest, first = await at_work.store.rounds.list_newest(10)
    assert (first.moved, first.kept) == (0, 0)
    assert (newest.moved, newest.kept) == (2, 2)
    assert (newest.nodes, newest.clusters, newest.running, newest.quick) == (1, 1, 0, False)
    at_work.decide = nothing
    pass_s(at_work, 60.0)
    await at_work.loop.round("tick")
    [given_up] = await at_work.store.rounds.list_newest(1)
    assert (given_up.moved, given_up.kept, given_up.running) == (2, 0, 1)
    assert await at_work.store.rounds.find(given_up.id) == given_up
    assert await at_work.store.rounds.find(99) is None


async def test_without_pending_jobs_nothing_is_planned(at_work: Desk) -> None:
    await at_work.loop.round("tick")
    assert at_work.seen == []
    assert await at_work.store.rounds.list_newest(10) == []


async def test_running_attempts_are_in_the_snapshot_until_they_end(at_work: Desk) -> None:
    first = await at_work.submit()
    await at_work.loop.round("submit")
    await at_work.submit()
    at_work.decide = nothing
    await at_work.loop.round("submit")
    assert [r.attempt_id for r in at_work.seen[-1].running] == [f"{first.id}-1"]
    await end(at_work.book, await at_work.book.get(first.id), Event.SUCCEED, AttemptState.SUCCEEDED)
    await at_work.loop.round("attempt ended")
    assert at_work.seen[-1].running == ()


async def test_a_cancel_while_planning_wins(at_work: Desk) -> None:
    job, other = await at_work.submit(), await at_work.submit()
    at_work.meanwhile = lambda: at_work.book.cancel(job.id)
    await at_work.loop.round("submit")
    assert await at_work.state(job) is JobState.CANCELLED
    assert await at_work.state(other) is JobState.ASSIGNED
    [record] = await at_work.store.rounds.list_newest(1)
    assert (record.jobs, record.placed) == (2, 1)


async def test_a_plan_for_an_older_version_of_a_job_is_overtaken(at_work: Desk) -> None:
    job = await at_work.submit()

    async def fails_once() -> None:
        assigned = await assign(at_work.book, job)
        await end(at_work.book, assigned, Event.FAIL_RETRY, AttemptState.FAILED)

    at_work.meanwhile = fails_once
    await at_work.loop.round("submit")
    after = await at_work.book.get(job.id)
    assert after.state is JobState.PENDING
    assert [attempt.number for attempt in after.attempts] == [1]
    await at_work.loop.round("attempt ended")
    assert [a.number for a in (await at_work.book.get(job.id)).attempts] == [1, 2]


@pytest.mark.parametrize("what", ["the stream closes", "the node falls silent"])
async def test_a_place_that_goes_away_while_planning_is_not_taken(at_work: Desk, what: str) -> None:
    job = await at_work.submit()
    at_work.decide = nothing
    await at_work.loop.round("submit")
    at_work.decide = all_now
    if what == "the stream closes":
        at_work.meanwhile = lambda: at_work.fleet.disconnect(HEAD)
    else:
        assert isinstance(at_work.clock, ManualClock)
        clock = at_work.clock
        at_work.meanwhile = lambda: clock.pass_s(16.0)
    await at_work.loop.round("tick")
    assert await at_work.state(job) is JobState.PENDING
    told = at_work.loop.explanation(job.id)
    assert told is not None
    assert told.outcome is Outcome.UNPLACED, "nobody is told of a start that did not happen"
    stored = await at_work.store.rounds.explanation(job.id)
    assert stored is not None
    assert stored.outcome is Outcome.UNPLACED


async def test_a_node_that_goes_away_alone_is_not_given_work(at_work: Desk) -> None:
    worker = replace(HEAD, node_id="qingyang-2", head=False, incarnation="b")
    at_work.fleet.connect(worker)
    at_work.fleet.report_node("qingyang-2", {"accelerator": "A800", "gpus": 8, "cpus": 64.0})
    at_work.fleet.report_node("qingyang-2", {"memory_gb": 512.0, "gpu_power_kw": 0.5})
    job = await at_work.submit()

    def on_the_second(snapshot: Snapshot) -> Plan:
        chosen = place(snapshot, snapshot.jobs[0])
        return plan_of(snapshot, replace(chosen, nodes=("qingyang-2",)))

    at_work.decide = on_the_second
    at_work.meanwhile = lambda: at_work.fleet.disconnect(worker)
    await at_work.loop.round("submit")
    assert await at_work.state(job) is JobState.PENDING


async def test_an_illegal_plan_is_thrown_away_whole(at_work: Desk) -> None:
    jobs = [await at_work.submit(), await at_work.submit()]

    def on_no_node(snapshot: Snapshot) -> Plan:
        chosen = [place(snapshot, job) for job in snapshot.jobs]
        return plan_of(snapshot, *(replace(p, nodes=("nowhere-1",)) for p in chosen))

    at_work.decide = on_no_node
    await at_work.loop.round("submit")
    assert [await at_work.state(job) for job in jobs] == [JobState.PENDING] * 2
    assert await at_work.store.rounds.list_newest(10) == []


async def test_a_planned_start_is_kept_shown_and_given_to_the_next_round(at_work: Desk) -> None:
    job = await at_work.submit(max_delay_s=7200.0)

    def later(snapshot: Snapshot) -> Plan:
        return plan_of(snapshot, *(place(snapshot, job, 1800.0) for job in snapshot.jobs))

    at_work.decide = later
    await at_work.loop.round("submit")
    start = PlannedStart("qingyang", "A800", at_work.clock.now() + timedelta(seconds=1800))
    assert at_work.loop.planned_start(job.id) == start
    [record] = at_work.loop.planned()
    assert not record.committed and record.green_share == 0
    assert await at_work.state(job) is JobState.PENDING
    await at_work.loop.round("tick")
    assert at_work.seen[0].previous == {}
    assert at_work.seen[1].previous == {job.id: start}
    await at_work.book.cancel(job.id)
    assert at_work.loop.planned() == []
    assert at_work.loop.explanation(job.id) is None


async def test_a_start_tells_what_its_first_plan_had_said(at_work: Desk) -> None:
    at_work.decide = lambda seen: plan_of(seen, place(seen, seen.jobs[0], in_s=1800))
    job = await at_work.submit()
    first_at = at_work.clock.now() + timedelta(seconds=1800)
    await at_work.loop.round("submit")
    pass_s(at_work, 900)
    await at_work.loop.round("tick")
    assert at_work.loop.planned_start(job.id) != first_at
    expected = (await at_work.loop.why(await at_work.book.get(job.id))).expected
    assert expected is not None and expected.first_planned_at == first_at
    at_work.decide = all_now
    pass_s(at_work, 60)
    await at_work.loop.round("tick")
    stored = await at_work.store.rounds.explanation(job.id, 1)
    assert stored is not None and stored.first_planned_at == first_at


async def test_a_start_tells_why_it_had_waited(at_work: Desk) -> None:
    job = await at_work.submit()
    at_work.decide = nothing
    await at_work.loop.round("submit")
    assert at_work.loop.waits_because(job.id) is not None
    at_once = await at_work.submit()
    at_work.decide = all_now
    await at_work.loop.round("tick")
    waited = await at_work.store.rounds.explanation(job.id, 1)
    prompt = await at_work.store.rounds.explanation(at_once.id, 1)
    assert waited is not None and prompt is not None
    assert waited.waited is not None and waited.waited.code is ReasonCode.CAPACITY
    assert prompt.waited is None


async def test_a_job_that_cannot_meet_its_deadline_any_more_fails(at_work: Desk) -> None:
    deadline_at = at_work.clock.now() + timedelta(seconds=700)
    fast = (AcceleratorOption("A800", 1.0), AcceleratorOption("H800", 2.0))
    slow = await at_work.submit(deadline_at=deadline_at)
    fits = await at_work.submit(deadline_at=deadline_at, accelerators=fast)
    cpus = await at_work.submit(
        deadline_at=deadline_at, accelerators=fast, per_worker=WorkerShape(0, 1.0, 1.0)
    )
    at_work.decide = nothing
    pass_s(at_work, 101.0)
    await at_work.loop.round("tick")
    failed = await at_work.book.get(slow.id)
    assert failed.state is JobState.FAILED
    assert failed.reason.code is ReasonCode.DEADLINE
    assert await at_work.state(cpus) is JobState.FAILED, "without accelerators, all are as fast"
    assert await at_work.state(fits) is JobState.PENDING
    pass_s(at_work, 300.0)
    await at_work.loop.round("tick")
    assert await at_work.state(fits) is JobState.FAILED


async def test_a_job_that_would_take_for_ever_fails_and_harms_nobody(at_work: Desk) -> None:
    deadline_at = at_work.clock.now() + timedelta(days=1)
    for speed in (1e-9, 1e-300, 5e-324):
        slow = (AcceleratorOption("A800", speed),)
        job = await at_work.submit(deadline_at=deadline_at, accelerators=slow)
        await at_work.loop.round("submit")
        assert await at_work.state(job) is JobState.FAILED


async def test_what_was_told_in_short_is_told_closely_when_asked_for(at_work: Desk) -> None:
    at_work.decide = nothing
    job = await at_work.submit()
    await at_work.loop.round("test")
    short = at_work.loop.explanation(job.id)
    assert short is not None
    assert not short.candidates
    ruled_out = Candidate(
        cluster="qingyang",
        accelerator="A800",
        feasible=False,
        chosen=False,
        start_at=None,
        end_at=None,
        rtt_p95_ms=None,
        green_share=0.0,
        energy_kwh=0.0,
        carbon_kg=0.0,
        terms=(),
        total_yuan=0.0,
        reason=short.reason,
    )
    closely = replace(short, candidates=(ruled_out,), round_id=0)
    at_work.closely[job.id] = closely
    told = await at_work.loop.explain(job.id)
    assert told is not None
    assert told.candidates == closely.candidates
    assert told.round_id == short.round_id
    assert await at_work.loop.explain("nobody") is None
    # Of an older round than the one whose answer stands: what stands is told.
    assert closer(short, replace(closely, round_id=short.round_id - 1)) == short
