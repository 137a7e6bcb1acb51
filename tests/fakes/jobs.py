"""Jobs, attempts and a small world, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import NotForcedError
from scheduler.domain.energy import Energy
from scheduler.domain.fleet import Node
from scheduler.domain.job import (
    AcceleratorOption,
    Attempt,
    AttemptState,
    Command,
    Job,
    JobSpec,
    WorkerShape,
)
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord
from scheduler.domain.transitions import Event
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.preview import PreviewedJob
from scheduler.state.jobs import Change, JobBook
from scheduler.store import Store
from tests.fakes.clock import ManualClock

NOW = datetime(2026, 6, 18, 2, 30, tzinfo=UTC)
WHY = Reason(ReasonCode.CHOSEN, "because")


def a_spec(**changes: Any) -> JobSpec:
    """A good spec."""
    spec = JobSpec(
        name="train",
        tenant="lab",
        region="shanghai",
        work=Command(("python", "train.py")),
        expected_duration_s=600.0,
        per_worker=WorkerShape(1, 4.0, 16.0),
        accelerators=(AcceleratorOption("A800", 1.0), AcceleratorOption("H800", 2.0)),
    )
    return replace(spec, **changes)


def a_node(**changes: Any) -> Node:
    """A host with eight accelerators."""
    node = Node(
        id="qingyang-1",
        cluster="qingyang",
        head=True,
        accelerator="A800",
        gpus=8,
        cpus=64.0,
        memory_gb=512.0,
        gpu_power_kw=0.5,
        cpu_power_kw=0.005,
    )
    return replace(node, **changes)


def an_attempt(job_id: str, number: int = 1, **changes: Any) -> Attempt:
    """An attempt of one worker at Qingyang, just assigned."""
    attempt = Attempt(
        id=f"{job_id}-{number}",
        job_id=job_id,
        number=number,
        epoch=number,
        state=AttemptState.ASSIGNED,
        cluster="qingyang",
        accelerator="A800",
        nodes=("qingyang-1",),
        assigned_at=NOW,
        expected_end_at=NOW,
    )
    return replace(attempt, **changes)


def a_placement(attempt: Attempt, round_id: int = 1) -> PlacementRecord:
    """What led to an attempt."""
    return PlacementRecord(
        job_id=attempt.job_id,
        attempt_id=attempt.id,
        cluster=attempt.cluster,
        accelerator=attempt.accelerator,
        nodes=attempt.nodes,
        start_at=NOW,
        end_at=NOW,
        energy_kwh=1.5,
        green_share=0.75,
        cost_yuan=0.6,
        carbon_kg=0.2,
        saving=None,
        round_id=round_id,
    )


def a_change(job_id: str, event: Event, **changes: Any) -> Change:
    """An event for a job."""
    return Change(job_id=job_id, event=event, actor="test", reason=WHY, **changes)


async def assign(book: JobBook, job: Job, number: int = 1, **changes: Any) -> Job:
    """Gives a pending job its next attempt."""
    attempt = an_attempt(job.id, number, **changes)
    return (await book.apply(a_change(job.id, Event.ASSIGN, attempt=attempt))).job


async def end(
    book: JobBook, job: Job, event: Event, state: AttemptState, ended_at: datetime = NOW
) -> Job:
    """Ends the newest attempt of a job."""
    assert job.attempt is not None
    attempt = replace(job.attempt, state=state, ended_at=ended_at, reason=WHY)
    return (await book.apply(a_change(job.id, event, attempt=attempt))).job


@asynccontextmanager
async def opened(
    where: Path | str, clock: Clock | None = None
) -> AsyncIterator[tuple[Store, JobBook]]:
    """A store, at an address or on a file in a folder, and the loaded book over it."""
    url = where if isinstance(where, str) else f"sqlite:///{where}/westward.db"
    store = await Store.open(url)
    try:
        book = JobBook(store, clock or ManualClock())
        await book.load()
        yield store, book
    finally:
        await store.close()


async def eventually(check: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Returns once ``check`` holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(deadline_s):
        while not check():
            await asyncio.sleep(0.01)


class SmallWorld:
    """Two regions, one cluster in Gansu; one job may be planned."""

    keeps_checkpoints = True

    def __init__(self) -> None:
        self.known: tuple[Node, ...] = (a_node(),)
        self.planned: dict[str, PlannedStart] = {}
        self.waiting: dict[str, Reason] = {}
        self.used: dict[str, Energy] = {}

    def region_names(self) -> frozenset[str]:
        return frozenset({"shanghai", "beijing"})

    def place_names(self) -> frozenset[str]:
        return frozenset({"qingyang", "gansu"})

    def nodes(self) -> tuple[Node, ...]:
        return self.known

    def planned_start(self, job_id: str) -> PlannedStart | None:
        return self.planned.get(job_id)

    def energy_of(self, attempt_id: str, nodes: Collection[str]) -> Energy | None:
        return self.used.get(attempt_id)

    async def recall_energy(self, jobs: Iterable[Job]) -> None:
        """All that this world knows it knows by heart."""

    def waits_because(self, job_id: str) -> Reason | None:
        return self.waiting.get(job_id)

    async def force_retry(self, job_id: str, reason: str, actor: str) -> Job:
        raise NotForcedError(f"job {job_id}: no cluster of this world is ever silent")

    async def confirm(self, plan_token: str, spec: JobSpec) -> PreviewedJob:
        raise AssertionError("nobody has made a plan token of this world")

    def expect(self, job_id: str, told: PreviewedJob) -> None:
        raise AssertionError("nobody has made a plan token of this world")
