"""Jobs that are stopped to go on later, what their attempts have kept, and arrays of tasks; and how
long leases may be.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

OLD_STATES = (
    "('PENDING', 'ASSIGNED', 'RUNNING', 'UNREACHABLE', 'CANCELLING', "
    "'SUCCEEDED', 'FAILED', 'CANCELLED')"
)
NEW_STATES = (
    "('PENDING', 'ASSIGNED', 'RUNNING', 'UNREACHABLE', 'PREEMPTING', 'SUSPENDING', "
    "'SUSPENDED', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED')"
)
OLD_STREAMS = "('STDOUT', 'STDERR')"
NEW_STREAMS = "('STDOUT', 'STDERR', 'TASKS')"
FIGURES = ("kept_s", "lost_s", "lost_kwh")


def upgrade() -> None:
    _known("jobs", ("state",), NEW_STATES)
    _known("events", ("from_state", "to_state"), NEW_STATES)
    _known("log_streams", ("stream",), NEW_STREAMS)
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("array_id", sa.String(), nullable=True))
        jobs.create_index("jobs_by_array", ["array_id", "id"])
    with op.batch_alter_table("attempts") as attempts:
        for name in FIGURES:
            attempts.add_column(sa.Column(name, sa.Float(), nullable=False, server_default="0"))
        attempts.add_column(sa.Column("tasks_done", sa.LargeBinary(), nullable=True))
    granted = sa.Column("lease_ttl_s", sa.Float(), nullable=False, server_default="0")
    op.add_column("leadership", granted)
    op.create_table(
        "heads",
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("cluster"),
    )


def downgrade() -> None:
    op.drop_table("heads")
    op.drop_column("leadership", "lease_ttl_s")
    with op.batch_alter_table("attempts") as attempts:
        for name in (*FIGURES, "tasks_done"):
            attempts.drop_column(name)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index("jobs_by_array")
        jobs.drop_column("array_id")
    _known("log_streams", ("stream",), OLD_STREAMS)
    _known("events", ("from_state", "to_state"), OLD_STATES)
    _known("jobs", ("state",), OLD_STATES)


def _known(table: str, columns: tuple[str, ...], values: str) -> None:
    """Changes which values some columns may have.

    SQLite can only copy the table into a new one, where a check takes the place of the old one of
    the same name.
    """
    copied = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table(table) as batch:
        for column in columns:
            if not copied:
                batch.drop_constraint(f"known_{column}", type_="check")
            batch.create_check_constraint(f"known_{column}", sa.text(f"{column} IN {values}"))
