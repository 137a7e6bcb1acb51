"""Run by Alembic with the connection that ``database.migrate`` hands over."""

from alembic import context

from scheduler.store.tables import JOBS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=JOBS.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
