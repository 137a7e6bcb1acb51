"""What rounds saw and how much they moved; what happened to nodes and clusters."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TIME = sa.DateTime(timezone=True)
# SQLite numbers rows by itself only where the type reads INTEGER.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTS = ("running", "nodes", "clusters", "moved", "kept")


def upgrade() -> None:
    interruptions = sa.Column("interruptions", sa.String(), nullable=False, server_default="{}")
    op.add_column("rounds", interruptions)
    for name in COUNTS:
        op.add_column("rounds", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    no = sa.false()
    op.add_column("rounds", sa.Column("quick", sa.Boolean(), nullable=False, server_default=no))
    rounds = sa.table("rounds", sa.column("trigger"), sa.column("quick"))
    named = rounds.c.trigger.like("%(front of the line)")
    op.execute(rounds.update().where(named).values(quick=sa.true()))
    op.create_table(
        "fleet_events",
        sa.Column("id", BIG, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("from_state", sa.String(), nullable=False),
        sa.Column("to_state", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('SCHEDULER', 'CLUSTER', 'NODE', 'ROUND')", name="known_kind"),
        sa.PrimaryKeyConstraint("id"),
        # A number is never given twice, even after all older rows were forgotten.
        sqlite_autoincrement=True,
    )
    op.create_index("fleet_events_by_name", "fleet_events", ["kind", "name", "id"])
    op.create_index("fleet_events_by_cluster", "fleet_events", ["cluster", "id"])
    op.create_index("fleet_events_by_time", "fleet_events", ["at"])


def downgrade() -> None:
    op.drop_table("fleet_events")
    with op.batch_alter_table("rounds") as batch:
        for name in ("interruptions", *COUNTS, "quick"):
            batch.drop_column(name)
