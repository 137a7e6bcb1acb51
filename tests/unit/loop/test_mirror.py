"""What the planner knows of the world stays what the world is, and is told in pages."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scheduler.domain.job import Attempt, Command, Job, JobState
from scheduler.domain.transitions import Event
from scheduler.planner.snapshot import PlannedStart, RunningAttempt
from scheduler.planning import messages, unsent
from scheduler.planning.maker import RoundMaker
from scheduler.planning.messages import Ask, DriftedError, JobNews, Stamp
from scheduler.planning.mirror import Mirror
from scheduler.planning.unsent import Unsent
from scheduler.planning.values import as_of, pending_job, running_attempt
from scheduler.rounds.file import from_bytes
from scheduler.state.fleet import Fleet
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import NOW, WHY, a_change, a_spec, an_attempt, assign
from tests.fakes.planning import HEAD, REGION, Desk, Played, desk, nothing, place, plan_of


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        made.decide = nothing
        yield made


def maker_of(at_work: Desk) -> Played:
    planner = at_work.loop._planner
    assert isinstance(planner, Played)
    return planner


def a_job(number: int, state: JobState, version: int) -> Job:
    job_id = f"j{number}"
    attempts: tuple[Attempt, ...] = ()
    if state not in (JobState.PENDING, JobState.SUSPENDED):
        attempts = (an_attempt(job_id),)
    return Job(
        id=job_id,
        spec=a_spec(name=job_id, env={"TOKEN": "secret"}, priority=number % 2),
        state=state,
        reason=WHY,
        version=version,
        created_at=NOW + timedelta(seconds=number),
        updated_at=NOW,
        attempts=attempts,
    )


STATES = st.sampled_from(
    [JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.SUCCEEDED]
)
STEPS = st.lists(st.tuples(st.integers(0, 7), STATES) | st.sampled_from(["page", "anew"]))


@settings(deadline=None)
@given(STEPS)
def test_it_shows_what_is_whatever_came_in_between(steps: list[tuple[int, JobState] | str]) -> None:
    active: dict[str, Job] = {}
    fleet = Fleet(ManualClock(), {"shanghai": REGION}, 5.0)
    told = Unsent(active, fleet, dict, {}.get)  # type: ignore[arg-type]
    mirror = Mirror()
    for version, step in enumerate(steps):
        if step == "page":
            mirror.take(told.page())
        elif step == "anew":
            told.everything()
        else:
            number, state = step
            job = a_job(int(number), JobState(state), version)
            active.pop(job.id, None)
            if not job.state.final:
                active[job.id] = job
            told.job(job.id)
    mirror.take(told.page())
    assert not told.drifted
    mirror.check(told.stamp)
    assert {*told.versions} == {*active}
    shown = mirror.snapshot(an_ask(told.stamp))
    waiting = [active[job_id] for job_id in sorted(active)]
    want = [pending_job(job) for job in waiting if job.state is JobState.PENDING]
    assert [replace(job, spec=want[0].spec) for job in shown.jobs] == [
        replace(job, spec=want[0].spec) for job in want
    ]
    for job, meant in zip(shown.jobs, want, strict=True):
        assert job.spec == replace(meant.spec, name="", work=Command(()), env={})
    running = [job for job in waiting if job.state is JobState.RUNNING]
    assert [one.job_id for one in shown.running] == [job.id for job in running]


def an_ask(stamp: Stamp) -> Ask:
    changes = messages.Changes(anew=False)
    return Ask(
        round_id=1, now_at=NOW, slot_s=900.0, slots=4, changes=changes, stamp=stamp, claims=()
    )


def test_jobs_that_ask_for_the_same_share_a_spec() -> None:
    mirror = Mirror()
    jobs = [a_job(n, JobState.PENDING, 1) for n in range(4)]
    mirror.take(
        messages.Changes(
            anew=True, jobs=tuple(JobNews(job.id, job.version, pending_job(job)) for job in jobs)
        )
    )
    first, second, third, fourth = (mirror.pending[job.id].spec for job in jobs)
    assert first is third
    assert second is fourth
    assert first is not second


def test_a_page_that_was_lost_is_noticed() -> None:
    fleet = Fleet(ManualClock(), {"shanghai": REGION}, 5.0)
    active = {"j1": a_job(1, JobState.PENDING, 1)}
    told, mirror = Unsent(active, fleet, dict, {}.get), Mirror()  # type: ignore[arg-type]
    mirror.take(told.page())
    active["j1"] = a_job(1, JobState.RUNNING, 2)
    told.job("j1")
    told.page()
    with pytest.raises(DriftedError):
        mirror.check(told.stamp)
    # The same number of pages and of jobs, but another version.
    mirror.take(messages.Changes(anew=False))
    with pytest.raises(DriftedError):
        mirror.check(told.stamp)


def test_a_job_that_nobody_spoke_of_is_noticed() -> None:
    fleet = Fleet(ManualClock(), {"shanghai": REGION}, 5.0)
    active = {"j1": a_job(1, JobState.PENDING, 1)}
    told = Unsent(active, fleet, dict, {}.get)  # type: ignore[arg-type]
    told.page()
    assert not told.drifted
    active["j2"] = a_job(2, JobState.PENDING, 1)
    assert told.drifted


async def test_a_fresh_planner_is_told_everything_anew_in_pages(
    at_work: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsent, "PAGE_MOST", 2)
    at_work.decide = lambda s: plan_of(s, *(place(s, job, 3600.0) for job in s.jobs[:3]))
    jobs = [await at_work.submit(name=f"n{n}", max_delay_s=7200.0) for n in range(7)]
    running = await assign(at_work.book, jobs[6])
    await at_work.loop.round("submit")
    before = at_work.seen[-1]
    planner = maker_of(at_work)
    planner.maker = RoundMaker(planner._think)
    with capture_logs() as logged:
        await at_work.loop.round("tick")
    assert [entry["event"] for entry in logged] == ["planner.told_anew", "round"]
    after = at_work.seen[-1]
    assert (after.jobs, after.nodes, after.sites) == (before.jobs, before.nodes, before.sites)
    assert running.attempt is not None
    assert after.running == before.running == (as_of(running_shown(running), at_work.clock.now()),)
    # What it had planned itself, it is told as well.
    start = PlannedStart("qingyang", "A800", at_work.clock.now() + timedelta(seconds=3600))
    assert after.previous == dict.fromkeys((job.id for job in jobs[:3]), start)


def running_shown(job: Job) -> RunningAttempt:
    assert job.attempt is not None
    return replace(
        running_attempt(job, job.attempt), spec=replace(job.spec, name="", work=Command(()))
    )


async def test_a_change_of_a_node_or_site_reaches_the_planner(at_work: Desk) -> None:
    await at_work.submit()
    await at_work.loop.round("submit")
    at_work.fleet.report_node(HEAD.node_id, {"gpus": 4})
    at_work.fleet.report_site(HEAD.node_id, {"power_cap_kw": 100.0})
    await at_work.loop.round("tick")
    assert [node.gpus for node in at_work.seen[-1].nodes] == [4]
    assert at_work.seen[-1].sites["qingyang"].power_cap_kw == 100.0
    assert isinstance(at_work.clock, ManualClock)
    at_work.clock.pass_s(16.0)
    await at_work.loop.round("tick")
    assert [node.lifecycle for node in at_work.seen[-1].nodes] == ["SUSPECT"]


async def test_what_a_round_decides_comes_back_in_parts(
    at_work: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.maker.PAGE_MOST", 2)
    monkeypatch.setattr("scheduler.planning.maker.STARTS_MOST", 1)
    at_work.decide = lambda s: plan_of(
        s, *(place(s, job) for job in s.jobs[:3]), *(place(s, job, 900.0) for job in s.jobs[3:7])
    )
    jobs = [await at_work.submit(name=f"n{n}", max_delay_s=7200.0) for n in range(8)]
    await at_work.loop.round("submit")
    states = [await at_work.state(job) for job in jobs]
    assert states == [JobState.ASSIGNED] * 3 + [JobState.PENDING] * 5
    assert {record.job_id for record in at_work.loop.planned()} == {job.id for job in jobs[3:7]}
    assert all(at_work.loop.waits_because(job.id) for job in jobs[3:])
    [record] = await at_work.store.rounds.list_newest(1)
    assert (record.jobs, record.placed, record.planned, record.unplaced) == (8, 3, 4, 1)


async def test_what_was_lost_on_its_way_is_told_with_the_next_round(
    at_work: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.maker.PAGE_MOST", 1)
    planner, jobs = maker_of(at_work), [await at_work.submit(name=f"n{n}") for n in range(3)]

    async def dies(number: int) -> messages.Part:
        raise BrokenPipeError

    with monkeypatch.context() as patched:
        patched.setattr(planner, "part", dies)
        with pytest.raises(BrokenPipeError):
            await at_work.loop.round("submit")
    assert not all(at_work.loop.waits_because(job.id) for job in jobs)
    await at_work.loop.round("tick")
    assert all(at_work.loop.waits_because(job.id) for job in jobs)


@pytest.mark.parametrize("again", [nothing, lambda s: plan_of(s, place(s, s.jobs[0], 3600.0))])
async def test_only_what_is_new_comes_back(at_work: Desk, again: Callable[..., object]) -> None:
    job = await at_work.submit(max_delay_s=7200.0)
    at_work.decide = again  # type: ignore[assignment]
    await at_work.loop.round("submit")
    told = at_work.loop.explanation(job.id)
    await at_work.loop.round("tick")
    assert at_work.loop.explanation(job.id) is told
    # One that has left and come back is told again, be it the same.
    assigned = await assign(at_work.book, job)
    assert assigned.attempt is not None
    back = a_change(job.id, Event.FAIL_RETRY, attempt=assigned.attempt)
    await at_work.book.apply(back)
    assert at_work.loop.explanation(job.id) is None
    await at_work.loop.round("tick")
    assert at_work.loop.explanation(job.id) is not None


async def test_the_newest_rounds_are_kept_to_be_exported(
    at_work: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.planning.maker.KEPT_JOBS", 3)
    maker = maker_of(at_work).maker
    assert maker.export(0) is None
    for _ in range(3):
        await at_work.submit(env={"TOKEN": "secret"})
        await at_work.loop.round("submit")
    kept = {number: maker.export(number) for number in range(4)}
    assert [number for number, file in kept.items() if file] == [0, 3], "of one, two, three jobs"
    assert kept[0] == kept[3]
    made = from_bytes(kept[0] or b"")
    assert made.snapshot == at_work.seen[-1]
    assert not any(job.spec.env for job in made.snapshot.jobs)


async def test_a_round_that_failed_can_be_exported(at_work: Desk) -> None:
    await at_work.submit()
    at_work.decide = lambda s: plan_of(s, *[place(s, s.jobs[0])] * 2)
    with capture_logs() as logged:
        await at_work.loop.round("submit")
    [entry] = [entry for entry in logged if entry["event"] == "round.failed"]
    made = from_bytes(maker_of(at_work).maker.export(entry["id"]) or b"")
    assert made.failure.startswith("the plan breaks a rule: ")
    assert made.plan is not None
    # And one in which the planner itself fails.
    at_work.decide = lambda s: 1 / 0  # type: ignore[assignment, return-value]
    await at_work.submit()
    await at_work.loop.round("submit")
    made = from_bytes(maker_of(at_work).maker.export(0) or b"")
    assert (made.plan, made.failure) == (
        None, "the planner fails: ZeroDivisionError: division by zero"
    )  # fmt: skip
