"""Working directories: whole and right, or not there at all."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from scheduler.store import Store
from scheduler.store.blobs import CHUNK_MOST_BYTES as MIB
from scheduler.store.blobs import SIZE_MOST_BYTES
from scheduler.store.errors import BlobError, StoreError
from scheduler.store.tables import BLOB_CHUNKS
from tests.fakes.jobs import opened

CONTENT = bytes(range(256)) * 10_000
SHA = hashlib.sha256(CONTENT).hexdigest()


async def in_chunks(content: bytes, size: int = 1_000_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def chunks_stored(store: Store) -> int:
    count = sa.select(sa.func.count()).select_from(BLOB_CHUNKS)
    return int(await store.database.read(lambda c: c.scalar(count)) or 0)


async def content_of(store: Store, sha256: str) -> bytes:
    return b"".join([chunk async for chunk in store.blobs.chunks(sha256)])


async def test_a_content_is_stored_once(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        assert not await store.blobs.put(SHA, len(CONTENT), in_chunks(CONTENT))
        assert await store.blobs.put(SHA, len(CONTENT), in_chunks(CONTENT))
        assert await store.blobs.size_bytes(SHA) == len(CONTENT)
        assert await content_of(store, SHA) == CONTENT
        assert await chunks_stored(store) == 3


async def test_two_uploads_of_one_content_at_once_leave_one(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        puts = [store.blobs.put(SHA, len(CONTENT), in_chunks(CONTENT, 50_000)) for _ in range(3)]
        assert sorted(await asyncio.gather(*puts)) == [False, True, True]
        assert await content_of(store, SHA) == CONTENT
        assert await chunks_stored(store) == len(CONTENT) // 50_000 + 1


@pytest.mark.parametrize(
    ("sha256", "size", "chunk", "said"),
    [
        ("0" * 64, len(CONTENT), MIB, "hash to"),
        (SHA, len(CONTENT) + 1, MIB, "were announced"),
        (SHA, len(CONTENT) - 1, MIB, "more bytes came"),
        (SHA, SIZE_MOST_BYTES + 1, MIB, "over the limit"),
        (SHA, len(CONTENT), MIB + 1, "over 1 MiB"),
    ],
)
async def test_what_is_not_as_announced_leaves_nothing(
    database_url: str, sha256: str, size: int, chunk: int, said: str
) -> None:
    async with opened(database_url) as (store, _):
        with pytest.raises(BlobError, match=said):
            await store.blobs.put(sha256, size, in_chunks(CONTENT, chunk))
        assert await store.blobs.size_bytes(sha256) is None
        assert await chunks_stored(store) == 0


async def test_an_upload_that_breaks_off_leaves_nothing(database_url: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:1000]
        raise ConnectionError("gone")

    async with opened(database_url) as (store, _):
        with pytest.raises(ConnectionError):
            await store.blobs.put(SHA, len(CONTENT), broken())
        assert await chunks_stored(store) == 0


async def test_what_a_crash_left_is_dropped_at_the_next_start(database_url: str) -> None:
    row = {"upload_id": "half", "number": 0, "data": b"x"}
    async with opened(database_url) as (store, _):
        await store.blobs.put(SHA, len(CONTENT), in_chunks(CONTENT))
        await store.database.write(lambda c: c.execute(sa.insert(BLOB_CHUNKS), [row]))
    async with opened(database_url) as (store, _):
        assert await chunks_stored(store) == 3
        assert await content_of(store, SHA) == CONTENT


async def test_an_unknown_content_is_an_error(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        with pytest.raises(StoreError, match="upload it again"):
            await content_of(store, SHA)
