"""How a scheduler ends."""

import asyncio
import signal
from pathlib import Path

import pytest

from scheduler import app
from scheduler.config import SchedulerConfig


async def test_a_scheduler_that_lost_a_loop_ends_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(app.PlanningLoop, "run", breaks)
    config = SchedulerConfig(
        listen="127.0.0.1:0", database_url=f"sqlite:///{tmp_path / 'westward.db'}"
    )
    try:
        async with asyncio.timeout(30):
            with pytest.raises(app.LoopDiedError, match="planning loop"):
                await app._serve(config)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
