"""Least carbon of the case with exact lengths and no limit of capacity, job by job.

Without a limit the jobs do not meet, so the optimum is the sum of each job's own. It is found by
looking at every start there is, in whole numbers, and so is exact.
"""

import numpy as np

from bench.gaia.rules import UNIT, Case, Ints, Task


def uninterrupted(case: Case, grid_ticks: int = 1) -> float:
    """Every job in one run, from its arrival or from any later tick of a wall-clock grid."""
    return sum(_best_run(case, task, grid_ticks) for task in case.tasks) / UNIT


def _best_run(case: Case, task: Task, grid_ticks: int) -> int:
    first = -(-task.arrival // grid_ticks) * grid_ticks
    starts: Ints = np.arange(first, task.arrival + task.wait_most + 1, grid_ticks)
    starts = np.concatenate(([task.arrival], starts))
    emitted = case.prefix[starts + task.length] - case.prefix[starts]
    return task.cpus * int(emitted.min())


def interrupted(case: Case) -> float:
    """Every job in the cleanest ticks of its window, stopped and resumed at will."""
    total = 0
    for task in case.tasks:
        window = case.intensity[task.arrival : task.arrival + task.length + task.wait_most]
        cleanest = np.partition(window, task.length - 1)[: task.length]
        total += task.cpus * int(cleanest.sum())
    return total / UNIT
