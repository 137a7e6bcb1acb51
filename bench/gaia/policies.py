"""The paper's policies, as its simulator runs them, over the exact accounting of ``rules``.

Ties go to the earliest start, as they do there.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from bench.gaia.rules import TICKS_PER_HOUR, Case, Run, Task, simulate

Starts = Callable[[Case, Task], int]
# Ecovisor runs below this quantile of the intensity of the next day.
THRESHOLD = 0.3
DAY_TICKS = 24 * TICKS_PER_HOUR


def no_wait(_: Case, task: Task) -> int:
    return task.arrival


def all_wait(_: Case, task: Task) -> int:
    return task.arrival + task.wait_most


def lowest_slot(case: Case, task: Task) -> int:
    """The tick of the lowest intensity, whatever comes after it."""
    window = case.intensity[task.arrival : task.arrival + task.wait_most + 1]
    return task.arrival + int(np.argmin(window))


def lowest_window(*, exact: bool) -> Starts:
    """The hourly step from arrival whose window emits least."""

    def starts(case: Case, task: Task) -> int:
        offsets, carbon = _windows(case, task, task.length if exact else task.expected)
        return task.arrival + int(offsets[np.argmin(carbon)])

    return starts


def carbon_time(*, exact: bool) -> Starts:
    """The hourly step that saves most carbon per time until completion."""

    def starts(case: Case, task: Task) -> int:
        length = task.length if exact else task.expected
        offsets, carbon = _windows(case, task, length)
        saved = carbon[0] - carbon
        rates = [Fraction(int(s), int(o) + length) for s, o in zip(saved, offsets, strict=True)]
        return task.arrival + int(offsets[rates.index(max(rates))])

    return starts


def _windows(case: Case, task: Task, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Hourly steps within the longest wait, and what one CPU emits from each of them."""
    offsets = np.arange(0, task.wait_most + 1, TICKS_PER_HOUR)
    starts = task.arrival + offsets
    return offsets, case.prefix[starts + length] - case.prefix[starts]


def in_one_run(case: Case, starts: Starts, reserved: int = 0, *, early: bool = False) -> list[Run]:
    """Every task from its start to its end.

    Args:
        early: start before that as soon as reserved CPUs are free ("RES-First").
    """
    latest = {task.id: starts(case, task) for task in case.tasks}
    if not reserved:  # nobody has to wait for CPUs, or to make room
        return [Run(task, latest[task.id], task.length) for task in case.tasks]
    return simulate(case.tasks, latest, reserved, early=early)


def wait_awhile(case: Case, task: Task) -> list[Run]:
    """In the cheapest ticks of its whole window, stopped in between."""
    end = task.arrival + task.length + task.wait_most
    window = case.intensity[task.arrival : end]
    chosen = np.zeros(len(window), dtype=bool)
    chosen[np.argsort(window, kind="stable")[: task.length]] = True
    return _runs(task, chosen)


def ecovisor(case: Case, task: Task) -> list[Run]:
    """While the intensity is below a threshold, or when no more waiting is allowed."""
    end = task.arrival + task.length + task.wait_most
    window = case.intensity[task.arrival : end]
    day = case.intensity[task.arrival : task.arrival + DAY_TICKS]
    low = window < np.quantile(day, THRESHOLD)
    chosen = low | (np.cumsum(~low) > task.wait_most)
    chosen &= np.cumsum(chosen) <= task.length
    return _runs(task, chosen)


def _runs(task: Task, chosen: np.ndarray) -> list[Run]:
    """Stretches of chosen ticks, counted from the task's arrival."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen.astype(np.int8), [0]))))
    return [
        Run(task, task.arrival + int(first), int(last - first))
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
