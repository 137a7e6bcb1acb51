"""The store as the rest of the scheduler sees it: one database and its parts."""

import asyncio
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from scheduler.store.blobs import BlobStore
from scheduler.store.database import Database, open_database, shown
from scheduler.store.energy import EnergyStore
from scheduler.store.events import EventStore
from scheduler.store.heads import HeadStore
from scheduler.store.jobs import JobStore
from scheduler.store.logs import LogStore
from scheduler.store.marks import MarkStore
from scheduler.store.rounds import RoundStore


@dataclass(frozen=True, slots=True)
class Store:
    """Made by ``open``; ``safe_url`` is its address without a password.

    Every call raises ``StoreError`` when the database could not.
    """

    safe_url: str
    database: Database
    jobs: JobStore
    rounds: RoundStore
    blobs: BlobStore
    logs: LogStore
    heads: HeadStore
    marks: MarkStore
    energy: EnergyStore
    events: EventStore

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Connects, brings the schema up to date and tidies what a crash has left.

        Args:
            url: an SQLAlchemy address, ``sqlite:////var/lib/westward/westward.db``.

        Raises:
            StoreError: see ``open_database``.
        """
        database = await asyncio.to_thread(open_database, url)
        store = cls(
            shown(make_url(url)),
            database,
            JobStore(database),
            RoundStore(database),
            BlobStore(database),
            LogStore(database),
            HeadStore(database),
            MarkStore(database),
            EnergyStore(database),
            EventStore(database),
        )
        await store.heads.load()
        await store.marks.load()
        await store.rounds.load()
        await store.blobs.clean()
        return store

    async def close(self) -> None:
        """Finishes what is under way; whoever comes later gets a ``StoreError``."""
        await self.database.close()
