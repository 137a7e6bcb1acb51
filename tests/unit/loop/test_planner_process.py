"""The planner's process: one that dies, hangs or is left behind is not the end of planning."""

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from scheduler.planner.snapshot import Snapshot
from scheduler.planning.process import PlannerHungError, PlannerProcess
from tests.fakes.jobs import eventually
from tests.scenario.world import World

ROOT = Path(__file__).resolve().parents[3]
NOTHING = World().snapshot()


class Endless:
    """Something like a snapshot that the process never gets through with."""

    jobs = ()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return (signal.pause, ())


async def test_a_process_that_dies_or_hangs_is_ended_and_replaced() -> None:
    planner = PlannerProcess(limit_s=60.0)
    try:
        first = await asyncio.wrap_future(planner._pid)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            while True:  # it takes a moment until the death is known
                await planner.plan(NOTHING)
        assert (await planner.plan(NOTHING)).placements == ()
        second = await asyncio.wrap_future(planner._pid)
        assert second != first
        planner._limit_s = 0.2
        with pytest.raises(PlannerHungError, match=r"planning 0 jobs took longer than 0\.2 s"):
            await planner.plan(cast(Snapshot, Endless()))
        await eventually(lambda: not psutil.pid_exists(second))
        planner._limit_s = 60.0
        assert (await planner.plan(NOTHING)).placements == ()
    finally:
        planner.close()


def test_the_process_ends_with_a_scheduler_that_is_killed() -> None:
    program = """
import signal
from scheduler.planning.process import PlannerProcess
print(PlannerProcess()._pid.result(), flush=True)
signal.pause()
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    scheduler = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert scheduler.stdout is not None
    planner = psutil.Process(int(scheduler.stdout.readline()))
    scheduler.kill()
    scheduler.wait()
    planner.wait(timeout=20)
