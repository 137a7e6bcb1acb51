"""The planner's process: one that dies, hangs or is left behind is not the end of planning."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from scheduler.planning.messages import Ask, Changes, DriftedError, IllegalPlanError, Stamp
from scheduler.planning.process import PlannerHungError, PlannerProcess, _portable
from tests.fakes.jobs import NOW, eventually

ROOT = Path(__file__).resolve().parents[3]
NOTHING = Ask(
    round_id=1,
    now_at=NOW,
    slot_s=900.0,
    slots=4,
    changes=Changes(anew=True),
    stamp=Stamp(pages=1),
    claims=(),
)


class Endless:
    """Something like a question that the process never gets through with."""

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
        assert (await planner.plan(NOTHING)).jobs == 0
        second = await asyncio.wrap_future(planner._pid)
        assert second != first
        planner._limit_s = 0.2
        with pytest.raises(PlannerHungError, match=r"the planner took longer than 0\.2 s"):
            await planner.plan(cast(Ask, Endless()))
        await eventually(lambda: not psutil.pid_exists(second))
        planner._limit_s = 60.0
        with pytest.raises(DriftedError):
            await planner.plan(replace(NOTHING, changes=Changes(anew=False), stamp=Stamp(pages=2)))
        assert (await planner.plan(NOTHING)).jobs == 0
    finally:
        planner.close()


class OddError(Exception):
    """Of the kind that cannot be read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def test_whatever_the_planner_raises_arrives() -> None:
    raised = [
        IllegalPlanError("it breaks a rule"),
        DriftedError("so"),
        ValueError("x"),
        OddError("a", "b"),
    ]
    arrived = [pickle.loads(pickle.dumps(_portable(error))) for error in raised]
    assert [str(error) for error in arrived] == [
        "it breaks a rule", "so", "x", "OddError: ab",
    ]  # fmt: skip
    assert [type(error) for error in arrived[:3]] == [type(error) for error in raised[:3]]


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
