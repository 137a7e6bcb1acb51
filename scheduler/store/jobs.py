"""Jobs, their attempts and their events in the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from scheduler.domain.explanation import Explanation
from scheduler.domain.job import FINAL_STATES, Attempt, AttemptState, Job, JobEvent, JobState
from scheduler.domain.round import PlacementRecord
from scheduler.domain.transitions import Step
from scheduler.store import rows
from scheduler.store.codec import EXPLANATION
from scheduler.store.database import Database
from scheduler.store.errors import StaleVersionError
from scheduler.store.tables import ATTEMPTS, EVENTS, EXPLANATIONS, JOBS
from scheduler.store.writer import Done

# Of the identifiers in one IN (…): databases limit the parameters of a statement.
CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs; an empty part lets everything pass. ``cluster`` is that of the newest attempt."""

    states: frozenset[JobState] = frozenset()
    tenant: str = ""
    region: str = ""
    cluster: str = ""
    array_id: str = ""
    name_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A transition to store. ``attempt_changed`` tells whether the newest attempt did; the
    placement's figures are kept with it, the explanation as the one that led to it."""

    step: Step
    attempt_changed: bool
    placement: PlacementRecord | None = None
    explanation: Explanation | None = None


class JobStore:
    """The only place that reads and writes the tables of jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self,
        born: Sequence[tuple[Job, JobEvent]],
        done: Done[list[tuple[Job, JobEvent | None]]] | None = None,
    ) -> list[tuple[Job, JobEvent | None]]:
        """Stores new jobs, each with its first event.

        Returns:
            For each, the job and its numbered event; or, where the tenant has used the
            idempotency key before, the job of then and None.
        """
        return await self._database.write_joint(_insert, born, done)

    async def insert_array(
        self,
        born: Sequence[tuple[Job, JobEvent]],
        done: Done[list[tuple[Job, JobEvent | None]]] | None = None,
    ) -> list[tuple[Job, JobEvent | None]]:
        """Stores the chunks of an array in one transaction; its idempotency key is the first's.

        Returns:
            The chunks with their numbered events; or, where the tenant has used the key before,
            the chunks of then, or the job of then, with None.
        """

        def work(connection: Connection) -> list[tuple[Job, JobEvent | None]]:
            first = born[0][0]
            keyed = [first] if first.idempotency_key is not None else []
            for known in _by_key(connection, keyed).values():
                siblings = _load(connection, _chunks(known.array_id)) if known.array_id else [known]
                return [(job, None) for job in siblings]
            return _insert(connection, born)

        return await self._database.write(work, done)

    async def chunks(self, array_id: str) -> list[Job]:
        """The jobs that an array was cut into, in the order of their tasks."""
        return await self._database.read(lambda c: _load(c, _chunks(array_id)))

    async def save(
        self,
        records: Sequence[StepRecord],
        done: Done[list[Step | StaleVersionError]] | None = None,
    ) -> list[Step | StaleVersionError]:
        """Stores transitions in one transaction.

        Returns:
            For each, the step with its event numbered, or the refusal: the stored version is
            not the one that it was decided on, and nothing of it is stored.
        """
        return await self._database.write(lambda c: _save(c, records), done)

    async def find(self, job_id: str) -> Job | None:
        """One job with its attempts."""
        query = sa.select(JOBS).where(JOBS.c.id == job_id)
        found = await self._database.read(lambda c: _load(c, query))
        return found[0] if found else None

    async def find_key(self, tenant: str, key: str) -> Job | None:
        """The job that a tenant submitted under an idempotency key."""
        query = sa.select(JOBS).where(JOBS.c.tenant == tenant, JOBS.c.idempotency_key == key)
        found = await self._database.read(lambda c: _load(c, query))
        return found[0] if found else None

    async def events(self, job_id: str) -> list[JobEvent]:
        """A job's story, oldest first."""
        query = sa.select(EVENTS).where(EVENTS.c.job_id == job_id).order_by(EVENTS.c.id)
        return await self._database.read(lambda c: [rows.event(r) for r in c.execute(query)])

    async def active(self) -> list[Job]:
        """All jobs that are not final, oldest first."""
        query = sa.select(JOBS).where(JOBS.c.state.not_in([str(s) for s in FINAL_STATES]))
        return await self._database.read(lambda c: _load(c, query.order_by(JOBS.c.id)))

    async def newest_id(self) -> str | None:
        """The greatest job id so far."""
        return await self._database.read(lambda c: c.scalar(sa.select(sa.func.max(JOBS.c.id))))

    async def page(
        self, wanted: JobFilter, before_id: str | None = None, limit: int = 100
    ) -> list[Job]:
        """Jobs, newest first, from before an id on: stable while others are submitted."""
        query = sa.select(JOBS)
        if wanted.states:
            query = query.where(JOBS.c.state.in_([str(s) for s in wanted.states]))
        for column in ("tenant", "region", "cluster", "array_id"):
            if value := getattr(wanted, column):
                query = query.where(JOBS.c[column] == value)
        if wanted.name_prefix:
            # Not LIKE: that ignores case on SQLite.
            begin = sa.func.substr(JOBS.c.name, 1, len(wanted.name_prefix))
            query = query.where(begin == wanted.name_prefix)
        if before_id is not None:
            query = query.where(JOBS.c.id < before_id)
        query = query.order_by(JOBS.c.id.desc()).limit(limit)
        return await self._database.read(lambda c: _load(c, query))

    async def placements(
        self,
        cluster: str = "",
        tenant: str = "",
        *,
        include_final: bool = False,
        after: tuple[str, int] | None = None,
        limit: int,
    ) -> list[tuple[Job, PlacementRecord]]:
        """Committed placements, the newest jobs first and of each its newest attempt; those of
        ended attempts if asked for.

        Args:
            after: a job's id and the number of its attempt: only what comes after that.
        """
        query = sa.select(ATTEMPTS).where(ATTEMPTS.c.round_id.is_not(None))
        if cluster:
            query = query.where(ATTEMPTS.c.cluster == cluster)
        if tenant:
            query = query.join(JOBS, JOBS.c.id == ATTEMPTS.c.job_id).where(JOBS.c.tenant == tenant)
        if not include_final:
            live = [str(state) for state in AttemptState if not state.final]
            query = query.where(ATTEMPTS.c.state.in_(live))
        if after is not None:
            job_id, number = after
            older = sa.and_(ATTEMPTS.c.job_id == job_id, ATTEMPTS.c.number < number)
            query = query.where(sa.or_(ATTEMPTS.c.job_id < job_id, older))
        query = query.order_by(ATTEMPTS.c.job_id.desc(), ATTEMPTS.c.number.desc()).limit(limit)

        def work(connection: Connection) -> list[tuple[Job, PlacementRecord]]:
            found = connection.execute(query).all()
            ids = {row.job_id for row in found}
            jobs = {job.id: job for job in _load_ids(connection, ids)}
            return [(jobs[row.job_id], rows.placement(row)) for row in found]

        return await self._database.read(work)


def _chunks(array_id: str) -> sa.Select[Any]:
    return sa.select(JOBS).where(JOBS.c.array_id == array_id).order_by(JOBS.c.id)


def _insert(
    connection: Connection, born: Sequence[tuple[Job, JobEvent]]
) -> list[tuple[Job, JobEvent | None]]:
    known = _by_key(connection, [job for job, _ in born if job.idempotency_key is not None])
    new: list[tuple[Job, JobEvent]] = []
    for job, event in born:
        key = (job.spec.tenant, job.idempotency_key)
        if job.idempotency_key is None or known.setdefault(key, job) is job:
            new.append((job, event))
    numbers: dict[str, JobEvent] = {}
    if new:
        connection.execute(sa.insert(JOBS), [rows.of_job(job) for job, _ in new])
        numbered = _insert_events(connection, [(event, job.version) for job, event in new])
        numbers = {event.job_id: event for event in numbered}
    return [
        (job, numbers[job.id])
        if job.id in numbers
        else (known[job.spec.tenant, job.idempotency_key], None)
        for job, _ in born
    ]


def _by_key(connection: Connection, jobs: Sequence[Job]) -> dict[tuple[str, str | None], Job]:
    """Those of the tenants' idempotency keys that are in use, with the job of each."""
    found: dict[tuple[str, str | None], Job] = {}
    for tenant in sorted({job.spec.tenant for job in jobs}):
        keys = [job.idempotency_key for job in jobs if job.spec.tenant == tenant]
        for at in range(0, len(keys), CHUNK):
            query = sa.select(JOBS).where(
                JOBS.c.tenant == tenant, JOBS.c.idempotency_key.in_(keys[at : at + CHUNK])
            )
            for job in _load(connection, query):
                found[tenant, job.idempotency_key] = job
    return found


def _save(connection: Connection, records: Sequence[StepRecord]) -> list[Step | StaleVersionError]:
    versions = _lock_versions(connection, {record.step.job.id for record in records})
    results: list[Step | StaleVersionError] = []
    good: list[StepRecord] = []
    for record in records:
        job = record.step.job
        found = versions.get(job.id, 0)
        if found != job.version - 1:
            results.append(StaleVersionError(job.id, job.version - 1, found))
            continue
        versions[job.id] = job.version
        good.append(record)
        results.append(record.step)
    if not good:
        return results
    connection.execute(rows.UPDATE_JOB, [rows.of_job_change(r.step.job) for r in good])
    _save_attempts(connection, [record for record in good if record.attempt_changed])
    explained = [
        (r.explanation, number)
        for r in good
        if r.explanation is not None and r.step.job.attempt is not None
        for number in (0, r.step.job.attempt.number)
    ]
    replace_explanations(connection, explained)
    events = iter(_insert_events(connection, [(r.step.event, r.step.job.version) for r in good]))
    return [
        Step(result.job, next(events), result.effects) if isinstance(result, Step) else result
        for result in results
    ]


def _lock_versions(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The stored versions; nobody else changes them until the transaction has ended."""
    wanted, versions = sorted(ids), {}
    for at in range(0, len(wanted), CHUNK):
        query = sa.select(JOBS.c.id, JOBS.c.version).where(JOBS.c.id.in_(wanted[at : at + CHUNK]))
        for job_id, version in connection.execute(query.with_for_update()):
            versions[job_id] = version
    return versions


def _save_attempts(connection: Connection, records: Sequence[StepRecord]) -> None:
    """Ended ones first: the database knows one live attempt per job at most."""
    newest = [
        (record.step.job.attempt, record.placement)
        for record in records
        if record.step.job.attempt is not None
    ]
    ids = [attempt.id for attempt, _ in newest]
    stored: set[str] = set()
    for at in range(0, len(ids), CHUNK):
        query = sa.select(ATTEMPTS.c.id).where(ATTEMPTS.c.id.in_(ids[at : at + CHUNK]))
        stored.update(connection.scalars(query))
    continued = [rows.of_attempt_change(attempt) for attempt, _ in newest if attempt.id in stored]
    begun = [rows.of_attempt(attempt, made) for attempt, made in newest if attempt.id not in stored]
    if continued:
        connection.execute(rows.UPDATE_ATTEMPT, continued)
    if begun:
        connection.execute(sa.insert(ATTEMPTS), begun)


def _insert_events(
    connection: Connection, events: Sequence[tuple[JobEvent, int]]
) -> list[JobEvent]:
    insert = sa.insert(EVENTS).returning(EVENTS.c.id, sort_by_parameter_order=True)
    ids = connection.scalars(insert, [rows.of_event(event, version) for event, version in events])
    return [rows.numbered(event, id_) for (event, _), id_ in zip(events, ids, strict=True)]


def replace_explanations(
    connection: Connection, explained: Sequence[tuple[Explanation, int]]
) -> None:
    """Stores explanations under their attempt's number, 0 for the newest of the job."""
    if not explained:
        return
    connection.execute(
        sa.delete(EXPLANATIONS).where(
            EXPLANATIONS.c.job_id == sa.bindparam("of_job"),
            EXPLANATIONS.c.attempt_number == sa.bindparam("of_number"),
        ),
        [{"of_job": e.job_id, "of_number": number} for e, number in explained],
    )
    connection.execute(
        sa.insert(EXPLANATIONS),
        [
            {
                "job_id": e.job_id,
                "attempt_number": number,
                "round_id": e.round_id,
                "body": EXPLANATION.encode(e),
            }
            for e, number in explained
        ],
    )


def _load_ids(connection: Connection, ids: Iterable[str]) -> list[Job]:
    wanted, jobs = sorted(ids), list[Job]()
    for at in range(0, len(wanted), CHUNK):
        jobs += _load(connection, sa.select(JOBS).where(JOBS.c.id.in_(wanted[at : at + CHUNK])))
    return jobs


def _load(connection: Connection, query: sa.Select[Any]) -> list[Job]:
    found = connection.execute(query).all()
    attempts = _attempts(connection, [row.id for row in found])
    return [rows.job(row, attempts.get(row.id, ())) for row in found]


def _attempts(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[Attempt, ...]]:
    grouped: dict[str, list[Row[Any]]] = {}
    for at in range(0, len(ids), CHUNK):
        query = sa.select(ATTEMPTS).where(ATTEMPTS.c.job_id.in_(ids[at : at + CHUNK]))
        for row in connection.execute(query.order_by(ATTEMPTS.c.number)):
            grouped.setdefault(row.job_id, []).append(row)
    return {job_id: tuple(map(rows.attempt, found)) for job_id, found in grouped.items()}
