"""Forgets what ended long ago: jobs with all that was kept of them, output, rounds, and what
happened to the fleet."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from scheduler.domain.job import FINAL_STATES
from scheduler.store.codec import SPEC
from scheduler.store.database import Database
from scheduler.store.errors import StoreError
from scheduler.store.tables import (
    ATTEMPT_ENERGY,
    ATTEMPTS,
    BLOB_CHUNKS,
    BLOBS,
    EVENTS,
    EXPLANATIONS,
    FLEET_EVENTS,
    JOBS,
    LOG_PIECES,
    LOG_STREAMS,
    ROUNDS,
)

log = structlog.get_logger()

# Of one transaction: others write between two of them.
JOBS_MOST = 50
PIECES_MOST = 200
ROUNDS_MOST = 1000
EVENTS_MOST = 1000
PAUSE_S = 0.05

Work = Callable[[Connection], int]


async def forget_jobs(database: Database, before_at: datetime) -> int:
    """Removes jobs that ended before a time; returns how many.

    A working directory goes with the last job that names it, an array when all its chunks have
    ended before that time.
    """
    # Read once, apart from the writes: a chunk that has ended does not begin again.
    kept = await database.read(lambda c: _kept_arrays(c, before_at))
    return await _repeatedly(database, lambda c: _forget_jobs(c, before_at, kept))


async def forget_logs(database: Database, before_at: datetime) -> int:
    """Removes the output of attempts that ended before a time, but not what became of an array's
    tasks; returns how many pieces."""
    query = (
        sa.select(LOG_PIECES.c.id)
        .join(ATTEMPTS, ATTEMPTS.c.id == LOG_PIECES.c.attempt_id)
        .where(ATTEMPTS.c.ended_at < before_at, LOG_PIECES.c.stream != "TASKS")
        .limit(PIECES_MOST)
    )
    drop = sa.delete(LOG_PIECES).where(LOG_PIECES.c.id.in_(query))
    return await _repeatedly(database, lambda c: c.execute(drop).rowcount)


async def forget_rounds(database: Database, before_at: datetime) -> int:
    """Removes rounds that were planned before a time; returns how many."""
    query = sa.select(ROUNDS.c.id).where(ROUNDS.c.at < before_at).limit(ROUNDS_MOST)
    drop = sa.delete(ROUNDS).where(ROUNDS.c.id.in_(query))
    return await _repeatedly(database, lambda c: c.execute(drop).rowcount)


async def forget_events(database: Database, before_at: datetime, standing: Iterable[str]) -> int:
    """Removes what happened to nodes, clusters and the like before a time; a job's events go with
    the job. Returns how many.

    Args:
        standing: happenings of which the newest of each thing stays, however old: it says what
            the thing is now.
    """
    happenings = list(standing)
    newer = FLEET_EVENTS.alias()
    outdated = sa.exists().where(
        newer.c.kind == FLEET_EVENTS.c.kind,
        newer.c.name == FLEET_EVENTS.c.name,
        newer.c.id > FLEET_EVENTS.c.id,
        newer.c.event.in_(happenings),
    )
    query = (
        sa.select(FLEET_EVENTS.c.id)
        .where(FLEET_EVENTS.c.at < before_at)
        .where(sa.or_(FLEET_EVENTS.c.event.not_in(happenings), outdated))
        .limit(EVENTS_MOST)
    )
    drop = sa.delete(FLEET_EVENTS).where(FLEET_EVENTS.c.id.in_(query))
    return await _repeatedly(database, lambda c: c.execute(drop).rowcount)


async def _repeatedly(database: Database, work: Work) -> int:
    total = 0
    while count := await database.write(work):
        total += count
        await asyncio.sleep(PAUSE_S)
    return total


def _kept_arrays(connection: Connection, before_at: datetime) -> list[str]:
    """The arrays of which some chunks ended before a time, and some did not."""
    over = _over(before_at)
    old = sa.select(JOBS.c.array_id).where(over, JOBS.c.array_id.is_not(None))
    query = sa.select(JOBS.c.array_id).where(JOBS.c.array_id.in_(old), sa.not_(over))
    return [str(array_id) for array_id in connection.scalars(query.distinct())]


def _over(before_at: datetime) -> sa.ColumnElement[bool]:
    final = [str(state) for state in FINAL_STATES]
    return sa.and_(JOBS.c.state.in_(final), JOBS.c.updated_at < before_at)


def _forget_jobs(connection: Connection, before_at: datetime, kept: Sequence[str]) -> int:
    query = sa.select(JOBS.c.id, JOBS.c.spec).where(
        _over(before_at), sa.or_(JOBS.c.array_id.is_(None), JOBS.c.array_id.not_in(kept))
    )
    found = connection.execute(query.order_by(JOBS.c.id).limit(JOBS_MOST)).all()
    ids = [row.id for row in found]
    if not ids:
        return 0
    attempts = list(connection.scalars(sa.select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id.in_(ids))))
    for table in (LOG_PIECES, LOG_STREAMS, ATTEMPT_ENERGY):
        connection.execute(sa.delete(table).where(table.c.attempt_id.in_(attempts)))
    for table in (EXPLANATIONS, EVENTS, ATTEMPTS):
        connection.execute(sa.delete(table).where(table.c.job_id.in_(ids)))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(ids)))
    for sha256 in {_working_dir(row.spec) for row in found} - {None}:
        _forget_working_dir(connection, str(sha256))
    return len(ids)


def _working_dir(spec: str) -> str | None:
    """None where a damaged spec does not tell: what it named is then kept."""
    try:
        return SPEC.decode(spec).working_dir_sha256
    except StoreError as error:
        log.warning("retention.damaged_spec", why=str(error))
        return None


def _forget_working_dir(connection: Connection, sha256: str) -> None:
    """Removes a content that no job names any more."""
    named = sa.select(JOBS.c.id).where(JOBS.c.spec.contains(f'"{sha256}"')).limit(1)
    if connection.scalar(named) is not None:
        return
    blob = BLOBS.c.sha256 == sha256
    uploads = sa.select(BLOBS.c.upload_id).where(blob)
    connection.execute(sa.delete(BLOB_CHUNKS).where(BLOB_CHUNKS.c.upload_id.in_(uploads)))
    connection.execute(sa.delete(BLOBS).where(blob))
