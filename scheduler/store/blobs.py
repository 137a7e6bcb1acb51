"""Working directories: each content once, under its hash."""

import hashlib
import uuid
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.store.database import Database
from scheduler.store.errors import BlobError, StoreError
from scheduler.store.tables import BLOB_CHUNKS, BLOBS

SIZE_MOST_BYTES = 64 * 1024 * 1024
CHUNK_MOST_BYTES = 1024 * 1024
# One that no job names is kept for so long after it was uploaded or claimed: its job is on the way.
UNUSED_MOST = timedelta(days=1)
# A claim so young need not be written again, for each of many submissions.
_CLAIMED_FOR = timedelta(hours=1)
_AGAIN = "pack the directory anew, in case it changed meanwhile, and announce what is sent"

Row = dict[str, str | int | datetime]


class BlobStore:
    """Contents in chunks, so that neither memory nor the writer is held by a large one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clean(self) -> None:
        """Drops what uploads that never ended have left behind. Only while none is under way."""
        complete = sa.select(BLOBS.c.upload_id)
        drop = sa.delete(BLOB_CHUNKS).where(BLOB_CHUNKS.c.upload_id.not_in(complete))
        await self._database.write(lambda c: c.execute(drop))

    async def size_bytes(self, sha256: str) -> int | None:
        """Size of a content; None where it is not stored."""
        query = sa.select(BLOBS.c.size_bytes).where(BLOBS.c.sha256 == sha256)
        return await self._database.read(lambda c: c.scalar(query))

    async def claim(self, sha256: str) -> bool:
        """Whether a content is stored. If it is, it stays for most of a day at least, within which
        a job should name it.

        Raises:
            StoreError: the database could not.
        """
        content = BLOBS.c.sha256 == sha256
        query = sa.select(BLOBS.c.used_at).where(content)
        used_at = await self._database.read(lambda c: c.scalar(query))
        now_at = datetime.now(UTC)
        if used_at is None or used_at > now_at - _CLAIMED_FOR:
            return used_at is not None
        update = sa.update(BLOBS).where(content).values(used_at=now_at)
        # It may have been forgotten since it was looked for.
        return bool(await self._database.write(lambda c: c.execute(update).rowcount))

    async def put(self, sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> bool:
        """Stores a content; visible to others only when it is whole and its hash is right.

        Args:
            chunks: the bytes, at most 1 MiB at a time.

        Returns:
            True when it was there before; then ``chunks`` may be left unread.

        Raises:
            BlobError: too large, or not what was announced.
            StoreError: the database could not.
        """
        if size_bytes > SIZE_MOST_BYTES:
            raise BlobError(
                "size_bytes",
                f"{size_bytes} is over the limit of {SIZE_MOST_BYTES} (64 MiB); "
                "leave large data out of the working directory and name it under data",
            )
        if await self.claim(sha256):
            return True
        upload_id = uuid.uuid4().hex
        try:
            await self._receive(upload_id, sha256, size_bytes, chunks)
            row: Row = {
                "sha256": sha256,
                "size_bytes": size_bytes,
                "upload_id": upload_id,
                "used_at": datetime.now(UTC),
            }
            existed = await self._database.write(lambda c: _finish(c, row))
        except BaseException:
            await self._drop(upload_id)
            raise
        if existed:
            await self._drop(upload_id)
        return existed

    async def _receive(
        self, upload_id: str, sha256: str, size_bytes: int, chunks: AsyncIterable[bytes]
    ) -> None:
        digest, received, number = hashlib.sha256(), 0, 0
        async for data in chunks:
            if not data:
                continue
            if len(data) > CHUNK_MOST_BYTES:
                text = f"a chunk of {len(data)} bytes is over 1 MiB; send smaller ones"
                raise BlobError("data", text)
            received += len(data)
            if received > size_bytes:
                text = f"more bytes came than the {size_bytes} announced; {_AGAIN}"
                raise BlobError("size_bytes", text)
            digest.update(data)
            await self._store_chunk(upload_id, number, data)
            number += 1
        if received != size_bytes:
            text = f"{received} bytes came, {size_bytes} were announced; {_AGAIN}"
            raise BlobError("size_bytes", text)
        if digest.hexdigest() != sha256:
            text = f"the bytes hash to {digest.hexdigest()}, announced was {sha256}; {_AGAIN}"
            raise BlobError("sha256", text)

    async def _store_chunk(self, upload_id: str, number: int, data: bytes) -> None:
        row = {"upload_id": upload_id, "number": number, "data": data}
        await self._database.write(lambda c: c.execute(sa.insert(BLOB_CHUNKS), [row]))

    async def _drop(self, upload_id: str) -> None:
        drop = sa.delete(BLOB_CHUNKS).where(BLOB_CHUNKS.c.upload_id == upload_id)
        # A database that fails here is in the writer's log; the next start drops them.
        with suppress(StoreError):
            await self._database.write(lambda c: c.execute(drop))

    async def chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """The bytes of a content, in order, at most 1 MiB at a time.

        Raises:
            StoreError: no such content is stored.
        """
        if await self.size_bytes(sha256) is None:
            raise StoreError(f"no working directory {sha256} is stored; upload it again")
        number = 0
        while (data := await self._chunk(sha256, number)) is not None:
            yield data
            number += 1

    async def _chunk(self, sha256: str, number: int) -> bytes | None:
        query = (
            sa.select(BLOB_CHUNKS.c.data)
            .join(BLOBS, BLOBS.c.upload_id == BLOB_CHUNKS.c.upload_id)
            .where(BLOBS.c.sha256 == sha256, BLOB_CHUNKS.c.number == number)
        )
        return await self._database.read(lambda c: c.scalar(query))


def _finish(connection: Connection, row: Row) -> bool:
    if connection.scalar(sa.select(BLOBS.c.sha256).where(BLOBS.c.sha256 == row["sha256"])):
        return True  # someone else's upload of the same content was faster
    connection.execute(sa.insert(BLOBS), [row])
    return False
