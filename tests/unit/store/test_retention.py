"""What ended long ago is forgotten, and nothing else."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler import housekeeping
from scheduler.config import KeepConfig
from scheduler.domain.job import ArraySpec, AttemptState, Job
from scheduler.domain.log import LogStream
from scheduler.domain.transitions import Event
from scheduler.state.jobs import JobBook, UnknownJobError
from scheduler.store import Store, retention
from scheduler.store.blobs import UNUSED_MOST
from scheduler.store.tables import BLOB_CHUNKS, BLOBS, JOBS, LOG_PIECES, ROUNDS
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import NOW, a_spec, assign, end, opened

OUT = LogStream.STDOUT
LATER_AT = datetime.now(UTC) + timedelta(days=1)


async def stored(store: Store, data: bytes) -> str:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    sha256 = hashlib.sha256(data).hexdigest()
    await store.blobs.put(sha256, len(data), chunks())
    return sha256


async def ended(store: Store, book: JobBook, sha256: str | None = None) -> Job:
    job, _ = await book.submit(replace(a_spec(), working_dir_sha256=sha256))
    job = await assign(book, job)
    await store.logs.append(f"{job.id}-1", 0, OUT, 0, b"hello", end=True)
    return await end(book, job, Event.SUCCEED, AttemptState.SUCCEEDED)


async def rows(store: Store, table: sa.Table) -> int:
    count = sa.select(sa.func.count()).select_from(table)
    return int(await store.database.read(lambda c: c.scalar(count)) or 0)


async def forget_dirs_used_before(store: Store, before_at: datetime) -> int:
    return await retention.forget_working_dirs(store.database, before_at)


async def used_at(store: Store) -> datetime:
    found = await store.database.read(lambda c: c.scalar(sa.select(sa.func.max(BLOBS.c.used_at))))
    assert isinstance(found, datetime)
    return found


async def age(store: Store, by: timedelta) -> None:
    """As if that much time had passed since any working directory was used."""
    older = sa.update(BLOBS).values(used_at=datetime.now(UTC) - by)
    await store.database.write(lambda c: c.execute(older).rowcount)


async def test_a_damaged_spec_does_not_keep_other_jobs(database_url: str) -> None:
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        damaged = await ended(store, book)
        await ended(store, book)
        spoil = sa.update(JOBS).where(JOBS.c.id == damaged.id).values(spec="[1,{]")
        await store.database.write(lambda c: c.execute(spoil).rowcount)
        clock.pass_s(3600.0)
        assert await retention.forget_jobs(store.database, clock.now()) == 2


async def test_old_jobs_go_with_all_that_was_kept_of_them(database_url: str) -> None:
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        only, shared = await stored(store, b"only"), await stored(store, b"shared")
        old = [await ended(store, book, only), await ended(store, book, shared)]
        waiting, _ = await book.submit(replace(a_spec(), working_dir_sha256=shared))
        clock.pass_s(3600.0)
        young = await ended(store, book)
        assert await retention.forget_jobs(store.database, clock.now() - timedelta(minutes=1)) == 2
        for job in old:
            with pytest.raises(UnknownJobError):
                await book.get(job.id)
            assert await store.jobs.events(job.id) == []
        assert (await book.get(young.id)).attempts
        assert (await book.get(waiting.id)).version == 1
        assert await forget_dirs_used_before(store, LATER_AT) == 1
        assert await store.blobs.size_bytes(only) is None
        assert await store.blobs.size_bytes(shared) == len(b"shared")
        assert await rows(store, BLOB_CHUNKS) == 1
        assert await rows(store, LOG_PIECES) == 1
        assert await retention.forget_jobs(store.database, clock.now() - timedelta(minutes=1)) == 0


async def test_a_working_directory_that_no_job_ever_named_goes(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        contents = {await stored(store, f"never {n}".encode()) for n in range(25)}
        named = await stored(store, b"named")
        await book.submit(replace(a_spec(), working_dir_sha256=named))
        assert await forget_dirs_used_before(store, datetime.now(UTC) - UNUSED_MOST) == 0
        assert await forget_dirs_used_before(store, LATER_AT) == len(contents)
        assert await rows(store, BLOBS) == await rows(store, BLOB_CHUNKS) == 1
        assert await store.blobs.claim(named)


async def test_a_submission_on_its_way_keeps_its_working_directory(database_url: str) -> None:
    """The last job that named it is forgotten between the next one's check and its insert."""
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        shared = await stored(store, b"shared")
        await ended(store, book, shared)
        await age(store, UNUSED_MOST * 2)
        assert await store.blobs.claim(shared)
        clock.pass_s(3600.0)
        assert await retention.forget_jobs(store.database, clock.now()) == 1
        assert await forget_dirs_used_before(store, datetime.now(UTC) - UNUSED_MOST) == 0
        await book.submit(replace(a_spec(), working_dir_sha256=shared))
        await age(store, UNUSED_MOST * 2)
        assert await forget_dirs_used_before(store, datetime.now(UTC) - UNUSED_MOST) == 0
        assert await store.blobs.size_bytes(shared) == len(b"shared")


async def test_housekeeping_sees_to_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        await stored(store, b"never named")
        await age(store, UNUSED_MOST * 2)
        keeping = asyncio.create_task(housekeeping.tidy(store, KeepConfig(), ManualClock()))
        async with asyncio.timeout(10):
            while await rows(store, BLOBS):
                await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_claim_is_written_once_in_a_while(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        assert not await store.blobs.claim("0" * 64)
        content = await stored(store, b"content")
        before_at = await used_at(store)
        assert await store.blobs.claim(content)
        assert await used_at(store) == before_at, "not for each of many submissions"
        await age(store, timedelta(hours=2))
        assert await store.blobs.claim(content)
        assert await used_at(store) >= before_at
        await age(store, timedelta(hours=2))
        assert await stored(store, b"content") == content
        assert await used_at(store) >= before_at, "an upload that was not needed counts too"


async def test_an_array_is_forgotten_as_a_whole(database_url: str) -> None:
    clock = ManualClock()
    async with opened(database_url, clock) as (store, book):
        array = ArraySpec(tasks=30, chunk_tasks=10)
        [first, second, third], _ = await book.submit_array(a_spec(array=array), "key")
        await ended(store, book)
        for job in (first, second):
            await book.cancel(job.id)
        clock.pass_s(3600.0)
        assert await retention.forget_jobs(store.database, clock.now()) == 1
        assert first.array_id is not None
        assert len(await book.chunks(first.array_id)) == 3
        await book.cancel(third.id)
        assert await retention.forget_jobs(store.database, clock.now()) == 0
        clock.pass_s(1.0)
        assert await retention.forget_jobs(store.database, clock.now()) == 3


async def test_output_goes_before_the_job_and_records_of_tasks_with_it(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job = await ended(store, book)
        running = await assign(book, (await book.submit(a_spec()))[0])
        await store.logs.append(f"{running.id}-1", 0, OUT, 0, b"going on")
        await store.logs.append(f"{job.id}-1", 0, LogStream.TASKS, 0, b"S 0 1 1.000\n", end=True)
        assert await retention.forget_logs(store.database, NOW + timedelta(seconds=1)) == 1
        assert await rows(store, LOG_PIECES) == 2
        assert (await book.get(job.id)).attempts


async def test_many_are_forgotten_over_many_transactions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "JOBS_MOST", 2)
    async with opened(database_url) as (store, book):
        for _ in range(5):
            await ended(store, book)
        assert await retention.forget_jobs(store.database, NOW + timedelta(days=1)) == 5


async def test_old_rounds_go(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        for number in (1, 2):
            insert = sa.insert(ROUNDS).values(
                id=number,
                at=NOW + timedelta(days=number),
                trigger="tick",
                jobs=1,
                placed=0,
                planned=0,
                unplaced=1,
                objective_yuan=0.0,
                bound_yuan=0.0,
                gap=0.0,
                wall_ms=1.0,
                stages="[]",
                reasons="{}",
            )
            await store.database.write(lambda c, i=insert: c.execute(i))
        assert await retention.forget_rounds(store.database, NOW + timedelta(days=1.5)) == 1
        assert await rows(store, ROUNDS) == 1
