"""What operators wish of nodes: it outlives the scheduler, and the node's daemon."""

from collections.abc import Mapping
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.domain.audit import AuditEvent
from scheduler.domain.fleet import Mark
from scheduler.store.database import Database
from scheduler.store.events import insert
from scheduler.store.tables import NODE_MARKS


class MarkStore:
    """Few and seldom changed, so all are in memory too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Mark] = {}
        # By node, as they are at any time.
        self.all: Mapping[str, Mark] = MappingProxyType(self._known)

    async def load(self) -> None:
        """Reads all; once, at start."""
        found = await self._database.read(lambda c: c.execute(sa.select(NODE_MARKS)).all())
        self._known |= {
            row.node_id: Mark(row.at, row.actor, row.reason, row.drain_until_at) for row in found
        }

    async def put(self, node_id: str, mark: Mark | None, event: AuditEvent) -> None:
        """Marks a node, in the place of an earlier mark; None takes it away. The event that tells
        of it is stored with it.

        Raises:
            StoreError: nothing was stored, and nothing has changed.
        """

        def work(connection: Connection) -> None:
            connection.execute(sa.delete(NODE_MARKS).where(NODE_MARKS.c.node_id == node_id))
            if mark is not None:
                connection.execute(
                    sa.insert(NODE_MARKS).values(
                        node_id=node_id,
                        at=mark.at,
                        actor=mark.actor,
                        reason=mark.reason,
                        drain_until_at=mark.drain_until_at,
                    )
                )
            insert(connection, [event])

        await self._database.write(work)
        if mark is None:
            self._known.pop(node_id, None)
        else:
            self._known[node_id] = mark
