"""What attempts have used on each of their nodes."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.domain.energy import Energy
from scheduler.store.database import Database
from scheduler.store.tables import ATTEMPT_ENERGY, ATTEMPTS

# Of the identifiers in one IN (…): databases limit the parameters of a statement.
CHUNK = 500


# Attempt, node, and what the one has used on the other.
Used = tuple[str, str, Energy]


class EnergyStore:
    """An account per attempt and node; it never shrinks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, used: Sequence[Used]) -> None:
        """Stores accounts; those of attempts that nobody knows are left aside.

        Raises:
            StoreError: nothing was stored.
        """
        rows = [
            {"attempt": attempt_id, "node": node_id, "kwh": e.kwh, "estimated": e.estimated_kwh}
            for attempt_id, node_id, e in used
        ]

        def work(connection: Connection) -> None:
            connection.execute(_RAISE, rows)
            connection.execute(_OPEN, rows)

        await self._database.write(work)

    async def of(self, attempt_ids: Sequence[str]) -> list[Used]:
        """The accounts of some attempts.

        Raises:
            StoreError: the database could not.
        """

        def work(connection: Connection) -> list[Used]:
            found: list[Used] = []
            for at in range(0, len(attempt_ids), CHUNK):
                some = ATTEMPT_ENERGY.c.attempt_id.in_(attempt_ids[at : at + CHUNK])
                for row in connection.execute(sa.select(ATTEMPT_ENERGY).where(some)):
                    energy = Energy(row.kwh, row.estimated_kwh)
                    found.append((row.attempt_id, row.node_id, energy))
            return found

        return await self._database.read(work)


def _told(name: str) -> sa.Cast[object]:
    """Types are not guessed from where a parameter stands in a SELECT."""
    number = name in {"kwh", "estimated"}
    return sa.cast(sa.bindparam(name), sa.Double() if number else sa.String())


_OURS = sa.and_(
    ATTEMPT_ENERGY.c.attempt_id == sa.bindparam("attempt"),
    ATTEMPT_ENERGY.c.node_id == sa.bindparam("node"),
)
_RAISE = (
    sa.update(ATTEMPT_ENERGY)
    .where(_OURS, ATTEMPT_ENERGY.c.kwh <= sa.bindparam("kwh"))
    .values(kwh=sa.bindparam("kwh"), estimated_kwh=sa.bindparam("estimated"))
)
_OPEN = sa.insert(ATTEMPT_ENERGY).from_select(
    ["attempt_id", "node_id", "kwh", "estimated_kwh"],
    sa.select(*map(_told, ("attempt", "node", "kwh", "estimated"))).where(
        sa.exists().where(ATTEMPTS.c.id == sa.bindparam("attempt")),
        ~sa.exists().where(_OURS),
    ),
)
