"""One leader on a PostgreSQL database, and what became of a commit whose answer was lost.

A file of SQLite is locked beside itself; a server is shared. So the one session that writes holds
an advisory lock, and every transaction ends with a stamp: ``writes`` grows by one where it and
``term`` are as we left them. The lock keeps a second scheduler out; the stamp refuses a scheduler
that was cut off while another led, or whose database was set back by a failover that lost
commits; and read again, it tells whether a transaction in doubt was committed.
"""

import time

import psycopg
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from scheduler.store.errors import LeadershipLostError, StoreError
from scheduler.store.tables import LEADERSHIP

# Advisory locks are numbers, and each database has its own.
LOCK = int.from_bytes(b"westward", "big")
# How long a leader that cannot reach the database may still act as one: it renews leases. Another
# that has begun to lead meanwhile takes it for granted that it does.
UNCONFIRMED_MOST_S = 300.0
# A peer that is cut off is given up after idle + interval * count = 25 s, on both sides:
# until then the server keeps the lock for it.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
CONNECT_ARGS = {"connect_timeout": 5, "tcp_user_timeout": 25_000, **KEEPALIVES}


class Leader:
    """The right to write, bound to the one connection of ``engine``."""

    def __init__(self, engine: Engine, wait_s: float) -> None:
        """``wait_s``: how long to wait for a lock that an old session may just be giving up."""
        self._wait_s = wait_s
        self._term: int | None = None
        self._writes = 0
        self._asked_s = self._confirmed_s = 0.0
        event.listen(engine, "connect", self._settle)

    def claim(self, connection: Connection) -> None:
        """Begins a term, once the tables are there."""
        self._confirmed_s = time.monotonic()
        begin = sa.update(LEADERSHIP).values(term=LEADERSHIP.c.term + 1)
        row = connection.execute(begin.returning(LEADERSHIP.c.term, LEADERSHIP.c.writes)).one()
        self._term, self._writes = row.term, row.writes

    def stamp(self, connection: Connection) -> None:
        """The last statement of every transaction.

        Raises:
            LeadershipLostError: the row is not as we left it.
        """
        self._asked_s = time.monotonic()
        ours = sa.and_(LEADERSHIP.c.term == self._term, LEADERSHIP.c.writes == self._writes)
        mark = sa.update(LEADERSHIP).where(ours).values(writes=self._writes + 1)
        if connection.execute(mark).rowcount != 1:
            raise LeadershipLostError

    def committed(self) -> None:
        """Takes note that the transaction that was stamped last is stored."""
        self._writes += 1
        self._confirmed_s = self._asked_s

    def leads(self) -> bool:
        """Whether the database has confirmed it recently enough."""
        return time.monotonic() - self._confirmed_s < UNCONFIRMED_MOST_S

    def stands(self, connection: Connection) -> bool:
        """Whether the transaction that was stamped last was committed.

        Final on a connection that holds the lock: the session that wrote has ended.

        Raises:
            LeadershipLostError: the row is neither as we left it nor as we wrote it.
        """
        row = connection.execute(sa.select(LEADERSHIP)).one()
        ahead = row.writes - self._writes
        if row.term != self._term or ahead not in (0, 1):
            raise LeadershipLostError
        return bool(ahead)

    def _settle(self, connection: psycopg.Connection, _: ConnectionPoolEntry) -> None:
        """A new session writes only if it holds the lock."""
        try:
            for name, value in KEEPALIVES.items():
                connection.execute(f"SET tcp_{name} = {value}")
            # Whoever turned it off for other uses of the server did not mean us.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
            connection.execute(f"SET lock_timeout = {int(self._wait_s * 1000)}")
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            connection.execute("RESET lock_timeout")
            connection.commit()
        except psycopg.errors.LockNotAvailable as error:
            refusal = self._refusal(connection)
            connection.close()
            raise refusal from error
        except psycopg.Error:
            connection.close()
            raise

    def _refusal(self, connection: psycopg.Connection) -> StoreError:
        where = f"the database {connection.info.dbname!r} on {connection.info.host}"
        if self._term is None:
            return StoreError(f"another scheduler holds {where}; stop it first")
        connection.rollback()
        row = connection.execute("SELECT term FROM leadership").fetchone()
        if row is None or row[0] != self._term:
            return LeadershipLostError()
        return StoreError(f"an old session still holds {where}; it ends by itself within 25 s")
