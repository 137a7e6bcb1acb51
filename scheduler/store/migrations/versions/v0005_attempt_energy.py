"""What attempts have used on each of their nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "attempt_energy",
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("kwh", sa.Double(), nullable=False),
        sa.Column("estimated_kwh", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"]),
        sa.PrimaryKeyConstraint("attempt_id", "node_id"),
    )


def downgrade() -> None:
    op.drop_table("attempt_energy")
