"""The job book: durable before it is told, in order, one owner."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.domain.job import ArraySpec, AttemptState, Job, JobSpec, JobState
from scheduler.domain.transitions import Effect, Event, IllegalTransitionError, Step
from scheduler.state.jobs import AlreadyEndedError, JobBook, KeyConflictError, UnknownJobError
from scheduler.store import Store
from scheduler.store.errors import StaleVersionError
from scheduler.store.jobs import JobFilter
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import NOW, a_change, a_spec, an_attempt, assign, end, eventually, opened


async def test_a_submitted_job_is_there_after_a_restart(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        job, existed = await book.submit(a_spec(), "key")
        assert not existed
        assert job.state is JobState.PENDING
        running = await assign(book, (await book.submit(a_spec()))[0])
        ended = (await book.submit(a_spec()))[0]
        ended = await book.cancel(ended.id)
    async with opened(database_url) as (_, book):
        assert dict(book.active()) == {job.id: job, running.id: running}
        assert await book.get(ended.id) == ended
        again, existed = await book.submit(a_spec(), "key")
        assert (again, existed) == (job, True)
        newer, _ = await book.submit(a_spec())
        assert newer.id > ended.id > running.id > job.id


def live_by_cluster(book: JobBook) -> dict[str, dict[str, Job]]:
    return {cluster: dict(book.live.on(cluster)) for cluster in book.live.clusters()}


async def test_live_jobs_are_found_by_their_cluster(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        jobs = [(await book.submit(a_spec()))[0] for _ in range(4)]
        assert live_by_cluster(book) == {}
        here = await assign(book, jobs[0])
        there = await assign(book, jobs[1], cluster="zhongwei")
        moves = await assign(book, jobs[2])
        assert set(book.live.on("qingyang")) == {here.id, moves.id}
        moves = await end(book, moves, Event.FAIL_RETRY, AttemptState.FAILED)
        assert live_by_cluster(book) == {"qingyang": {here.id: here}, "zhongwei": {there.id: there}}
        moves = await assign(book, moves, 2, cluster="zhongwei")
        stopping = await book.cancel(here.id)
        assert stopping.state is JobState.CANCELLING
        await end(book, there, Event.SUCCEED, AttemptState.SUCCEEDED)
        told = {"qingyang": {here.id: stopping}, "zhongwei": {moves.id: moves}}
        assert live_by_cluster(book) == told
    async with opened(database_url) as (_, book):
        assert live_by_cluster(book) == told
        assert {job.id for job in book.live} == {here.id, moves.id}
        assert len(book.live) == 2
        assert not book.live.on("nowhere")


async def test_a_key_belongs_to_a_tenant_and_a_spec(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        job, _ = await book.submit(a_spec(env={"A": "1", "B": "2"}), "key")
        other, existed = await book.submit(a_spec(tenant="shop"), "key")
        assert not existed
        assert other.id != job.id
        with pytest.raises(KeyConflictError) as caught:
            await book.submit(a_spec(env={"A": "secret", "B": "2"}, workers=3), "key")
        said = str(caught.value)
        assert job.id in said
        assert "workers was 1, now 3" in said
        assert "env (A)" in said
        assert "secret" not in said
        assert len(book.active()) == 2


async def test_a_file_whose_times_count_from_the_submission_is_the_same_when_repeated(
    database_url: str,
) -> None:
    def in_hours(hours: float, **changes: Any) -> JobSpec:
        start_at, end_at = NOW + timedelta(hours=hours), NOW + timedelta(hours=hours + 4)
        return a_spec(earliest_start_at=start_at, deadline_at=end_at, **changes)

    async with opened(database_url) as (_, book):
        job, _ = await book.submit(in_hours(1), "key")
        assert await book.submit(in_hours(1.5), "key") == (job, True)
        array = ArraySpec(tasks=4, chunk_tasks=2)
        chunks, _ = await book.submit_array(in_hours(1, array=array), "array")
        assert await book.submit_array(in_hours(1.5, array=array), "array") == (chunks, True)
        with pytest.raises(KeyConflictError) as caught:
            await book.submit(in_hours(1.5, workers=3), "key")
    assert "workers was 1, now 3" in str(caught.value)
    assert "deadline_at" not in str(caught.value), "they may differ"


async def test_many_at_once_with_one_key_make_one_job(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        results = await asyncio.gather(*(book.submit(a_spec(), "key") for _ in range(20)))
        assert len({job.id for job, _ in results}) == 1
        assert [existed for _, existed in results] == [False] + [True] * 19
        batch = await book.submit_many([(a_spec(), "new"), (a_spec(), "new"), (a_spec(), "key")])
        assert [not isinstance(r, Exception) and r[1] for r in batch] == [False, True, True]
        assert len(book.active()) == 2


async def test_listeners_hear_of_durable_changes_in_order(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        heard: list[Step] = []

        def broken(_: Step) -> None:
            raise RuntimeError("a listener's own fault")

        book.on_step(broken)
        book.on_step(heard.append)
        job, _ = await book.submit(a_spec())
        attempt = an_attempt(job.id)
        begun = replace(attempt, state=AttemptState.RUNNING)
        changes = [
            a_change(job.id, Event.ASSIGN, attempt=attempt),
            a_change(job.id, Event.START, attempt=begun),
        ]
        # The second is decided on the first while that is still being written.
        await asyncio.gather(*map(book.apply, changes))
        done = replace(begun, state=AttemptState.SUCCEEDED)
        await book.apply(a_change(job.id, Event.SUCCEED, attempt=done))
        assert [step.event.event for step in heard] == ["SUBMIT", "ASSIGN", "START", "SUCCEED"]
        assert heard[0].effects == {Effect.REPLAN}
        assert [step.job.version for step in heard] == [1, 2, 3, 4]
        assert [step.event for step in heard] == await store.jobs.events(job.id)
        ids = [step.event.id for step in heard]
        assert ids == sorted(set(ids))
        assert job.id not in book.active()


async def test_a_round_is_committed_and_what_went_stale_is_told(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        jobs = [(await book.submit(a_spec()))[0] for _ in range(4)]
        await book.cancel(jobs[1].id)
        changes = [
            a_change(job.id, Event.ASSIGN, attempt=an_attempt(job.id), expect_version=job.version)
            for job in jobs
        ]
        changes[2] = replace(changes[2], expect_version=7)
        changes.append(a_change("nobody", Event.ASSIGN))
        results = await book.apply_many(changes)
        kinds = [Step, IllegalTransitionError, StaleVersionError, Step, UnknownJobError]
        assert [type(result) for result in results] == kinds
        assert "PENDING –CANCEL→ CANCELLED" in str(results[1])
        assert [book.active()[jobs[at].id].state for at in (0, 2, 3)] == [
            JobState.ASSIGNED,
            JobState.PENDING,
            JobState.ASSIGNED,
        ]


async def test_a_change_decided_on_a_stored_version_that_moved_is_refused(
    database_url: str,
) -> None:
    async with opened(database_url) as (store, book):
        job, _ = await book.submit(a_spec())
        behind = JobBook(store, ManualClock())
        await behind.load()
        await assign(book, job)
        with pytest.raises(StaleVersionError, match="at version 2"):
            await assign(behind, job)
        assert behind.active()[job.id] == job


async def test_cancel_is_final_and_repeatable(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        pending = (await book.submit(a_spec()))[0]
        both = await asyncio.gather(*(book.cancel(pending.id, "typo") for _ in range(2)))
        assert {job.state for job in both} == {JobState.CANCELLED}
        assert both[0].reason.message == "cancelled by user: typo"
        running = await assign(book, (await book.submit(a_spec()))[0])
        both = await asyncio.gather(*(book.cancel(running.id) for _ in range(2)))
        assert {job.state for job in both} == {JobState.CANCELLING}
        ended = await end(book, both[0], Event.SUCCEED, AttemptState.SUCCEEDED)
        assert ended.state is JobState.CANCELLED
        assert (await book.cancel(running.id)).state is JobState.CANCELLED
        done = await assign(book, (await book.submit(a_spec()))[0])
        done = await end(book, done, Event.SUCCEED, AttemptState.SUCCEEDED)
        with pytest.raises(AlreadyEndedError, match="already SUCCEEDED"):
            await book.cancel(done.id)
        with pytest.raises(UnknownJobError, match="'nobody'"):
            await book.cancel("nobody")


async def test_a_caller_who_leaves_does_not_part_memory_and_database(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job, _ = await book.submit(a_spec())
        task = asyncio.create_task(assign(book, job))
        await asyncio.sleep(0)
        task.cancel()
        await eventually(lambda: book.active()[job.id].state is JobState.ASSIGNED)
        assert await store.jobs.find(job.id) == book.active()[job.id]


async def test_pages_are_stable_while_others_are_submitted(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        jobs = [(await book.submit(a_spec(name=f"n{i}", tenant=f"t{i % 2}")))[0] for i in range(10)]
        newest_first = [job.id for job in reversed(jobs)]
        page = store.jobs.page
        first = await page(JobFilter(), limit=4)
        await book.submit(a_spec())
        second = await page(JobFilter(), before_id=first[-1].id, limit=4)
        assert [job.id for job in (*first, *second)] == newest_first[:8]
        await assign(book, jobs[3])
        await book.cancel(jobs[4].id)
        for wanted, found in [
            (JobFilter(states=frozenset({JobState.CANCELLED})), [4]),
            (JobFilter(cluster="qingyang"), [3]),
            (JobFilter(tenant="t1", name_prefix="n"), [9, 7, 5, 3, 1]),
            (JobFilter(name_prefix="N"), []),
            (JobFilter(region="beijing"), []),
        ]:
            assert [job.id for job in await page(wanted)] == [jobs[at].id for at in found]


CHILD = """
import asyncio, sys
from tests.fakes.jobs import a_spec, opened

async def main():
    async with opened(sys.argv[1]) as (_, book):
        async def client(number):
            while True:
                job, _ = await book.submit(a_spec(), None)
                print(job.id, flush=True)
        await asyncio.gather(*map(client, range(8)))

asyncio.run(main())
"""


async def test_kill_9_loses_no_acknowledged_job(database_url: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, database_url, stdout=asyncio.subprocess.PIPE, env=env
    )
    assert child.stdout is not None
    acknowledged = []
    async with asyncio.timeout(60):
        while len(acknowledged) < 50:
            acknowledged.append((await child.stdout.readline()).decode().strip())
        child.send_signal(signal.SIGKILL)
        rest = (await child.stdout.read()).decode()
        await child.wait()
    # A line that the kill has cut short was not seen by anybody.
    acknowledged += rest[: rest.rfind("\n") + 1].split()
    async with opened(database_url) as (_, book):
        assert set(acknowledged) <= set(book.active())


async def test_an_id_is_never_given_twice_even_when_the_clock_steps_back(database_url: str) -> None:
    store = await Store.open(database_url)
    try:
        ids: list[str] = []
        for start_s in (0, -3600, 50):
            clock = ManualClock()
            clock.pass_s(start_s)
            book = JobBook(store, clock)
            await book.load()
            for result in await book.submit_many([(a_spec(), None)] * 300):
                assert not isinstance(result, Exception)
                ids.append(result[0].id)
        assert ids == sorted(set(ids))
        assert {len(i) for i in ids} == {11}
        assert all(i[0] == "j" and i == i.lower() for i in ids)
    finally:
        await store.close()
