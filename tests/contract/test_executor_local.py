"""The Executor contract over plain processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.array_cases import ArrayContract
from tests.contract.executor_cases import ExecutorContract
from tests.fakes.local_executor import LocalExecutor


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def executor(data_dir: Path) -> AsyncIterator[LocalExecutor]:
    executor = LocalExecutor(data_dir)
    yield executor
    await executor.close()


class TestLocalExecutor(ExecutorContract):
    """Real processes, real signals."""


class TestLocalArrays(ArrayContract):
    """The real task loop, each worker in a process of its own."""
