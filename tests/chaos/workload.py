"""The jobs of a chaos run, submitted and cancelled by clients that never give up."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from scheduler.client import AsyncClient, ConflictError
from scheduler.client.errors import SchedulerError, UnreachableError
from tests.chaos.stage import MARK, REGION, Stage
from westward.v1 import job_pb2

PROGRAM = Path(__file__).with_name("recorded.py")
TENANT = "chaos"
SECONDS = (0.2, 2.5)
REPEATED = 0.1
CANCELLED = 0.08
GANGS = 0.15
FAILING = 0.08
STUBBORN = 0.1
INTERRUPTIBLE = 0.4
URGENT = 0.15
SUSPENDED = 0.08
WAITING = 0.2
# Enough for the unluckiest; a few are made to fail at their second.
ATTEMPTS_MOST = 100
AGAIN_S = 0.3


@dataclass
class Workload:
    """``acknowledged`` are job ids by key, ``cancelled`` the ids whose cancel was acknowledged."""

    stage: Stage
    chance: Random
    acknowledged: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    suspended: int = 0
    refusals: int = 0

    async def submit(self, jobs: int, over_s: float) -> None:
        """Submits jobs at random moments; returns when each of them was acknowledged."""
        at_s = [0.0, *sorted(self.chance.uniform(0, over_s) for _ in range(jobs - 1))]
        began_s = asyncio.get_running_loop().time()
        async with AsyncClient(self.stage.address) as client, asyncio.TaskGroup() as group:
            for number, due_s in enumerate(at_s):
                now_s = asyncio.get_running_loop().time()
                await asyncio.sleep(max(0.0, began_s + due_s - now_s))
                group.create_task(self._one(client, f"chaos-{number}", self._spec(number)))

    def _spec(self, number: int) -> job_pb2.JobSpec:
        chance = self.chance
        stubborn = ["stubborn"] if chance.random() < STUBBORN else []
        seconds, failing = chance.uniform(*SECONDS), int(chance.random() < FAILING) * 2
        argv = [sys.executable, "-I", "-S", str(PROGRAM), str(self.stage.records)]
        spec = job_pb2.JobSpec(
            name=f"chaos-{number}",
            tenant=TENANT,
            region=REGION,
            workers=2 if chance.random() < GANGS else 1,
            command=job_pb2.Command(argv=[*argv, f"{seconds:.2f}", str(failing), *stubborn]),
            per_worker=job_pb2.WorkerShape(gpus=1, cpus=0.2, memory_gb=0.1),
            expected_duration_s=5,
            max_attempts=2 if failing else ATTEMPTS_MOST,
            interruptible=chance.random() < INTERRUPTIBLE,
            stop_grace_s=chance.choice([0.5, 5.0]),
            priority=50 if chance.random() < URGENT else 0,
            on_unreachable=job_pb2.ON_UNREACHABLE_WAIT
            if chance.random() < WAITING
            else job_pb2.ON_UNREACHABLE_RETRY,
        )
        spec.env[MARK] = str(self.stage.records)
        return spec

    async def _one(self, client: AsyncClient, key: str, spec: job_pb2.JobSpec) -> None:
        repeated, cancelled = self.chance.random() < REPEATED, self.chance.random() < CANCELLED
        pause_s = self.chance.uniform(0, 8)
        times = 2 if repeated else 1
        answers = await asyncio.gather(
            *(self._acknowledged(client, key, spec) for _ in range(times))
        )
        assert len(set(answers)) == 1, f"{key} is {answers}"
        self.acknowledged[key] = answers[0]
        if self.chance.random() < SUSPENDED:
            await self._hold(client, answers[0])
        if cancelled:
            await asyncio.sleep(pause_s)
            await self._cancel(client, answers[0])

    async def _acknowledged(self, client: AsyncClient, key: str, spec: job_pb2.JobSpec) -> str:
        while True:
            try:
                return (await client.submit(spec, key=key)).job.id
            except (UnreachableError, SchedulerError):
                self.refusals += 1
                await asyncio.sleep(AGAIN_S)

    async def _hold(self, client: AsyncClient, job_id: str) -> None:
        """Suspends a job where that is allowed, and resumes it."""
        pauses_s = self.chance.uniform(0, 3), self.chance.uniform(0, 8)
        await asyncio.sleep(pauses_s[0])
        if await self._insist(lambda: client.suspend(job_id)):
            self.suspended += 1
            await asyncio.sleep(pauses_s[1])
            await self._insist(lambda: client.resume(job_id))

    async def _cancel(self, client: AsyncClient, job_id: str) -> None:
        if await self._insist(lambda: client.cancel(job_id)):
            self.cancelled.add(job_id)

    async def _insist(self, wish: Callable[[], Awaitable[object]]) -> bool:
        """Whether it was done; not, where the job had ended before or does not allow it."""
        while True:
            try:
                await wish()
                return True
            except ConflictError:
                return False
            except (UnreachableError, SchedulerError):
                self.refusals += 1
                await asyncio.sleep(AGAIN_S)
