"""Databases: what the store promises, it promises on both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.postgres import AVAILABLE, Postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A running server; it lasts until the last test."""
    if not AVAILABLE:
        pytest.skip("pgserver has no wheel for this platform")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """A running server, even where the test before has killed it."""
    postgres_server.start()
    return postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/westward.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.emptied()
