"""For all tests: gRPC's poller, and golden transcripts (what a command prints, kept as files that
people read and approve)."""

from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-rewrite", action="store_true", help="write tests/golden anew; read the difference"
    )


def pytest_configure() -> None:
    """Keeps gRPC's poller for as long as the tests run: when the last channel or server is taken by
    the garbage collector, the end of the poller can wait for ever for the loop that it served."""
    grpc.aio.init_grpc_aio()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with ``tests/golden/<name>``, or writes it with --golden-rewrite."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--golden-rewrite"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.is_file(), f"{name} is not there yet: run pytest with --golden-rewrite, read it"
        assert text == file.read_text(encoding="utf-8"), (
            f"{name} differs; if that is meant: pytest --golden-rewrite, and read the difference"
        )

    return check
