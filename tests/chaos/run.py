"""One chaos run: jobs and faults at once, then peace, then the judgement."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from agents.executor import processes
from scheduler.client import AsyncClient
from scheduler.client.errors import SchedulerError, UnreachableError
from scheduler.domain.transitions import Event
from tests.chaos import evidence
from tests.chaos.evidence import Told, Violation
from tests.chaos.faults import KINDS, Fault, MissedError
from tests.chaos.stage import Stage
from tests.chaos.workload import AGAIN_S, TENANT, Workload
from westward.v1 import job_pb2

# How long nothing may end before the rest counts as stuck: a job that failed often waits up to two
# and a half minutes for its next attempt.
PEACE_S = 300.0
LEFT_ALIVE_S = 15.0
FIRST_LIFE_S = 60.0
FINAL = (
    job_pb2.JOB_STATE_SUCCEEDED,
    job_pb2.JOB_STATE_FAILED,
    job_pb2.JOB_STATE_CANCELLED,
)


@dataclass
class Report:
    """What was done and what came of it."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    lives: int = 0
    unheard: int = 0
    refusals: int = 0
    cancelled: int = 0
    suspended: int = 0
    preempted: int = 0
    own_ends: dict[str, list[int]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    faults_s: float = 0.0
    peace_s: float = 0.0


async def run(
    stage: Stage, *, seed: int, jobs: int, faults: int, over_s: float, kinds: frozenset[str]
) -> Report:
    """Injects ``faults`` while ``jobs`` are submitted, both spread over ``over_s`` seconds.

    Raises:
        TimeoutError: no job ran, though nothing was done to any part.
    """
    report = Report(seed)
    workload = Workload(stage, Random(f"jobs {seed}"))
    submitting = asyncio.create_task(workload.submit(jobs, over_s * 0.9))
    await _first_life(stage)
    began_s = time.monotonic()
    await _inject(stage, report, faults=faults, over_s=over_s, kinds=kinds)
    print("peace: every fault is healed", flush=True)
    peace_began_s = time.monotonic()
    report.faults_s = peace_began_s - began_s
    await submitting
    told = await _settled(stage)
    report.peace_s = time.monotonic() - peace_began_s
    report.violations += await _left_alive(stage)
    lives = await asyncio.to_thread(evidence.read, stage.records)
    report.violations += evidence.judge(lives, told, workload.acknowledged, workload.cancelled)
    report.states = Counter(
        job_pb2.JobState.Name(one.job.state).removeprefix("JOB_STATE_") for one in told.values()
    )
    report.attempts = sum(len(one.job.attempts) for one in told.values())
    report.lives, report.unheard = len(lives), evidence.unheard(lives, told)
    report.suspended = workload.suspended
    report.preempted = sum(e.event == Event.PREEMPT for one in told.values() for e in one.events)
    report.refusals, report.cancelled = workload.refusals, len(workload.cancelled)
    report.own_ends = {part.name: part.own_ends for part in stage.parts if part.own_ends}
    return report


async def _first_life(stage: Stage) -> None:
    """Before a job runs, faults would do little harm."""
    async with asyncio.timeout(FIRST_LIFE_S):
        while not any(stage.records.iterdir()):
            await asyncio.sleep(AGAIN_S)


async def _inject(
    stage: Stage, report: Report, *, faults: int, over_s: float, kinds: frozenset[str]
) -> None:
    """Returns when the last one is healed."""
    chance = Random(f"faults {report.seed}")
    began_s = time.monotonic()
    names = sorted(kinds)
    weights = [KINDS[name][1] for name in names]
    suffering: set[str] = set()
    number = 0
    async with asyncio.TaskGroup() as group:
        while number < faults:
            name = chance.choices(names, weights)[0]
            fault = KINDS[name][0](stage, chance)
            if fault.target in suffering:
                await asyncio.sleep(0.05)
                continue
            number += 1
            at_s = time.monotonic() - began_s
            print(f"{at_s:7.1f} s  #{number:<4} {name}: {fault.told}", flush=True)
            report.faults[name] += 1
            suffering.add(fault.target)
            group.create_task(_suffer(fault, name, report, suffering))
            # Late faults are made up for, so that as many are injected as were asked for.
            rest_s = max(0.0, over_s - at_s) / max(1, faults - number)
            await asyncio.sleep(chance.uniform(0, 2 * rest_s))


async def _suffer(fault: Fault, name: str, report: Report, suffering: set[str]) -> None:
    try:
        await fault.act()
        await asyncio.sleep(fault.rest_s)
    except MissedError:
        report.faults[name] -= 1
    finally:
        suffering.discard(fault.target)


async def _settled(stage: Stage) -> dict[str, Told]:
    """Every job with its history, once all are final or none has become so for long enough."""
    until_s, ended = time.monotonic() + PEACE_S, 0
    async with AsyncClient(stage.address) as client:
        while True:
            try:
                jobs = [job async for job in client.jobs(tenant=TENANT)]
                final = sum(job.state in FINAL for job in jobs)
                if final > ended:
                    until_s, ended = time.monotonic() + PEACE_S, final
                if time.monotonic() > until_s or final == len(jobs):
                    answers = [await client.get(job.id, events=True) for job in jobs]
                    return {a.job.id: Told(a.job, list(a.events)) for a in answers}
            except (UnreachableError, SchedulerError):
                if time.monotonic() > until_s + PEACE_S:
                    raise
            await asyncio.sleep(AGAIN_S)


async def _left_alive(stage: Stage) -> list[Violation]:
    """No process of any job may live when all have ended; what ends now has a moment for it."""
    until_s = time.monotonic() + LEFT_ALIVE_S
    while left := await asyncio.to_thread(processes.find_marked, [stage.marker]):
        if time.monotonic() > until_s:
            return [Violation("left alive", f"pid {process.pid}") for process in left]
        await asyncio.sleep(AGAIN_S)
    return []
