"""Jobs, attempts, events, rounds, explanations, working directories and logs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JOB_STATES = (
    "('PENDING', 'ASSIGNED', 'RUNNING', 'UNREACHABLE', 'CANCELLING', "
    "'SUCCEEDED', 'FAILED', 'CANCELLED')"
)
ATTEMPT_STATES = "('ASSIGNED', 'STARTING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'STOPPED', 'LOST')"


def upgrade() -> None:
    _jobs()
    _attempts()
    _events()
    _rounds()
    _blobs()
    _logs()


def downgrade() -> None:
    for table in (
        "log_pieces",
        "log_streams",
        "blob_chunks",
        "blobs",
        "explanations",
        "rounds",
        "events",
        "attempts",
        "jobs",
    ):
        op.drop_table(table)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _float(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _jobs() -> None:
    op.create_table(
        "jobs",
        _text("id"),
        _text("tenant"),
        _text("name"),
        _text("region"),
        _text("state"),
        _text("reason_code"),
        _text("reason_message"),
        _integer("version"),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        _text("idempotency_key", nullable=True),
        sa.Column("not_before_at", TIME),
        _text("cluster", nullable=True),
        _text("spec"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "idempotency_key", name="one_job_per_key"),
        sa.CheckConstraint(f"state IN {JOB_STATES}", name="known_state"),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_by_tenant", "jobs", ["tenant", "id"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        _text("id"),
        _text("job_id"),
        _integer("number"),
        _integer("epoch"),
        _text("state"),
        _text("cluster"),
        _text("accelerator"),
        _text("nodes"),
        sa.Column("assigned_at", TIME, nullable=False),
        sa.Column("expected_end_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        _integer("exit_code", nullable=True),
        _text("reason_code", nullable=True),
        _text("reason_message", nullable=True),
        _integer("round_id", nullable=True),
        sa.Column("planned_start_at", TIME),
        sa.Column("planned_end_at", TIME),
        _float("energy_kwh", nullable=True),
        _float("green_share", nullable=True),
        _float("cost_yuan", nullable=True),
        _float("carbon_kg", nullable=True),
        _text("saving", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.UniqueConstraint("job_id", "number", name="one_attempt_per_number"),
        sa.CheckConstraint(f"state IN {ATTEMPT_STATES}", name="known_state"),
    )
    live = sa.text("state IN ('ASSIGNED', 'STARTING', 'RUNNING')")
    op.create_index(
        "one_live_attempt_per_job",
        "attempts",
        ["job_id"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", BIG, nullable=False),
        _text("job_id"),
        _integer("version"),
        sa.Column("at", TIME, nullable=False),
        _text("actor"),
        _text("event"),
        _text("from_state"),
        _text("to_state"),
        _text("reason_code"),
        _text("reason_message"),
        _text("attempt_id", nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.UniqueConstraint("job_id", "version", name="one_event_per_version"),
        sa.CheckConstraint(f"from_state IN {JOB_STATES}", name="known_from_state"),
        sa.CheckConstraint(f"to_state IN {JOB_STATES}", name="known_to_state"),
    )


def _rounds() -> None:
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        _text("trigger"),
        _integer("jobs"),
        _integer("placed"),
        _integer("planned"),
        _integer("unplaced"),
        _float("objective_yuan"),
        _float("bound_yuan"),
        _float("gap"),
        _float("wall_ms"),
        _text("stages"),
        _text("reasons"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "explanations",
        _text("job_id"),
        sa.Column("attempt_number", sa.Integer(), nullable=False, autoincrement=False),
        _integer("round_id"),
        _text("body"),
        sa.PrimaryKeyConstraint("job_id", "attempt_number"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
    )


def _blobs() -> None:
    op.create_table(
        "blobs",
        _text("sha256"),
        _integer("size_bytes"),
        _text("upload_id"),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "blob_chunks",
        _text("upload_id"),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "number"),
    )


def _logs() -> None:
    op.create_table(
        "log_streams",
        _text("attempt_id"),
        sa.Column("rank", sa.Integer(), nullable=False, autoincrement=False),
        _text("stream"),
        sa.Column("next_offset", BIG, nullable=False),
        _integer("limit_bytes"),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "rank", "stream"),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"]),
        sa.CheckConstraint("stream IN ('STDOUT', 'STDERR')", name="known_stream"),
    )
    op.create_table(
        "log_pieces",
        sa.Column("id", BIG, nullable=False),
        _text("attempt_id"),
        _integer("rank"),
        _text("stream"),
        sa.Column("start_offset", BIG, nullable=False),
        sa.Column("end_offset", BIG, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"]),
        sa.UniqueConstraint(
            "attempt_id", "rank", "stream", "start_offset", name="one_piece_per_offset"
        ),
    )
    op.create_index("log_pieces_in_order", "log_pieces", ["attempt_id", "id"])
