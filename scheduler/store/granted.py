"""The longest lease that a scheduler on this database may have granted and that may still run."""

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.store.database import Database
from scheduler.store.tables import LEADERSHIP


async def begin(database: Database, lease_ttl_s: float) -> float:
    """Notes, before any is granted, how long leases may be from now on.

    Returns:
        How long one may be that was granted before, at least ``lease_ttl_s``.
    """

    def work(connection: Connection) -> float:
        earlier_s: float = connection.execute(sa.select(LEADERSHIP.c.lease_ttl_s)).scalar_one()
        longest_s = max(earlier_s, lease_ttl_s)
        connection.execute(sa.update(LEADERSHIP).values(lease_ttl_s=longest_s))
        return longest_s

    return await database.write(work)


async def settle(database: Database, lease_ttl_s: float) -> None:
    """Notes that those which were granted before have all expired."""
    change = sa.update(LEADERSHIP).values(lease_ttl_s=lease_ttl_s)
    await database.write(lambda connection: connection.execute(change) and None)
