"""Group commit: many works, one transaction; a failure harms only itself."""

import asyncio
import resource
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.domain.job import JobState
from scheduler.store.errors import StoreError
from scheduler.store.writer import Outcome
from tests.fakes.jobs import a_spec, opened

INSERT = sa.text("INSERT INTO blob_chunks (upload_id, number, data) VALUES (:u, :n, :d)")
COUNT = sa.text("SELECT count(*) FROM blob_chunks WHERE upload_id = :u")


async def test_a_failure_in_a_batch_harms_only_itself(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        gate = threading.Event()

        def hold(_: sa.Connection) -> None:
            assert gate.wait(10)

        def fail(connection: sa.Connection) -> None:
            connection.execute(INSERT, {"u": "bad", "n": 0, "d": b""})
            raise LookupError("mine")

        def twice(connection: sa.Connection) -> None:
            for _ in range(2):
                connection.execute(INSERT, {"u": "twice", "n": 0, "d": b""})

        def good(connection: sa.Connection) -> None:
            connection.execute(INSERT, {"u": "good", "n": 0, "d": b""})

        write = store.database.write
        works = [asyncio.create_task(write(work)) for work in (hold, fail, twice, good)]
        await asyncio.sleep(0)
        gate.set()
        held, failed, refused, done = await asyncio.gather(*works, return_exceptions=True)
        assert held is None
        assert isinstance(failed, LookupError)
        assert isinstance(refused, StoreError)
        assert done is None
        counts = [
            await store.database.read(lambda c, u=u: c.scalar(COUNT, {"u": u}))
            for u in ("bad", "twice", "good")
        ]
        assert counts == [0, 0, 1]


async def test_what_follows_a_commit_is_called_in_order_even_for_those_who_left(
    database_url: str,
) -> None:
    async with opened(database_url) as (store, _):
        heard: list[int] = []

        def note(number: int) -> None:
            def done(outcome: Outcome[int]) -> None:
                assert outcome.value == number
                heard.append(number)

            tasks.append(asyncio.create_task(store.database.write(lambda _: number, done)))

        tasks: list[asyncio.Task[int]] = []
        for number in range(50):
            note(number)
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await store.database.write(lambda _: None)
        assert heard == list(range(50))


@contextmanager
def files_limited(size_bytes: int) -> Iterator[None]:
    """Files of this process cannot grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_acknowledges_nothing_and_passes(tmp_path: Path) -> None:
    big = {f"V{i}": "x" * 1000 for i in range(60)}
    async with opened(tmp_path) as (store, book):
        kept, _ = await book.submit(a_spec())
        wal = tmp_path / "westward.db-wal"
        with files_limited(wal.stat().st_size + 20_000):
            tries = [book.submit(a_spec(env=big)) for _ in range(20)]
            results = await asyncio.gather(*tries, return_exceptions=True)
        failed = [r for r in results if isinstance(r, StoreError)]
        stored = [r[0].id for r in results if isinstance(r, tuple)]
        assert failed
        assert len(failed) + len(stored) == 20
        assert "disk" in str(failed[0])
        after, _ = await book.submit(a_spec(env=big))
        assert set(book.active()) == {kept.id, after.id, *stored}
        assert {job.id for job in await store.jobs.active()} == set(book.active())


async def test_a_large_work_that_does_not_fit_leaves_the_small_ones_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, book):
        gate = threading.Event()
        held = asyncio.create_task(store.database.write(lambda _: gate.wait(10)))

        def large(connection: sa.Connection) -> None:
            connection.execute(INSERT, {"u": "large", "n": 0, "d": bytes(30_000_000)})

        wal = tmp_path / "westward.db-wal"
        tasks = [
            asyncio.create_task(book.submit(a_spec())),
            asyncio.create_task(store.database.write(large)),
            asyncio.create_task(book.submit(a_spec())),
        ]
        await asyncio.sleep(0)
        with files_limited(wal.stat().st_size + 1_000_000):
            gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        await held
        assert [isinstance(r, StoreError) for r in results] == [False, True, False]


async def test_a_lock_held_by_another_process_is_an_error_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.store.database.BUSY_TIMEOUT_S", 0.2)
    async with opened(tmp_path) as (_, book):
        other = sqlite3.connect(tmp_path / "westward.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        tries = [book.submit(a_spec()) for _ in range(10)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert all(isinstance(r, StoreError) and "another process" in str(r) for r in results)
        other.execute("ROLLBACK")
        other.close()
        job, _ = await book.submit(a_spec())
        assert job.state is JobState.PENDING
        assert set(book.active()) == {job.id}


async def test_a_closed_store_refuses_and_what_was_under_way_is_kept(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        task = asyncio.create_task(book.submit(a_spec()))
        await asyncio.sleep(0)
        await store.close()
        job, _ = await task
        with pytest.raises(StoreError, match="closed"):
            await book.submit(a_spec())
    async with opened(database_url) as (_, book):
        assert set(book.active()) == {job.id}


async def test_a_writer_that_trips_goes_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as (store, _):
        with monkeypatch.context() as patch:
            # No failure of the database: one of the library, or of ours.
            patch.setattr(Connection, "begin", broken)
            works = [asyncio.create_task(store.database.write(lambda _: 1)) for _ in range(3)]
            outcomes = await asyncio.gather(*works, return_exceptions=True)
        assert len(outcomes) == 3 and all(isinstance(o, Exception) for o in outcomes)
        async with asyncio.timeout(5):
            assert await store.database.write(lambda _: 2) == 2


def broken(*_: object) -> None:
    raise RuntimeError("broken")


async def test_works_of_one_kind_that_wait_are_done_in_one_go(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        gate = threading.Event()
        seen: list[list[int]] = []

        def doubled(connection: Connection, wishes: Sequence[int]) -> list[int]:
            seen.append([*wishes])
            for number in wishes:
                connection.execute(INSERT, {"u": "joint", "n": number, "d": b""})
            return [2 * number for number in wishes]

        heard: list[list[int] | None] = []
        joint, write = store.database.write_joint, store.database.write
        works = [
            asyncio.create_task(write(lambda _: [gate.wait(10)])),
            asyncio.create_task(
                joint(doubled, [1, 2], lambda outcome: heard.append(outcome.value))
            ),
            asyncio.create_task(joint(doubled, [3], lambda outcome: heard.append(outcome.value))),
            asyncio.create_task(write(lambda _: [0])),
            asyncio.create_task(joint(doubled, [4])),
        ]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*works) == [[True], [2, 4], [6], [0], [8]]
        assert seen == [[1, 2, 3], [4]], "in order, and never past another work"
        assert heard == [[2, 4], [6]]
        assert await store.database.read(lambda c: c.scalar(COUNT, {"u": "joint"})) == 4


@pytest.mark.parametrize(("bad", "raised"), [(-1, StoreError), (-9, LookupError)])
async def test_a_wish_that_cannot_be_done_harms_only_its_own_call(
    database_url: str, bad: int, raised: type[Exception]
) -> None:
    async with opened(database_url) as (store, _):
        gate = threading.Event()

        def kept(connection: Connection, wishes: Sequence[int]) -> list[int]:
            for number in wishes:
                connection.execute(INSERT, {"u": "kept", "n": abs(number), "d": b""})
                if number == -9:
                    raise LookupError("mine")
            return [*wishes]

        joint = store.database.write_joint
        works = [
            asyncio.create_task(store.database.write(lambda _: [gate.wait(10)])),
            *(asyncio.create_task(joint(kept, wishes)) for wishes in ([1], [2, bad], [3])),
        ]
        await asyncio.sleep(0)
        gate.set()
        _, one, broken, three = await asyncio.gather(*works, return_exceptions=True)
        assert (one, three) == ([1], [3])
        assert isinstance(broken, raised)
        assert await store.database.read(lambda c: c.scalar(COUNT, {"u": "kept"})) == 2
