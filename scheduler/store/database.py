"""The connection to the database: safe settings, migrations, one writer, a few readers."""

import asyncio
import fcntl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from scheduler.store.errors import LeadershipLostError, StoreError
from scheduler.store.leader import CONNECT_ARGS, UNCONFIRMED_MOST_S, Leader
from scheduler.store.writer import Done, Writer

T = TypeVar("T")
W = TypeVar("W")
READERS = 4
BUSY_TIMEOUT_S = 5.0
# How often a leader that has nothing to write makes sure that it still leads.
LEADER_CHECK_S = 5.0


class Database:
    """One writer with group commit and a small pool of readers. Made by ``open_database``."""

    def __init__(
        self, writing: Engine, reading: Engine, held: IO[bytes] | None, leader: Leader | None
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._held = held
        self._leader = leader
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._writer = Writer(writing, explain, leader)

    async def write(self, work: Callable[[Connection], T], done: Done[T] | None = None) -> T:
        """Runs ``work`` in a transaction and returns once it is durable.

        Many works share one transaction, each under a savepoint; ``work`` may be run a second
        time after the first was rolled back. ``done`` is called on the event loop, in the order
        of the commits, even if the caller no longer waits.

        Raises:
            StoreError: the database could not; nothing of this work is stored (where the store
                was closed while a commit was in doubt, it says that nobody knows).
            Exception: what ``work`` raised; nothing of it is stored.
        """
        return await self._writer.submit(work, done)

    async def write_joint(
        self,
        work: Callable[[Connection, Sequence[W]], list[T]],
        wishes: Sequence[W],
        done: Done[list[T]] | None = None,
    ) -> list[T]:
        """As ``write``, where ``work`` does many wishes at the cost of few: those of other calls
        that wait for the same commit are done in one go with these.

        Args:
            work: one function for all calls; returns a result per wish, in order.
        """
        return await self._writer.submit_joint(work, wishes, done)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` on a read-only connection, in one consistent view.

        Raises:
            StoreError: the database could not.
        """

        def run() -> T:
            try:
                with self._reading.connect() as connection:
                    return work(connection)
            except DBAPIError as error:
                raise explain(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def keep_leading(self) -> None:
        """Makes sure, for ever, that no other scheduler leads; returns where none can.

        Raises:
            LeadershipLostError: one does, or did; then leases must not be renewed either.
        """
        while self._leader is not None:
            await asyncio.sleep(LEADER_CHECK_S)
            try:
                await self.write(lambda _: None)
            except LeadershipLostError:
                raise
            except StoreError:
                continue  # away for now: the writer has logged it

    def leads(self) -> bool:
        """Whether this scheduler may still act: no other can have led for long without its
        noticing."""
        return self._leader is None or self._leader.leads()

    @property
    def others_act_s(self) -> float:
        """How long after this one opened the database an earlier scheduler may still have acted,
        as nothing but the database tells it to stop."""
        return 0.0 if self._leader is None else UNCONFIRMED_MOST_S

    async def close(self) -> None:
        """Finishes the writes under way and lets go of the database."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._pool.shutdown()
        self._writing.dispose()
        self._reading.dispose()
        if self._held is not None:
            self._held.close()


def shown(url: sa.URL) -> str:
    """An address without what may be secret: the password, and the options, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True)


def open_database(url: str) -> Database:
    """Connects and brings the schema up to date. Blocks; call it off the event loop.

    Raises:
        StoreError: the address is no use, another scheduler holds the database, or it is
            damaged, locked or written by a newer version.
    """
    try:
        where = make_url(url)
    except (ArgumentError, ValueError):
        # Some of it may be a password; nobody can say which part of what is no address.
        raise StoreError(
            "database_url = '***' is no address; write sqlite:////path/to/westward.db or "
            "postgresql+psycopg://user@host:5432/westward"
        ) from None
    held = None
    if where.get_backend_name() == "sqlite":
        if where.database in (None, "", ":memory:"):
            raise StoreError(
                f"database address {shown(where)!r} names no file; write sqlite:////path/to/westward.db"
            )
        held = _hold(Path(str(where.database)))
    elif where.drivername not in ("postgresql", "postgresql+psycopg"):
        raise StoreError(
            f"database address {shown(where)!r} is of no kind that is known here; "
            "write sqlite:////path/to/westward.db or postgresql+psycopg://user@host/westward"
        )
    writing, reading = _engine(where, 1, read_only=False), _engine(where, READERS, read_only=True)
    leader = Leader(writing, BUSY_TIMEOUT_S) if held is None else None
    try:
        migrate(writing)
        if leader is not None:
            with writing.begin() as connection:
                leader.claim(connection)
    except BaseException as error:
        writing.dispose()
        reading.dispose()
        if held is not None:
            held.close()
        if isinstance(error, DBAPIError):
            raise explain(error) from error
        raise
    return Database(writing, reading, held, leader)


def migrate(engine: Engine) -> None:
    """Brings the schema to the newest revision.

    Raises:
        StoreError: the database cannot be read, or knows a revision that we do not.
    """
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        with (
            engine.connect() as connection,
            _without_foreign_keys(connection),
            connection.begin(),
        ):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"the database {shown(engine.url)} was written by a newer Westward "
            f"({error}); run that version, or restore a backup"
        ) from error
    except DBAPIError as error:
        raise explain(error) from error


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by copying and dropping it, which would break every reference to it,
    and switches the check on and off outside of transactions only."""
    driver: Any = connection.connection.driver_connection
    checked = connection.dialect.name == "sqlite"
    if checked:
        driver.execute("PRAGMA foreign_keys = OFF")
    yield
    if checked:
        driver.execute("PRAGMA foreign_keys = ON")


def explain(error: DBAPIError) -> StoreError:
    """What a failure of the driver means, and what to do."""
    said = " ".join(str(error.orig).split())
    hints = {
        "full": "free space on its volume",
        "No space left": "free space on its volume",
        "connection": "is PostgreSQL up, and reachable at database_url?",
        "disk I/O": "look at its volume: full, over quota, or failing",
        "locked": f"another process has held it for over {BUSY_TIMEOUT_S:g} s; find and end it",
        "malformed": "it is damaged: restore a backup",
        "not a database": "the file is something else: restore a backup or name another file",
        "unable to open": "check that its folder exists and may be written",
        "readonly": "check the rights on the file and its folder",
    }
    hint = next((hint for sign, hint in hints.items() if sign in said), None)
    return StoreError(f"the database refused: {said}" + (f"; {hint}" if hint else ""))


def _engine(url: sa.URL, connections: int, *, read_only: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            # Readers see one moment over several statements, as SQLite's do.
            isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
            execution_options={"postgresql_readonly": read_only},
            connect_args=CONNECT_ARGS,
        )
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def settle(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver's own transaction handling would break savepoints: we begin ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _hold(database: Path) -> IO[bytes]:
    """Locks a file beside the database until it is closed or this process ends, however it ends."""
    try:
        held = database.with_name(database.name + ".lock").open("ab")
    except OSError as error:
        raise StoreError(
            f"the database {database} cannot be opened: {error.strerror}; "
            "check that its folder exists and may be written"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.close()
        raise StoreError(
            f"another scheduler holds the database {database}; stop it first"
        ) from error
    return held
