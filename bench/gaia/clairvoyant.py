"""A schedule near the bound of ``reserved``: all arrivals and lengths known, jobs in one run.

It shows how much of the bound can be had under the paper's rule. First every job, the largest
first, takes its best start at the prices of the bound; then one after the other is taken out and
put back where it is best now.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.gaia.reserved import QUARTER_TICKS, Floats, corners_of
from bench.gaia.rules import TICKS_PER_HOUR, UNIT, Case, Ints, Run, Task

PASSES = 5
# More than any job's carbon and cost together.
ROBBING = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Least carbon + price × cost + wait × mean wait, no start after tick ``last``.

    Carbon and cost are relative to the base, ``wait`` is per hour.
    """

    base_carbon: float
    reserved: int
    price: float
    last: int
    wait: float = 0.0


@dataclass(slots=True)
class _State:
    """``free`` reserved CPUs per tick; each job's start (-1: none yet) and whether it has some."""

    free: Ints
    start: Ints
    holds: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Starts of a job, what a reserved CPU is worth over each of its runs (in ticks on demand), and
    the price of a tick on demand."""

    begin: Ints
    rent: Floats
    price: float


def schedule(case: Case, aim: Aim, prices: Floats) -> list[Run]:
    """Runs in the order of their starts.

    Args:
        prices: of a reserved CPU per quarter hour relative to on demand, as ``reserved.bound``
            finds them.
    """
    count = len(case.tasks)
    state = _State(
        free=np.full(len(case.intensity), aim.reserved, dtype=np.int64),
        start=np.full(count, -1, dtype=np.int64),
        holds=np.zeros(count, dtype=bool),
    )
    edges = np.arange(len(prices) + 1) * QUARTER_TICKS
    paid = np.concatenate(([0.0], np.cumsum(prices * QUARTER_TICKS)))
    order = sorted(range(count), key=lambda j: -case.tasks[j].cpus * case.tasks[j].length)
    total = sum(task.cpus * task.length for task in case.tasks)
    for turn in range(1 + PASSES):
        for j in order:
            task = case.tasks[j]
            _hold(state, j, task, sign=1)
            begin = _candidates(case, state, task, aim.last)
            rent = np.zeros(len(begin))
            if turn == 0:
                rent = np.interp(begin + task.length, edges, paid) - np.interp(begin, edges, paid)
            _place(case, state, j, aim, _Choice(begin, rent, aim.price / total))
            _hold(state, j, task, sign=-1)
    runs = [Run(task, int(state.start[j]), task.length) for j, task in enumerate(case.tasks)]
    return sorted(runs, key=lambda run: (run.start, run.task.arrival, run.task.id))


def _candidates(case: Case, state: _State, task: Task, last: int) -> Ints:
    """The corners of its carbon, and where it would lie end to end with what holds CPUs."""
    held = np.flatnonzero(state.holds)
    lengths = np.array([case.tasks[h].length for h in held], dtype=np.int64)
    after = state.start[held] + lengths + 1
    before = state.start[held] - task.length - 1
    both = np.concatenate((after, before))
    high = min(task.arrival + task.wait_most, last)
    inside = both[(both >= task.arrival) & (both <= high)]
    return np.unique(np.concatenate((corners_of(task, last), inside)))


def _place(case: Case, state: _State, j: int, aim: Aim, choice: _Choice) -> None:
    """Gives a job its best start beside the others, with reserved CPUs where they fit."""
    task, begin = case.tasks[j], choice.begin
    end = begin + task.length
    low = int(begin[0])
    # What ends in a tick is released after its starts, so a run takes one tick more.
    lacking = np.concatenate(([0], np.cumsum(state.free[low : int(end[-1]) + 1] < task.cpus)))
    fits = lacking[end + 1 - low] == lacking[begin - low]
    # What finds its CPUs free when it starts takes them, whoever counts on them later.
    robs = ~fits & (state.free[begin] >= task.cpus)
    billed = np.where(fits, np.minimum(choice.rent, task.length), task.length) * task.cpus
    emitted = task.cpus * (case.prefix[end] - case.prefix[begin]) / UNIT / aim.base_carbon
    waits = aim.wait / TICKS_PER_HOUR / len(case.tasks) * (begin - task.arrival)
    best = int(np.argmin(emitted + choice.price * billed + waits + ROBBING * robs))
    state.start[j], state.holds[j] = begin[best], fits[best]


def _hold(state: _State, j: int, task: Task, *, sign: int) -> None:
    """Takes (-1) or gives back (1) the reserved CPUs of a job that has some."""
    if state.holds[j]:
        start = int(state.start[j])
        state.free[start : start + task.length + 1] += sign * task.cpus
        state.holds[j] &= sign < 0
