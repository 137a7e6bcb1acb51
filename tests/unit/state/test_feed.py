"""The feed of changes: in order, filtered, bounded."""

import asyncio

import pytest

from scheduler.domain.job import Job, JobEvent, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.state import feed as feed_module
from scheduler.state.feed import Feed, SlowWatcherError
from tests.fakes.jobs import NOW, WHY, a_spec


def change(job_id: str, version: int) -> tuple[Job, JobEvent]:
    job = Job(
        id=job_id,
        spec=a_spec(),
        state=JobState.PENDING,
        reason=WHY,
        version=version,
        created_at=NOW,
        updated_at=NOW,
    )
    event = JobEvent(
        id=version,
        job_id=job_id,
        at=NOW,
        actor="test",
        event="SUBMIT",
        from_state=JobState.PENDING,
        to_state=JobState.PENDING,
        reason=Reason(ReasonCode.OK, ""),
    )
    return job, event


async def test_each_watcher_gets_what_it_wants_in_order() -> None:
    feed = Feed()
    with (
        feed.subscribe(lambda _: True) as everything,
        feed.subscribe(lambda job: job.id == "b") as some,
    ):
        sent = [change("a", 1), change("b", 2), change("b", 3)]
        waiting = asyncio.create_task(anext(everything))
        await asyncio.sleep(0)
        for job, event in sent:
            feed.publish(job, event)
        assert [await waiting, await anext(everything), await anext(everything)] == sent
        assert [await anext(some), await anext(some)] == sent[1:]


async def test_a_slow_watcher_is_told_and_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "BACKLOG_MOST", 10)
    feed = Feed()
    with feed.subscribe(lambda _: True) as slow, feed.subscribe(lambda _: True) as quick:
        for version in range(100):
            feed.publish(*change("a", version))
            assert (await anext(quick))[0].version == version
        with pytest.raises(SlowWatcherError, match="read faster"):
            await anext(slow)


async def test_after_the_end_nothing_is_kept() -> None:
    feed = Feed()
    with feed.subscribe(lambda _: True) as changes:
        pass
    feed.publish(*change("a", 1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(changes)
