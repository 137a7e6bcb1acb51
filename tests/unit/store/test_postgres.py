"""PostgreSQL goes away and comes back: nothing is acknowledged in vain, one scheduler leads."""

import asyncio

import psycopg
import pytest

from scheduler.domain.job import Job, JobState
from scheduler.state.jobs import JobBook
from scheduler.store import Store
from scheduler.store.errors import LeadershipLostError, StoreError
from scheduler.store.leader import LOCK, UNCONFIRMED_MOST_S
from scheduler.store.tables import LEADERSHIP
from tests.fakes.jobs import a_spec, assign, opened
from tests.fakes.lossy import Loss, LossyWay
from tests.fakes.postgres import Postgres, end_sessions, libpq

DEADLINE_S = 20.0


@pytest.fixture
def url(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.emptied()


async def until_stored(book: JobBook, key: str) -> tuple[Job, bool]:
    """Submits again and again, as a client does, until it is acknowledged."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await book.submit(a_spec(), key)
            except StoreError:
                await asyncio.sleep(0.02)


async def same_in_both(store: Store, book: JobBook) -> None:
    """Memory and database hold the same jobs."""
    assert {job.id: job for job in await store.jobs.active()} == dict(book.active())


async def test_a_killed_server_acknowledges_nothing_in_vain_and_is_used_again(
    postgres: Postgres, url: str
) -> None:
    acknowledged: dict[str, str] = {}
    refused: set[str] = set()
    async with opened(url) as (store, book):

        async def client(number: int) -> None:
            for turn in range(1_000_000):
                key = f"{number}-{turn}"
                try:
                    acknowledged[key] = (await book.submit(a_spec(), key))[0].id
                except StoreError:
                    refused.add(key)
                    return

        clients = [asyncio.create_task(client(number)) for number in range(16)]
        async with asyncio.timeout(DEADLINE_S):
            while len(acknowledged) < 50:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.kill)
            # One batch may be in doubt and waits: whoever comes later is told at once.
            with pytest.raises(StoreError):
                await book.submit(a_spec())
        with pytest.raises(StoreError):
            await store.jobs.newest_id()
        await asyncio.to_thread(postgres.start)
        again = await asyncio.gather(*(until_stored(book, key) for key in refused))
        assert not any(existed for _, existed in again)
        for task in clients:
            task.cancel()
        await store.database.write(lambda _: None)
        await same_in_both(store, book)
        assert set(acknowledged.values()) <= set(book.active())


@pytest.mark.parametrize("loss", list(Loss))
async def test_a_submission_whose_commit_is_in_doubt_is_stored_once(url: str, loss: Loss) -> None:
    async with LossyWay(url).serving() as way, opened(way.url) as (store, book):
        way.lose = loss
        task = asyncio.create_task(book.submit(a_spec(), "key"))
        others = [asyncio.create_task(book.submit(a_spec(), f"{n}")) for n in range(5)]
        await asyncio.sleep(0)
        await lost(way)
        results = await asyncio.gather(task, *others, return_exceptions=True)
        assert all(isinstance(r, StoreError) == (loss is Loss.QUESTION) for r in results)
        again = await until_stored(book, "key")
        assert again[1] == (loss is Loss.ANSWER)
        assert len(await store.jobs.active()) == (6 if loss is Loss.ANSWER else 1)
        await same_in_both(store, book)


@pytest.mark.parametrize("loss", list(Loss))
async def test_a_change_whose_commit_is_in_doubt_can_be_made_again(url: str, loss: Loss) -> None:
    async with LossyWay(url).serving() as way, opened(way.url) as (store, book):
        job, _ = await book.submit(a_spec())
        way.lose = loss
        task = asyncio.create_task(assign(book, job))
        await lost(way)
        if loss is Loss.QUESTION:
            with pytest.raises(StoreError):
                await task
            assert book.active()[job.id] == job
            job = await assign(book, job)
        else:
            job = await task
        assert (job.state, job.version) == (JobState.ASSIGNED, 2)
        assert (await book.cancel(job.id)).version == 3
        await same_in_both(store, book)
        assert [e.event for e in await store.jobs.events(job.id)] == ["SUBMIT", "ASSIGN", "CANCEL"]


async def lost(way: LossyWay) -> None:
    """Waits until the commit is lost; the way holds from then on."""
    async with asyncio.timeout(DEADLINE_S):
        while not way.lost:
            await asyncio.sleep(0.005)
    way.lose = None


async def test_who_closes_in_doubt_learns_it_at_the_next_start(url: str) -> None:
    async with LossyWay(url).serving() as way, opened(way.url) as (store, book):
        way.lose = Loss.ANSWER
        task = asyncio.create_task(book.submit(a_spec(), "key"))
        way.open = False
        await lost(way)
        async with asyncio.timeout(DEADLINE_S):
            while True:  # somebody who comes while it is in doubt is told at once
                try:
                    await book.submit(a_spec())
                except StoreError:
                    break
        assert not task.done()
        await store.close()
        with pytest.raises(StoreError, match="closed before the database could say"):
            await task
    async with opened(url) as (_, book):
        assert (await book.submit(a_spec(), "key"))[1]


async def test_ended_sessions_are_replaced(url: str) -> None:
    async with opened(url) as (store, book):
        await book.submit(a_spec())
        assert await asyncio.to_thread(end_sessions, url) >= 2
        await until_stored(book, "key")
        await same_in_both(store, book)


async def test_a_scheduler_that_was_cut_off_while_another_led_writes_no_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.store.database.LEADER_CHECK_S", 0.05)
    monkeypatch.setattr("scheduler.store.database.BUSY_TIMEOUT_S", 0.1)
    async with LossyWay(url).serving() as way, opened(way.url) as (old, behind):
        job, _ = await behind.submit(a_spec())
        watch = asyncio.create_task(old.database.keep_leading())
        way.open = False
        await asyncio.to_thread(end_sessions, url)
        async with opened(url) as (_, book):
            way.open = True
            await assign(book, book.active()[job.id])
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(LeadershipLostError, match="must not write"):
                    await watch
        # Not even when the other has gone again: what this one remembers is old.
        with pytest.raises(LeadershipLostError):
            await assign(behind, job)


async def test_who_cannot_reach_the_database_leads_for_a_while_only(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url) as (store, _):
        assert store.database.leads()
        assert store.database.others_act_s == UNCONFIRMED_MOST_S
        monkeypatch.setattr("scheduler.store.leader.UNCONFIRMED_MOST_S", 0.0)
        assert not store.database.leads()
        monkeypatch.undo()
        assert store.database.leads()


async def test_a_database_that_was_set_back_is_not_written_to(url: str) -> None:
    async with opened(url) as (store, book):
        job, _ = await book.submit(a_spec())
        with psycopg.connect(libpq(url)) as failover:
            failover.execute("UPDATE leadership SET writes = writes - 1")
        with pytest.raises(LeadershipLostError, match="set back"):
            await assign(book, job)
        assert [found.version for found in await store.jobs.active()] == [1]


async def test_a_lock_that_only_an_old_session_holds_is_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.store.database.BUSY_TIMEOUT_S", 0.1)
    async with opened(url) as (store, book):
        await asyncio.to_thread(end_sessions, url)
        with psycopg.connect(libpq(url)) as lingering:
            lingering.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            with pytest.raises(StoreError, match="an old session still holds"):
                await book.submit(a_spec())
        await until_stored(book, "key")
        await same_in_both(store, book)


async def test_readers_cannot_write(url: str) -> None:
    async with opened(url) as (store, _):
        with pytest.raises(StoreError, match="read-only"):
            await store.database.read(lambda c: c.execute(LEADERSHIP.update().values(term=7)))


async def test_text_that_postgres_cannot_hold_is_refused_alone(url: str) -> None:
    async with opened(url) as (store, book):
        tries = [book.submit(a_spec(name=name)) for name in ("a", "b\0", "c")]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert [isinstance(r, StoreError) for r in results] == [False, True, False]
        await same_in_both(store, book)
