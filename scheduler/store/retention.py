"""Forgets what ended long ago: jobs with all that was kept of them, working directories, output,
rounds, and what happened to the fleet."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from scheduler.domain.job import FINAL_STATES
from scheduler.store.database import Database
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

# Of one transaction: others write between two of them.
JOBS_MOST = 50
DIRS_MOST = 10
PIECES_MOST = 200
ROUNDS_MOST = 1000
EVENTS_MOST = 1000
PAUSE_S = 0.05

Work = Callable[[Connection], int]


async def forget_jobs(database: Database, before_at: datetime) -> int:
    """Removes jobs that ended before a time, an array once all its chunks have. How many."""
    # Read once, apart from the writes: a chunk that has ended does not begin again.
    kept = await database.read(lambda c: _kept_arrays(c, before_at))
    return await _repeatedly(database, lambda c: _forget_jobs(c, before_at, kept))


async def forget_working_dirs(database: Database, before_at: datetime) -> int:
    """Removes working directories that no job names any more, or ever did; returns how many. Those
    that were claimed since a time, in real time, stay: a submission may be under way.
    """
    return await _repeatedly(database, lambda c: _forget_working_dirs(c, before_at))


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
    query = sa.select(JOBS.c.id).where(
        _over(before_at), sa.or_(JOBS.c.array_id.is_(None), JOBS.c.array_id.not_in(kept))
    )
    ids = list(connection.scalars(query.order_by(JOBS.c.id).limit(JOBS_MOST)))
    if not ids:
        return 0
    attempts = list(connection.scalars(sa.select(ATTEMPTS.c.id).where(ATTEMPTS.c.job_id.in_(ids))))
    for table in (LOG_PIECES, LOG_STREAMS, ATTEMPT_ENERGY):
        connection.execute(sa.delete(table).where(table.c.attempt_id.in_(attempts)))
    for table in (EXPLANATIONS, EVENTS, ATTEMPTS):
        connection.execute(sa.delete(table).where(table.c.job_id.in_(ids)))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(ids)))
    return len(ids)


def _forget_working_dirs(connection: Connection, before_at: datetime) -> int:
    named = sa.exists().where(JOBS.c.working_dir_sha256 == BLOBS.c.sha256)
    unused = sa.select(BLOBS.c.sha256, BLOBS.c.upload_id).where(
        BLOBS.c.used_at < before_at, sa.not_(named)
    )
    found = connection.execute(unused.limit(DIRS_MOST)).all()
    uploads, contents = [row.upload_id for row in found], [row.sha256 for row in found]
    connection.execute(sa.delete(BLOB_CHUNKS).where(BLOB_CHUNKS.c.upload_id.in_(uploads)))
    connection.execute(sa.delete(BLOBS).where(BLOBS.c.sha256.in_(contents)))
    return len(found)
