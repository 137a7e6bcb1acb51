"""Which node was last the head of each cluster: its agent alone knows what runs there."""

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.store.database import Database
from scheduler.store.tables import HEADS


class HeadStore:
    """Few and seldom changed, so all are in memory too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, str] = {}

    async def load(self) -> None:
        """Reads all; once, at start."""
        query = sa.select(HEADS.c.cluster, HEADS.c.node_id)
        found = await self._database.read(lambda c: c.execute(query).all())
        self._known = {row.cluster: row.node_id for row in found}

    def of(self, cluster: str) -> str | None:
        """The node whose agent was last taken in as the cluster's head."""
        return self._known.get(cluster)

    async def keep(self, cluster: str, node_id: str) -> None:
        """Notes who is the head, before anything is asked of it.

        Raises:
            StoreError: nothing was stored.
        """
        if self._known.get(cluster) == node_id:
            return

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(HEADS).where(HEADS.c.cluster == cluster))
            connection.execute(sa.insert(HEADS).values(cluster=cluster, node_id=node_id))

        await self._database.write(work)
        self._known[cluster] = node_id
