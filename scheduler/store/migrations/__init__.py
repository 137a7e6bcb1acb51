"""How the schema came to be: Alembic revisions, the same for SQLite and PostgreSQL."""
