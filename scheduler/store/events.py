"""The audit trail: what happened to jobs, nodes, clusters and rounds, as it was stored.

Jobs have a table of their own, whose rows are written with the changes they tell of; the rest is in
another. Both are numbered in the order of their commits, and what is read here is both together.
"""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from scheduler.domain.audit import AuditEvent, Subject
from scheduler.store.database import Database
from scheduler.store.tables import ATTEMPTS, EVENTS, FLEET_EVENTS, JOBS

# One look goes through so many events of jobs at most: few of them may be wanted, and others wait
# for the same readers.
LOOKED_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Position:
    """A place in both tables: the numbers that were, or were not, told last."""

    job: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; an empty part lets everything pass.

    ``job_id`` is a job or an array. A node's events are its own and those of jobs whose attempt it
    had a part of; a cluster's are those of all that is or runs there.
    """

    job_id: str = ""
    node_id: str = ""
    cluster: str = ""
    since_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and where to look on; None where there is nothing more."""

    events: tuple[AuditEvent, ...]
    next: Position | None


class EventStore:
    """Reads both tables; writes what is not about jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, events: Sequence[AuditEvent]) -> None:
        """Stores events that are not about jobs."""
        await self._database.write(lambda c: insert(c, events))

    async def last(self, happenings: Iterable[str]) -> list[AuditEvent]:
        """The newest of some happenings, of each thing that any of them was stored of."""
        newest = (
            sa.select(sa.func.max(FLEET_EVENTS.c.id))
            .where(FLEET_EVENTS.c.event.in_(list(happenings)))
            .group_by(FLEET_EVENTS.c.kind, FLEET_EVENTS.c.name)
        )
        query = sa.select(FLEET_EVENTS).where(FLEET_EVENTS.c.id.in_(newest))
        return await self._database.read(lambda c: [_of_fleet(r) for r in c.execute(query)])

    async def newest(self) -> Position:
        """The last numbers given so far."""
        return await self._database.read(_newest)

    async def page(self, wanted: EventFilter, before: Position | None, limit: int) -> Page:
        """Events, newest first.

        Returns:
            Up to ``limit`` of those before a position, None for the end; there may be fewer
            although there are more, where few are wanted.
        """
        return await self._database.read(lambda c: _page(c, wanted, before, limit))

    async def after(self, wanted: EventFilter, after: Position, limit: int) -> tuple[Page, bool]:
        """Events, oldest first, up to about ``limit`` of those after a position.

        Returns:
            The events with the position to look on from, and whether there is more by now.
        """
        return await self._database.read(lambda c: _after(c, wanted, after, limit))


def insert(connection: Connection, events: Sequence[AuditEvent]) -> None:
    """Stores events that are not about jobs, in the transaction of what they tell of."""
    if events:
        connection.execute(sa.insert(FLEET_EVENTS), [_row(event) for event in events])


def _row(event: AuditEvent) -> dict[str, Any]:
    assert event.subject is not Subject.JOB, "events of jobs are stored with their changes"
    return {
        "at": event.at,
        "actor": event.actor,
        "kind": event.subject.value,
        # What agents say may be in it; PostgreSQL's text holds no NUL.
        "name": event.name.replace("\0", "�"),
        "cluster": event.cluster.replace("\0", "�"),
        "event": event.event,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "message": event.message.replace("\0", "�"),
    }


def _of_fleet(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        at=row.at,
        actor=row.actor,
        subject=Subject(row.kind),
        name=row.name,
        cluster=row.cluster,
        event=row.event,
        from_state=row.from_state,
        to_state=row.to_state,
        message=row.message,
    )


def _of_job(row: Row[Any]) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        at=row.at,
        actor=row.actor,
        subject=Subject.JOB,
        name=row.job_id,
        cluster=row.cluster or "",
        event=row.event,
        # A submission is the birth of a job: it comes from nowhere.
        from_state="" if row.event == "SUBMIT" else row.from_state,
        to_state=row.to_state,
        code=row.reason_code,
        message=row.reason_message,
        attempt_id=row.attempt_id or "",
    )


def _newest(connection: Connection) -> Position:
    ends = [connection.scalar(sa.select(sa.func.max(t.c.id))) for t in (EVENTS, FLEET_EVENTS)]
    return Position(ends[0] or 0, ends[1] or 0)


def _jobs(wanted: EventFilter) -> sa.Select[Any]:
    """Wanted events of jobs, each with the cluster of its attempt."""
    attempts = EVENTS.outerjoin(ATTEMPTS, ATTEMPTS.c.id == EVENTS.c.attempt_id)
    query = sa.select(EVENTS, ATTEMPTS.c.cluster).select_from(attempts)
    if wanted.job_id:
        chunks = sa.select(JOBS.c.id).where(JOBS.c.array_id == wanted.job_id)
        one = EVENTS.c.job_id == wanted.job_id
        query = query.where(sa.or_(one, EVENTS.c.job_id.in_(chunks)))
    if wanted.node_id:
        part = ATTEMPTS.c.nodes.contains(json.dumps(wanted.node_id), autoescape=True)
        query = query.where(part)
    if wanted.cluster:
        query = query.where(ATTEMPTS.c.cluster == wanted.cluster)
    if wanted.since_at is not None:
        query = query.where(EVENTS.c.at >= wanted.since_at)
    return query


def _others(wanted: EventFilter) -> sa.Select[Any]:
    """Wanted events of all else; none where a job is asked for."""
    query = sa.select(FLEET_EVENTS)
    if wanted.job_id:
        query = query.where(sa.false())
    if wanted.node_id:
        node = FLEET_EVENTS.c.kind == Subject.NODE.value
        query = query.where(node, FLEET_EVENTS.c.name == wanted.node_id)
    if wanted.cluster:
        query = query.where(FLEET_EVENTS.c.cluster == wanted.cluster)
    if wanted.since_at is not None:
        query = query.where(FLEET_EVENTS.c.at >= wanted.since_at)
    return query


def _page(connection: Connection, wanted: EventFilter, before: Position | None, limit: int) -> Page:
    if before is None:
        end = _newest(connection)
        before = Position(end.job + 1, end.other + 1)
    # A job's own events are few, and found by its id.
    low = 0 if wanted.job_id else max(before.job - 1 - LOOKED_MOST, 0)
    query = _jobs(wanted).where(EVENTS.c.id < before.job, EVENTS.c.id > low)
    rows = connection.execute(query.order_by(EVENTS.c.id.desc()).limit(limit))
    jobs = [_of_job(row) for row in rows]
    query = _others(wanted).where(FLEET_EVENTS.c.id < before.other)
    rows = connection.execute(query.order_by(FLEET_EVENTS.c.id.desc()).limit(limit))
    others = [_of_fleet(row) for row in rows]
    all_others = len(others) < limit
    if len(jobs) < limit and low > 0:
        # What is older than what was looked at has to wait for the rest of it.
        edge_at = _first_at(connection, low)
        if wanted.since_at is not None and edge_at is not None and edge_at < wanted.since_at:
            low = 0
        elif edge_at is not None:
            young = [event for event in others if event.at >= edge_at]
            all_others &= len(young) == len(others)
            others = young
    merged = heapq.merge(jobs, others, key=lambda event: event.at, reverse=True)
    told = [event for event, _ in zip(merged, range(limit), strict=False)]
    told_jobs = [event.id for event in told if event.subject is Subject.JOB]
    told_others = [event.id for event in told if event.subject is not Subject.JOB]
    # Where all that was found is told, nothing but what was not looked at can follow.
    next_job = told_jobs[-1] if told_jobs else before.job
    if len(told_jobs) == len(jobs) < limit:
        next_job = low + 1
    next_other = told_others[-1] if told_others else before.other
    if len(told_others) == len(others) and all_others:
        next_other = 1
    following = Position(next_job, next_other)
    return Page(tuple(told), None if following == Position(1, 1) else following)


def _first_at(connection: Connection, after_id: int) -> datetime | None:
    """When the first event of a job after a number was."""
    query = sa.select(EVENTS.c.at).where(EVENTS.c.id > after_id).order_by(EVENTS.c.id).limit(1)
    at: datetime | None = connection.scalar(query)
    return at


def _after(
    connection: Connection, wanted: EventFilter, after: Position, limit: int
) -> tuple[Page, bool]:
    end = _newest(connection)
    high = min(end.job, after.job + LOOKED_MOST)
    query = _jobs(wanted).where(EVENTS.c.id > after.job, EVENTS.c.id <= high)
    jobs = [_of_job(row) for row in connection.execute(query.order_by(EVENTS.c.id).limit(limit))]
    query = _others(wanted).where(FLEET_EVENTS.c.id > after.other)
    rows = connection.execute(query.order_by(FLEET_EVENTS.c.id).limit(limit))
    others = [_of_fleet(row) for row in rows]
    reached = Position(
        jobs[-1].id if len(jobs) == limit else max(high, after.job),
        others[-1].id if len(others) == limit else max(end.other, after.other),
    )
    told = heapq.merge(jobs, others, key=lambda event: event.at)
    return Page(tuple(told), reached), reached != Position(
        max(end.job, after.job), max(end.other, after.other)
    )
