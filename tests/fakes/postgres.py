"""A real PostgreSQL for tests: one server, emptied for each."""

import os
import signal
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

AVAILABLE = find_spec("pgserver") is not None


class Postgres:
    """A server of our own, on a socket of its own, without a network port."""

    def __init__(self, *, fsync: bool = False) -> None:
        """Without ``fsync`` it is safe against kill -9, which is all that happens in tests, and
        several times faster."""
        # Not in pytest's folder: run by root, the server has another user, who is shut out of
        # that one as soon as the next pytest starts.
        self._folder = tempfile.TemporaryDirectory(prefix="westward-postgres-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its lock may lie in /tmp
            # There are no wheels of it for every platform.
            from pgserver.postgres_server import get_server  # noqa: PLC0415

            self._server = get_server(Path(self._folder.name, "data"))
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET fsync = {'on' if fsync else 'off'}")
            connection.execute("SELECT pg_reload_conf()")

    def emptied(self) -> str:
        """The address of the database, without sessions or tables: quicker than a new one."""
        url = str(self._server.get_uri()).replace("postgresql:", "postgresql+psycopg:")
        end_sessions(url)
        with psycopg.connect(libpq(url), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return url

    def kill(self) -> None:
        """Ends the server and all its sessions at once, as a power cut would."""
        parent = psutil.Process(self._server.get_pid())
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(family, timeout=10)

    def start(self) -> None:
        """Starts it again; it recovers by itself."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """For good."""
        self._server.cleanup()
        self._folder.cleanup()


def end_sessions(url: str) -> int:
    """Ends every session of a database, as an operator or a failover would; tells how many."""
    with psycopg.connect(libpq(url), autocommit=True) as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert ended is not None
    return int(ended[0])


def libpq(url: str) -> str:
    """An address of SQLAlchemy as the driver itself understands it."""
    return url.replace("postgresql+psycopg:", "postgresql:")
