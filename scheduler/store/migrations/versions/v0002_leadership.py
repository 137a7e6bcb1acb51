"""Who leads: one row, whose term grows with every scheduler and its writes with every commit."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    table = op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("term", BIG, nullable=False),
        sa.Column("writes", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    op.bulk_insert(table, [{"id": 1, "term": 0, "writes": 0}])


def downgrade() -> None:
    op.drop_table("leadership")
