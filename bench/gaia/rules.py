"""The paper's accounting, exact: 5 s ticks and whole numbers.

Intensities have two decimals, so the sum of (CPUs × hundredths of g/kWh) over ticks is a whole
number, and two schedules are equal when their numbers are. See ``bench/data/gaia/SOURCE.md``.
"""

import csv
import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scheduler.replay.traces import gaia

Ints = npt.NDArray[np.int64]

DATA = Path(__file__).resolve().parents[1] / "data" / "gaia"
TICK_S = 5
TICKS_PER_HOUR = 3600 // TICK_S
START_AT = datetime(2022, 10, 19, 16, tzinfo=UTC)
ON_DEMAND_PER_CPU_HOUR = 0.0624
RESERVED_DISCOUNT = 0.4
# Sums of cpus × hundredths of g/kWh over ticks, in one unit of the paper's carbon.
UNIT = 100 * 1000 * TICKS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Task:
    """A job, in ticks. ``expected`` is the average length of its queue."""

    id: int
    arrival: int
    length: int
    cpus: int
    wait_most: int
    expected: int


@dataclass(frozen=True)
class Case:
    """The tasks by arrival, and the intensity in hundredths of g/kWh per tick."""

    tasks: tuple[Task, ...]
    intensity: Ints

    @cached_property
    def prefix(self) -> Ints:
        """Sum of the intensity over the ticks before each; shape (ticks + 1,)."""
        return np.concatenate(([0], np.cumsum(self.intensity)))

    def carbon(self, task: Task, start: int) -> int:
        """Of one run without a stop, in ``1 / UNIT``."""
        prefix = self.prefix
        return int(task.cpus * (prefix[start + task.length] - prefix[start]))


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a task: where it is not interruptible, the whole of it."""

    task: Task
    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a schedule comes to, in the paper's units; ``wait_h`` is the mean over the jobs."""

    carbon: float
    cost: float
    wait_h: float
    on_demand_cpu_h: float


def load(folder: Path = DATA) -> Case:
    """The paper's case."""
    trace = gaia.read(folder / "pai_1k.csv", start_at=START_AT, exact=False)
    tasks = tuple(
        Task(
            id=int(job.id),
            arrival=round((job.submitted_at - START_AT).total_seconds() / TICK_S),
            length=round(job.actual_s / TICK_S),
            cpus=round(job.spec.per_worker.cpus),
            wait_most=round(job.spec.max_delay_s / TICK_S),
            expected=round(job.spec.expected_duration_s / TICK_S),
        )
        for job in trace.jobs
    )
    with (folder / "AU-SA_gaia_window_720h.csv").open(encoding="utf-8", newline="") as file:
        hourly = [round(float(r["carbon_intensity_avg"]) * 100) for r in csv.DictReader(file)]
    return Case(tasks, np.repeat(np.array(hourly, dtype=np.int64), TICKS_PER_HOUR))


def account(case: Case, runs: Sequence[Run], reserved: int = 0) -> Outcome:
    """What the runs cost and emit, under the paper's rule for reserved CPUs.

    The wait of a task is from its arrival to its end, less its length.

    Raises:
        ValueError: a task runs for more or less than its length, too early, or waits too long.
    """
    _check(case, runs)
    prefix = case.prefix
    carbon = sum(
        int(run.task.cpus * (prefix[run.start + run.length] - prefix[run.start])) for run in runs
    )
    on_demand = on_demand_ticks(runs, reserved)
    last_start = max(run.start for run in runs)
    billed = on_demand + RESERVED_DISCOUNT * reserved * last_start
    ends: dict[int, int] = {}
    for run in runs:
        ends[run.task.id] = max(ends.get(run.task.id, 0), run.start + run.length)
    waits = [ends[task.id] - task.arrival - task.length for task in case.tasks]
    return Outcome(
        carbon=carbon / UNIT,
        cost=billed / TICKS_PER_HOUR * ON_DEMAND_PER_CPU_HOUR,
        wait_h=sum(waits) / len(waits) / TICKS_PER_HOUR,
        on_demand_cpu_h=on_demand / TICKS_PER_HOUR,
    )


def on_demand_ticks(runs: Sequence[Run], reserved: int) -> int:
    """CPU ticks that are bought on demand: of the runs that do not find all their CPUs free.

    Those that start in one tick come in the order given.
    """
    free, total = reserved, 0
    releases: list[tuple[int, int]] = []
    for run in sorted(runs, key=lambda run: run.start):
        # What ends in this very tick is released after its starts.
        while releases and releases[0][0] < run.start:
            free += heapq.heappop(releases)[1]
        if run.task.cpus <= free:
            free -= run.task.cpus
            heapq.heappush(releases, (run.start + run.length, run.task.cpus))
        else:
            total += run.task.cpus * run.length
    return total


class _Queued(int):
    """A waiting task, ordered by its arrival alone: ties are the heap's, as in the paper."""

    task: Task
    latest: int


def simulate(
    tasks: Sequence[Task], latest: dict[int, int], reserved: int, *, early: bool
) -> list[Run]:
    """Starts every task at its latest start, tick by tick as the paper's simulator does.

    In each tick it takes all that wait from its heap, by arrival, and puts back what does not
    start. That shuffles tasks of one arrival, and decides who of them finds reserved CPUs free,
    so it is done here in the same way.

    Args:
        latest: tick by which each task starts in any case, by its id.
        early: or before that, as soon as reserved CPUs are free for it.
    """
    coming, waiting, runs = deque(sorted(tasks, key=lambda t: t.arrival)), list[_Queued](), []
    free, released, now = reserved, defaultdict[int, int](int), -1
    while coming or waiting:
        now += 1
        while coming and coming[0].arrival <= now:
            entry = _Queued(coming[0].arrival)
            entry.task = coming.popleft()
            entry.latest = latest[entry.task.id]
            heapq.heappush(waiting, entry)
        kept: list[_Queued] = []
        while waiting:
            entry = heapq.heappop(waiting)
            task = entry.task
            fits = task.cpus <= free
            if now >= entry.latest or (early and fits):
                runs.append(Run(task, now, task.length))
                if fits:
                    free -= task.cpus
                    released[now + task.length] += task.cpus
            else:
                kept.append(entry)  # comes in order, which is a heap
        waiting = kept
        free += released.pop(now, 0)
    return runs


def _check(case: Case, runs: Sequence[Run]) -> None:
    """Every task runs for its length, not before it arrives, and ends within its wait."""
    done = dict.fromkeys((task.id for task in case.tasks), 0)
    for run in runs:
        task, end = run.task, run.start + run.length
        done[task.id] += run.length
        if run.start < task.arrival or end > task.arrival + task.length + task.wait_most:
            raise ValueError(
                f"task {task.id} runs in ticks {run.start} to {end}, outside {task.arrival} to "
                f"{task.arrival + task.length + task.wait_most}"
            )
    for task in case.tasks:
        if done[task.id] != task.length:
            raise ValueError(f"task {task.id} runs {done[task.id]} of its {task.length} ticks")
