"""The schema, as the migrations make it, and what it refuses by itself."""

import hashlib
import re
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from scheduler.domain.transitions import Event
from scheduler.store import Store, database
from scheduler.store.database import open_database
from scheduler.store.errors import StoreError
from scheduler.store.tables import ATTEMPTS, BLOBS, EVENTS, JOBS
from tests.fakes.jobs import a_change, a_spec, an_attempt, assign, opened


async def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    async with opened(database_url) as (store, _):

        def difference(connection: sa.Connection) -> list[object]:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, JOBS.metadata))

        assert await store.database.read(difference) == []

        def checks(connection: sa.Connection) -> dict[str, dict[str | None, set[str]]]:
            inspector = sa.inspect(connection)
            return {
                name: {
                    check["name"]: values(check["sqltext"])
                    for check in inspector.get_check_constraints(name)
                }
                for name in inspector.get_table_names()
            }

        made = await store.database.read(checks)
        for table in JOBS.metadata.sorted_tables:
            declared = {
                str(constraint.name): values(str(constraint.sqltext))
                for constraint in table.constraints
                if isinstance(constraint, sa.CheckConstraint)
            }
            assert made[table.name] == declared, table.name


async def test_an_older_database_is_told_which_job_names_which_working_directory(
    database_url: str,
) -> None:
    content, other = (hashlib.sha256(data).hexdigest() for data in (b"content", b"other"))

    async def chunks() -> AsyncIterator[bytes]:
        yield b"content"

    async with opened(database_url) as (store, book):
        assert not await store.blobs.put(content, len(b"content"), chunks())
        # What a user calls so is no working directory.
        spec = a_spec(env={"working_dir_sha256": other})
        without, _ = await book.submit(spec)
        naming, _ = await book.submit(replace(spec, working_dir_sha256=content))
        damaged, _ = await book.submit(replace(spec, working_dir_sha256=content))
        spoil = sa.update(JOBS).where(JOBS.c.id == damaged.id).values(spec='[1,{"working_dir_sha')
        await store.database.write(lambda c: c.execute(spoil).rowcount)
    make_older(database_url, "0006")
    began_at = datetime.now(UTC)
    store = await Store.open(database_url)
    try:
        named = sa.select(JOBS.c.id, JOBS.c.working_dir_sha256)
        found = await store.database.read(lambda c: {row[0]: row[1] for row in c.execute(named)})
        assert found == {without.id: None, naming.id: content, damaged.id: None}
        used_at = await store.database.read(lambda c: c.scalar(sa.select(BLOBS.c.used_at)))
        assert used_at is not None and used_at >= began_at, "its job may be on its way"
    finally:
        await store.close()


def make_older(url: str, revision: str) -> None:
    """Brings the schema back to what it was in an older version."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    engine = database._engine(sa.make_url(url), 1, read_only=False)
    with (
        engine.connect() as connection,
        database._without_foreign_keys(connection),
        connection.begin(),
    ):
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def values(condition: str) -> set[str]:
    """The values that a condition names: PostgreSQL words the rest of it anew."""
    return set(re.findall(r"'\w+'|\b\d+\b", condition))


async def test_the_files_settings_are_the_safe_ones(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):

        def settings(connection: sa.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

        assert await store.database.write(settings) == ["wal", 2, 1]


async def test_a_second_live_attempt_is_refused_by_the_database(database_url: str) -> None:
    async with opened(database_url) as (_, book):
        job, _ = await book.submit(a_spec())
        job = await assign(book, job)
        # A careless caller: the first attempt is forgotten, not ended.
        job = (await book.apply(a_change(job.id, Event.FAIL_RETRY))).job
        with pytest.raises(StoreError, match=r"(?i)unique"):
            await assign(book, job, 2)
        assert (await book.get(job.id)).version == job.version


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(JOBS).values(state="DANCING"),
        sa.update(ATTEMPTS).values(state="DANCING"),
        sa.update(ATTEMPTS).values(job_id="nobody"),
        sa.insert(EVENTS).from_select(
            [c.name for c in EVENTS.c if c.name != "id"],
            sa.select(*[c for c in EVENTS.c if c.name != "id"]),
        ),
    ],
    ids=["job state", "attempt state", "attempt of no job", "event twice"],
)
async def test_the_database_refuses_what_is_illegal(
    database_url: str, statement: sa.Executable
) -> None:
    async with opened(database_url) as (store, book):
        job, _ = await book.submit(a_spec())
        await assign(book, job)
        with pytest.raises(StoreError, match=r"(?i)constraint"):
            await store.database.write(lambda c: c.execute(statement))


async def test_an_attempt_needs_its_job(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job, _ = await book.submit(a_spec())
        assert an_attempt(job.id).job_id == job.id
        with pytest.raises(StoreError, match=r"(?i)foreign key"):
            await store.database.write(
                lambda c: c.execute(
                    sa.text(
                        "INSERT INTO explanations (job_id, attempt_number, round_id, body)"
                        " VALUES ('nobody', 0, 1, '')"
                    )
                )
            )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//u:s3cret@h/db",
        "postgresql://u:s3cret@h:port/db",
        "u:s3cret@h",
        "mysql://u:s3cret@h/db",
        "mysql://u@h/db?password=s3cret",
        "sqlite://u:s3cret@/",
    ],
)
def test_what_is_no_address_may_hold_a_password(url: str) -> None:
    with pytest.raises(StoreError, match=r"database_url|database address") as caught:
        open_database(url)
    told = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in told
    assert "; write" in told


async def test_a_second_scheduler_on_the_same_database_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.store.database.BUSY_TIMEOUT_S", 0.1)
    async with opened(database_url) as (_, book):
        with pytest.raises(StoreError, match="another scheduler holds"):
            await Store.open(database_url)
        job, _ = await book.submit(a_spec())
    async with opened(database_url) as (_, book):
        assert set(book.active()) == {job.id}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("westward.db", "database_url = .* is no address; write"),
        ("sqlite://", "names no file"),
        ("sqlite:///{}/nowhere/westward.db", "check that its folder exists"),
        ("mysql://user:secret@host/westward", r"mysql://user:\*+@host/westward' is of no kind"),
        ("postgresql+psycopg://user@127.0.0.1:1/westward", "is PostgreSQL up"),
    ],
)
async def test_an_address_that_is_no_use_says_so(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        await Store.open(url.format(tmp_path))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "westward.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreError, match="restore a backup or name another file"):
        await Store.open(f"sqlite:///{tmp_path}/westward.db")


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    async with opened(database_url) as (store, _):
        await store.database.write(lambda c: c.execute(newer))
    with pytest.raises(StoreError, match="written by a newer Westward"):
        await Store.open(database_url)
