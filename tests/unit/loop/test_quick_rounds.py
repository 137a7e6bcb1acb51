"""Between whole rounds, what falls free goes to the front of the line."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from scheduler.domain.job import JobState
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import Prices, Snapshot
from tests.fakes.clock import ManualClock
from tests.fakes.planning import HEAD, Desk, all_now, desk, nothing, place, plan_of

# Of the one node that has reported.
GPUS = 8
LONG_S = 1.0


def pass_s(at_work: Desk, seconds: float) -> None:
    assert isinstance(at_work.clock, ManualClock)
    at_work.clock.pass_s(seconds)
    at_work.fleet.heard(HEAD.node_id)


def in_turn(snapshot: Snapshot, in_s: float) -> Plan:
    """As many as there is room for in ``in_s`` seconds, the others an hour later and so on."""
    return plan_of(
        snapshot,
        *(place(snapshot, job, in_s + 3600 * (n // GPUS)) for n, job in enumerate(snapshot.jobs)),
    )


@pytest_asyncio.fixture
async def at_work(tmp_path: Path) -> AsyncIterator[Desk]:
    """Twenty jobs of a kind, of which a long whole round has started none."""
    async with desk(tmp_path) as made:
        for number in range(20):
            await made.submit(name=f"n{number}")

        def slowly(snapshot: Snapshot) -> Plan:
            pass_s(made, LONG_S)
            return in_turn(snapshot, 3600.0)

        made.decide = slowly
        await made.loop.round("submit")
        assert len(made.seen[-1].jobs) == 20
        made.decide = all_now
        yield made


def pending(at_work: Desk) -> set[str]:
    active = at_work.book.active().values()
    return {job.id for job in active if job.state is JobState.PENDING}


async def test_the_first_in_line_get_what_is_free(at_work: Desk) -> None:
    oldest = sorted(at_work.book.active())[:GPUS]
    await at_work.loop.round("attempt ended")
    assert [job.id for job in at_work.seen[-1].jobs] == oldest
    assert pending(at_work) == {*at_work.book.active()} - {*oldest}
    [record, _] = await at_work.store.rounds.list_newest(10)
    assert (record.jobs, record.placed) == (GPUS, GPUS)
    assert record.trigger == "attempt ended (front of the line)"


async def test_what_the_whole_round_thought_of_the_rest_stands(at_work: Desk) -> None:
    before = {
        i: (at_work.loop.explanation(i), at_work.loop.planned_start(i)) for i in pending(at_work)
    }
    at_work.decide = nothing
    await at_work.loop.round("attempt ended")
    assert len(at_work.seen[-1].jobs) == GPUS
    after = {
        i: (at_work.loop.explanation(i), at_work.loop.planned_start(i)) for i in pending(at_work)
    }
    assert after == before
    assert len(await at_work.store.rounds.list_newest(10)) == 1, "it did nothing to be told of"


async def test_a_job_that_no_round_has_seen_is_told_what_the_quick_one_thinks(
    at_work: Desk,
) -> None:
    at_work.decide = nothing
    new = await at_work.submit(priority=1)
    await at_work.loop.round("submit")
    assert new.id in {job.id for job in at_work.seen[-1].jobs}
    assert at_work.loop.explanation(new.id) is not None


async def test_after_a_rest_the_whole_is_planned_again(at_work: Desk) -> None:
    pass_s(at_work, 4 * LONG_S)
    await at_work.loop.round("tick")
    assert len(at_work.seen[-1].jobs) == 20


async def test_when_a_planned_start_has_come_the_whole_is_planned(at_work: Desk) -> None:
    at_work.decide = nothing
    await at_work.loop.round("attempt ended")
    assert len(at_work.seen[-1].jobs) == GPUS
    start_at = min(record.start_at for record in at_work.loop.planned())
    # Only just before it, another whole round has taken long.
    pass_s(at_work, (start_at - at_work.clock.now()).total_seconds() - 2 * LONG_S)

    def slowly(snapshot: Snapshot) -> Plan:
        pass_s(at_work, LONG_S)
        return in_turn(snapshot, (start_at - snapshot.now_at) / timedelta(seconds=1))

    at_work.decide = slowly
    await at_work.loop.round("tick")
    await at_work.loop.round("attempt ended")
    assert [len(snapshot.jobs) for snapshot in at_work.seen[-2:]] == [20, GPUS]
    pass_s(at_work, LONG_S)
    at_work.decide = nothing
    await at_work.loop.round("tick")
    assert len(at_work.seen[-1].jobs) == 20


async def test_whole_rounds_start_from_the_prices_of_the_last_whole_one(at_work: Desk) -> None:
    at_work.decide = nothing
    found = at_work.prices = Prices(at_work.clock.now(), 900.0, (), ())
    await at_work.loop.round("attempt ended")
    assert at_work.seen[-1].prices is None, "of other jobs than it plans"
    for _ in range(2):
        pass_s(at_work, 4 * LONG_S)
        await at_work.loop.round("tick")
    assert [seen.prices for seen in at_work.seen[-2:]] == [None, found]
