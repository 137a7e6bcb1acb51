"""The tables. What is cheap for the database to refuse, it refuses by itself.

The schema is created and changed by ``migrations`` alone; a test compares the two.
"""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    Table,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import CheckConstraint, Field, Index, SQLModel, UniqueConstraint

from scheduler.domain.job import AttemptState, JobState
from scheduler.domain.log import LogStream

# SQLite numbers rows by itself only where the type reads INTEGER.
BIG = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC with microseconds, read back aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value.isoformat()} has no time zone; give it one")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{value}'" for value in kind)
    return CheckConstraint(f"{column} IN ({values})", name=f"known_{column}")


class JobRow(SQLModel, table=True):
    """One job; ``cluster`` is that of its newest attempt, kept here for filtering, as
    ``working_dir_sha256`` is from its spec."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("tenant", "idempotency_key", name="one_job_per_key"),
        _one_of("state", JobState),
        Index("jobs_by_state", "state", "id"),
        Index("jobs_by_tenant", "tenant", "id"),
        Index("jobs_by_array", "array_id", "id"),
        Index(
            "jobs_by_working_dir",
            "working_dir_sha256",
            sqlite_where=text("working_dir_sha256 IS NOT NULL"),
            postgresql_where=text("working_dir_sha256 IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    tenant: str
    name: str
    region: str
    state: str
    reason_code: str
    reason_message: str
    version: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    idempotency_key: str | None
    not_before_at: datetime | None = Field(sa_type=UtcDateTime)
    cluster: str | None
    spec: str
    array_id: str | None
    working_dir_sha256: str | None


class AttemptRow(SQLModel, table=True):
    """One attempt, with the figures of the placement that led to it.

    The partial index is the product's promise in one line: a job has one live attempt at most.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number", name="one_attempt_per_number"),
        _one_of("state", AttemptState),
        Index(
            "one_live_attempt_per_job",
            "job_id",
            unique=True,
            sqlite_where=text("state IN ('ASSIGNED', 'STARTING', 'RUNNING')"),
            postgresql_where=text("state IN ('ASSIGNED', 'STARTING', 'RUNNING')"),
        ),
    )
    id: str = Field(primary_key=True)
    job_id: str = Field(foreign_key="jobs.id")
    number: int
    epoch: int
    state: str
    cluster: str
    accelerator: str
    nodes: str
    assigned_at: datetime = Field(sa_type=UtcDateTime)
    expected_end_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(sa_type=UtcDateTime)
    exit_code: int | None
    reason_code: str | None
    reason_message: str | None
    round_id: int | None
    planned_start_at: datetime | None = Field(sa_type=UtcDateTime)
    planned_end_at: datetime | None = Field(sa_type=UtcDateTime)
    energy_kwh: float | None
    green_share: float | None
    cost_yuan: float | None
    carbon_kg: float | None
    saving: str | None
    kept_s: float = Field(sa_column_kwargs={"server_default": "0"})
    lost_s: float = Field(sa_column_kwargs={"server_default": "0"})
    lost_kwh: float = Field(sa_column_kwargs={"server_default": "0"})
    tasks_done: bytes | None = Field(sa_type=LargeBinary)


class EventRow(SQLModel, table=True):
    """One transition; ``version`` is the job's after it, so none can be stored twice."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("job_id", "version", name="one_event_per_version"),
        _one_of("from_state", JobState),
        _one_of("to_state", JobState),
    )
    id: int | None = Field(primary_key=True, default=None, sa_type=BIG)
    job_id: str = Field(foreign_key="jobs.id")
    version: int
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    event: str
    from_state: str
    to_state: str
    reason_code: str
    reason_message: str
    attempt_id: str | None


class FleetEventRow(SQLModel, table=True):
    """What happened to other things than jobs; a number is never given twice."""

    __tablename__ = "fleet_events"
    __table_args__ = (
        CheckConstraint("kind IN ('SCHEDULER', 'CLUSTER', 'NODE', 'ROUND')", name="known_kind"),
        Index("fleet_events_by_name", "kind", "name", "id"),
        Index("fleet_events_by_cluster", "cluster", "id"),
        Index("fleet_events_by_time", "at"),
        {"sqlite_autoincrement": True},
    )
    id: int | None = Field(primary_key=True, default=None, sa_type=BIG)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    kind: str
    name: str
    cluster: str
    event: str
    from_state: str
    to_state: str
    message: str


class RoundRow(SQLModel, table=True):
    """One planning round."""

    __tablename__ = "rounds"
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    trigger: str
    jobs: int
    placed: int
    planned: int
    unplaced: int
    objective_yuan: float
    bound_yuan: float
    gap: float
    wall_ms: float
    stages: str
    reasons: str
    interruptions: str = Field(sa_column_kwargs={"server_default": "{}"})
    running: int = Field(sa_column_kwargs={"server_default": "0"})
    nodes: int = Field(sa_column_kwargs={"server_default": "0"})
    clusters: int = Field(sa_column_kwargs={"server_default": "0"})
    moved: int = Field(sa_column_kwargs={"server_default": "0"})
    kept: int = Field(sa_column_kwargs={"server_default": "0"})
    quick: bool = Field(sa_column_kwargs={"server_default": false()})


class ExplanationRow(SQLModel, table=True):
    """Number 0 is the newest of the job; number n the one that led to attempt n."""

    __tablename__ = "explanations"
    job_id: str = Field(primary_key=True, foreign_key="jobs.id")
    attempt_number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    round_id: int
    body: str


class BlobRow(SQLModel, table=True):
    """One complete content; its bytes are the chunks of the upload that brought it. ``used_at``, in
    real time, is about when it was last uploaded or named in a submission."""

    __tablename__ = "blobs"
    sha256: str = Field(primary_key=True)
    size_bytes: int
    upload_id: str
    used_at: datetime = Field(sa_type=UtcDateTime)


class BlobChunkRow(SQLModel, table=True):
    """A piece of an upload, complete or under way."""

    __tablename__ = "blob_chunks"
    upload_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    data: bytes = Field(sa_type=LargeBinary)


class LogStreamRow(SQLModel, table=True):
    """How far one output of one worker is stored; ``limit_bytes`` of it are kept."""

    __tablename__ = "log_streams"
    __table_args__ = (_one_of("stream", LogStream),)
    attempt_id: str = Field(primary_key=True, foreign_key="attempts.id")
    rank: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    stream: str = Field(primary_key=True)
    next_offset: int = Field(sa_type=BIG)
    limit_bytes: int
    ended: bool


class LogPieceRow(SQLModel, table=True):
    """Bytes from ``start_offset`` to before ``end_offset`` of one output of one worker."""

    __tablename__ = "log_pieces"
    __table_args__ = (
        UniqueConstraint(
            "attempt_id", "rank", "stream", "start_offset", name="one_piece_per_offset"
        ),
        Index("log_pieces_in_order", "attempt_id", "id"),
    )
    id: int | None = Field(primary_key=True, default=None, sa_type=BIG)
    attempt_id: str = Field(foreign_key="attempts.id")
    rank: int
    stream: str
    start_offset: int = Field(sa_type=BIG)
    end_offset: int = Field(sa_type=BIG)
    data: bytes = Field(sa_type=LargeBinary)


class LeadershipRow(SQLModel, table=True):
    """One row: who leads where the database is shared, see ``leader``; and ``granted``."""

    __tablename__ = "leadership"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    term: int = Field(sa_type=BIG)
    writes: int = Field(sa_type=BIG)
    lease_ttl_s: float = Field(sa_column_kwargs={"server_default": "0"})


class HeadRow(SQLModel, table=True):
    """The node that was last the head of a cluster."""

    __tablename__ = "heads"
    cluster: str = Field(primary_key=True)
    node_id: str


class NodeMarkRow(SQLModel, table=True):
    """An operator's wish that a node gets nothing new."""

    __tablename__ = "node_marks"
    node_id: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str
    reason: str
    drain_until_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AttemptEnergyRow(SQLModel, table=True):
    """What an attempt has used on one of its nodes, PUE left out."""

    __tablename__ = "attempt_energy"
    attempt_id: str = Field(primary_key=True, foreign_key="attempts.id")
    node_id: str = Field(primary_key=True)
    kwh: float = Field(sa_type=Double)
    estimated_kwh: float = Field(sa_type=Double)


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


JOBS = _table("jobs")
ATTEMPTS = _table("attempts")
EVENTS = _table("events")
FLEET_EVENTS = _table("fleet_events")
ROUNDS = _table("rounds")
EXPLANATIONS = _table("explanations")
BLOBS = _table("blobs")
BLOB_CHUNKS = _table("blob_chunks")
LOG_STREAMS = _table("log_streams")
LOG_PIECES = _table("log_pieces")
LEADERSHIP = _table("leadership")
HEADS = _table("heads")
NODE_MARKS = _table("node_marks")
ATTEMPT_ENERGY = _table("attempt_energy")
