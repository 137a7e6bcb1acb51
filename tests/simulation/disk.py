"""The scheduler's database as a model: durable the moment it commits, heard of a little later."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from scheduler.domain.job import Job, JobEvent
from scheduler.domain.transitions import Step
from scheduler.store.errors import StaleVersionError, StoreError
from scheduler.store.jobs import StepRecord
from scheduler.store.writer import Outcome
from tests.simulation.loop import Process

COMMIT_S = (0.0005, 0.02)


class MemoryHeads(dict[str, str]):
    """As ``HeadStore``; each cluster of a story has one node."""

    def of(self, cluster: str) -> str | None:
        return self.get(cluster)

    async def keep(self, cluster: str, node_id: str) -> None:
        self[cluster] = node_id


class Disk:
    """What survives every crash of the scheduler. ``watch`` sees each job as it is committed."""

    def __init__(self, watch: Callable[[Job], None]) -> None:
        self.jobs: dict[str, Job] = {}
        self.stories: dict[str, list[JobEvent]] = {}
        self.keys: dict[str, str] = {}
        self.heads = MemoryHeads()
        self.full_until_s = 0.0
        self._watch = watch

    def insert(self, born: Sequence[tuple[Job, JobEvent]]) -> list[tuple[Job, JobEvent | None]]:
        """As ``JobStore.insert``."""
        results: list[tuple[Job, JobEvent | None]] = []
        for job, event in born:
            key = job.idempotency_key or job.id
            if key in self.keys:
                results.append((self.jobs[self.keys[key]], None))
                continue
            self.keys[key] = job.id
            self.jobs[job.id] = job
            self.stories[job.id] = [event]
            results.append((job, event))
        return results

    def save(self, records: Sequence[StepRecord]) -> list[Step | StaleVersionError]:
        """As ``JobStore.save``: what was decided on another version is refused."""
        results: list[Step | StaleVersionError] = []
        for record in records:
            job = record.step.job
            found = self.jobs[job.id].version
            if found != job.version - 1:
                results.append(StaleVersionError(job.id, job.version - 1, found))
                continue
            self.commit(record.step)
            results.append(record.step)
        return results

    def commit(self, step: Step) -> None:
        """Stores a job with the event that made it so."""
        self.jobs[step.job.id] = step.job
        self.stories[step.job.id].append(step.event)
        self._watch(step.job)


class MemoryStore:
    """As much of ``Store`` as the job book uses, for one life of the scheduler."""

    def __init__(self, disk: Disk, process: Process, chance: random.Random) -> None:
        self.jobs = self
        self.database = self
        self.heads = disk.heads
        self._disk = disk
        self._process = process
        self._chance = chance
        self._last_s = 0.0

    def leads(self) -> bool:
        return True

    async def active(self) -> list[Job]:
        jobs = self._disk.jobs
        return [jobs[job_id] for job_id in sorted(jobs) if not jobs[job_id].state.final]

    async def newest_id(self) -> str | None:
        return max(self._disk.jobs, default=None)

    async def find(self, job_id: str) -> Job | None:
        return self._disk.jobs.get(job_id)

    async def events(self, job_id: str) -> list[JobEvent]:
        return list(self._disk.stories.get(job_id, ()))

    async def insert(self, born: Sequence[tuple[Job, JobEvent]], done: Any = None) -> Any:
        return await self.write(lambda _: self._disk.insert(born), done)

    async def save(self, records: Sequence[StepRecord], done: Any = None) -> Any:
        return await self.write(lambda _: self._disk.save(records), done)

    async def write(self, work: Callable[[Any], Any], done: Any = None) -> Any:
        """One commit after another; a crash may come before one, after it, or between it and the
        moment anybody hears of it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        commit_s = max(self._last_s, loop.time()) + self._chance.uniform(*COMMIT_S)
        heard_s = self._last_s = commit_s + self._chance.uniform(*COMMIT_S)
        outcomes: list[Outcome[Any]] = []

        def commit() -> None:
            if self._disk.full_until_s > loop.time():
                outcomes.append(Outcome(None, StoreError("the disk is full")))
            else:
                outcomes.append(Outcome(work(None), None))

        def hear() -> None:
            [outcome] = outcomes
            if done is not None:
                done(outcome)
            if future.cancelled():
                return
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.value)

        self._process.later(commit_s - loop.time(), commit)
        self._process.later(heard_s - loop.time(), hear)
        return await future
