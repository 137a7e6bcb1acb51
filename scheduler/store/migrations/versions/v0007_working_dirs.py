"""When working directories were last asked for, and which job names which."""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

TIME = sa.DateTime(timezone=True)
JOBS_AT_ONCE = 1000
NAMED = sa.text("working_dir_sha256 IS NOT NULL")

JOBS = sa.table("jobs", sa.column("id"), sa.column("spec"), sa.column("working_dir_sha256"))
BLOBS = sa.table("blobs", sa.column("used_at", TIME))


def upgrade() -> None:
    op.add_column("blobs", sa.Column("used_at", TIME, nullable=True))
    # Of those that nobody names, some may just have been uploaded.
    op.execute(BLOBS.update().values(used_at=datetime.now(UTC)))
    with op.batch_alter_table("blobs") as blobs:
        blobs.alter_column("used_at", nullable=False)
    op.add_column("jobs", sa.Column("working_dir_sha256", sa.String(), nullable=True))
    _tell_named()
    op.create_index(
        "jobs_by_working_dir",
        "jobs",
        ["working_dir_sha256"],
        sqlite_where=NAMED,
        postgresql_where=NAMED,
    )


def downgrade() -> None:
    op.drop_index("jobs_by_working_dir", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("working_dir_sha256")
    with op.batch_alter_table("blobs") as blobs:
        blobs.drop_column("used_at")


def _tell_named() -> None:
    """Copies out of the specs what they name, a page of jobs at a time."""
    connection, last_id = op.get_bind(), ""
    page = sa.select(JOBS.c.id, JOBS.c.spec).order_by(JOBS.c.id).limit(JOBS_AT_ONCE)
    naming = page.where(JOBS.c.spec.contains('"working_dir_sha256":"'))
    update = (
        JOBS.update()
        .where(JOBS.c.id == sa.bindparam("of_id"))
        .values(working_dir_sha256=sa.bindparam("sha256"))
    )
    while found := connection.execute(naming.where(JOBS.c.id > last_id)).all():
        connection.execute(update, [{"of_id": row.id, "sha256": _named(row.spec)} for row in found])
        last_id = found[-1].id


def _named(spec: str) -> str | None:
    """None where a damaged spec does not tell."""
    try:
        sha256 = json.loads(spec)[1]["working_dir_sha256"]
    except (ValueError, LookupError, TypeError):
        return None
    return sha256 if isinstance(sha256, str) else None
