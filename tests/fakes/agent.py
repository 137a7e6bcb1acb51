"""A whole agent in this process, with an executor in memory, and what to ask of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents import daemon
from agents.config import AgentConfig, Head
from agents.executor.base import Executor
from tests.fakes.executor import MemoryExecutor
from tests.fakes.node_service import FakeScheduler, Stream, served
from westward.v1 import job_pb2, node_pb2

TARIFF = """province,season,effective,band,hours_local_start_inclusive,multiplier_on_flat
Gansu,all,2021-01-01,peak,"7,8,18,19,20,21,22,23",1.5
Gansu,all,2021-01-01,valley,"2,3,11,12,13,14,15,16",0.5
Gansu,all,2021-01-01,flat,"0,1,4,5,6,9,10,17",1.0
"""


def config(folder: Path, port: int, *, head: bool = True) -> AgentConfig:
    (folder / "tariff.csv").write_text(TARIFF)
    (folder / "green.csv").write_text("hour,kw\n" + "".join(f"{h},{h * 10}\n" for h in range(24)))
    section = {
        "province": "Gansu",
        "price": {"table": folder / "tariff.csv", "flat_yuan_per_kwh": 0.398},
        "green": {"file": folder / "green.csv"},
        "pue": 1.15,
        "grid_carbon_g_per_kwh": 480,
        "ray": {"address": "127.0.1.1:6379"},
    }
    return AgentConfig(
        node_id="qingyang-1",
        cluster="qingyang",
        scheduler={"address": f"127.0.0.1:{port}", "token": "open sesame"},
        data_dir=folder,
        accelerators={"model": "A800", "count": 8, "gpu_power_kw": 0.65},
        head=section if head else None,
    )


@asynccontextmanager
async def agent(settings: AgentConfig, executor: MemoryExecutor) -> AsyncIterator[None]:
    async def given(config: AgentConfig, head: Head) -> Executor:
        return executor

    running = asyncio.create_task(daemon.run(settings, executor_factory=given))
    try:
        yield
        assert not running.done(), running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def connected(
    folder: Path, scheduler: FakeScheduler, executor: MemoryExecutor | None = None
) -> AsyncIterator[Stream]:
    async with (
        served(scheduler) as port,
        agent(config(folder, port), executor or MemoryExecutor()),
    ):
        await scheduler.until(lambda: scheduler.streams and scheduler.streams[0].observed)
        yield scheduler.streams[0]


async def a_while(scheduler: FakeScheduler, stream: Stream) -> None:
    """Long enough for the agent to have worked in all that was sent to it."""
    reports = len(stream.reports)
    await scheduler.until(lambda: len(stream.reports) >= reports + 3)


def attempt(
    attempt_id: str, epoch: int = 1, *, may_start: bool = True, **spec: Any
) -> node_pb2.DesiredAttempt:
    message = node_pb2.DesiredAttempt(
        may_start=may_start,
        attempt_id=attempt_id,
        job_id=attempt_id.rpartition("-")[0],
        epoch=epoch,
        number=1,
        spec=job_pb2.JobSpec(command=job_pb2.Command(argv=["true"]), **spec),
    )
    message.workers.add(rank=0, node_id="qingyang-1")
    return message
