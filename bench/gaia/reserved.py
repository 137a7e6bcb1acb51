"""What no schedule can beat where reserved CPUs are few: a Lagrangian bound on carbon and cost.

Carbon C and cost K are relative to NoWait without reserved CPUs. A schedule gives every job j (c
CPUs, n ticks) a start s and a kind of CPU. With R reserved CPUs, r = 0.4, N = Σ c·n and T the last
start,

    K = (Σ over on-demand jobs of c·n + r·R·T) / N.

For a price μ ≥ 0 of cost and a price π_q ≥ 0 of a reserved CPU in the quarter hour q, relative to
on demand, every schedule whose last start lies in [T₀, T₁] satisfies

    C + μ·K ≥ Σ_j min over s ≤ T₁ of [ e_j(s) + (μ/N)·c·min(n, ∫ π over the run) ]
              + (μ/N)·( r·R·T₀ − R · Σ_q ticks(q) · π_q ).

The right side counts a reserved CPU's use at π and sells all R of them; reserved CPUs in use are
never more than R, so the difference is never negative. A job may choose its kind here, which the
rule (reserved whenever all its CPUs fit at its start) does not let it: the bound only falls. Within
a job, e_j and ∫ π are piecewise linear in s, with corners where the run begins or ends on a quarter
hour; so the corners and the ends of its window are all the starts there are to look at.

π is found by projected subgradient steps; any π gives a bound. The least over all [T₀, T₁] is a
bound D(μ) for all schedules, and C + μ·K ≥ D(μ) for every μ encloses the frontier: the least cost
at a carbon, or the least carbon at a cost, is the greatest of what these lines demand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.gaia.rules import RESERVED_DISCOUNT, TICKS_PER_HOUR, UNIT, Case, Ints, Task

Floats = npt.NDArray[np.float64]

QUARTER_TICKS = TICKS_PER_HOUR // 4


@dataclass(frozen=True, slots=True)
class Line:
    """No schedule has carbon + price × cost below ``least``."""

    price: float
    least: float

    def least_carbon(self, cost: float) -> float:
        return self.least - self.price * cost

    def least_cost(self, carbon: float) -> float:
        return (self.least - carbon) / self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Every job's corners: ``first[j]`` is where job j's begin in the arrays over them.

    ``carbon`` is the run's, relative to the base; ``cpu_ticks`` are c·n per job.
    """

    first: Ints
    job: Ints
    start: Ints
    end: Ints
    carbon: Floats
    cpus: Ints
    cpu_ticks: Ints


def corners(case: Case, base_carbon: float, latest: int) -> Starts:
    """The starts that the bound looks at, none after tick ``latest``."""
    per_task = [corners_of(task, latest) for task in case.tasks]
    sizes = np.array([len(starts) for starts in per_task])
    job = np.repeat(np.arange(len(sizes)), sizes)
    cpus = np.array([task.cpus for task in case.tasks])
    lengths = np.array([task.length for task in case.tasks])
    start = np.concatenate(per_task)
    end = start + lengths[job]
    return Starts(
        first=np.concatenate(([0], np.cumsum(sizes)[:-1])),
        job=job,
        start=start,
        end=end,
        carbon=cpus[job] * (case.prefix[end] - case.prefix[start]) / UNIT / base_carbon,
        cpus=cpus,
        cpu_ticks=cpus * lengths,
    )


def corners_of(task: Task, latest: int) -> Ints:
    """Where a run of the task may begin, its begin or end on a quarter hour, and its extremes."""
    low, high = task.arrival, min(task.arrival + task.wait_most, latest)
    begins = np.arange(-(-low // QUARTER_TICKS) * QUARTER_TICKS, high + 1, QUARTER_TICKS)
    first_end = -(-(low + task.length) // QUARTER_TICKS) * QUARTER_TICKS
    ends = np.arange(first_end, high + task.length + 1, QUARTER_TICKS) - task.length
    return np.unique(np.concatenate(([low, high], begins, ends)))


def bound(
    starts: Starts, *, reserved: int, price: float, earliest_last: int, prices: Floats, steps: int
) -> tuple[float, Floats]:
    """The greatest bound found on carbon + price × cost, and the prices π that give it.

    Args:
        earliest_last: T₀, before which the last start does not lie.
        prices: π to begin with, one per quarter hour from tick 0 on.
        steps: evaluations of the bound.
    """
    total = int(starts.cpu_ticks.sum())
    billed = price / total * RESERVED_DISCOUNT * reserved * earliest_last
    best, best_prices, since, scale = -np.inf, prices, 0, 1.0
    average = np.zeros_like(prices)
    current = prices
    for _ in range(steps):
        least, used = _evaluate(starts, price / total, current)
        value = least + billed - price / total * reserved * QUARTER_TICKS * current.sum()
        excess = used / (reserved * QUARTER_TICKS) - 1.0
        excess[(current <= 0) & (excess < 0)] = 0.0
        if value > best:
            best, best_prices, since = value, current, 0
        else:
            since += 1
        if since >= PATIENCE:
            current, average, since, scale = best_prices, np.zeros_like(prices), 0, scale / 2
            continue
        average = MEMORY * average + (1 - MEMORY) * excess
        norm = float(np.sqrt(np.mean(average**2))) or 1.0
        current = np.maximum(current + scale * STEP / norm * average, 0.0)
    return best, best_prices


# Of the subgradient steps: their length in π, how much of the last direction they keep, and after
# how many fruitless ones the length is halved.
STEP = 0.05
MEMORY = 0.7
PATIENCE = 12


def _evaluate(starts: Starts, yuan: float, prices: Floats) -> tuple[float, Floats]:
    """The jobs' part of the bound, and the reserved CPU ticks used per quarter hour."""
    edges = np.arange(len(prices) + 1) * QUARTER_TICKS
    paid = np.concatenate(([0.0], np.cumsum(prices * QUARTER_TICKS)))
    run = np.interp(starts.end, edges, paid) - np.interp(starts.start, edges, paid)
    length = starts.end - starts.start
    cpus = starts.cpus[starts.job]
    value = starts.carbon + yuan * cpus * np.minimum(run, length)
    least = np.minimum.reduceat(value, starts.first)
    chosen = _first_at(value == least[starts.job], starts)
    chosen = chosen[run[chosen] < length[chosen]]  # the others buy on demand
    used = np.interp(edges, *_occupied(starts, chosen)) if len(chosen) else np.zeros(len(edges))
    return float(least.sum()), np.diff(used)


def _first_at(hit: npt.NDArray[np.bool_], starts: Starts) -> Ints:
    """The first hit of every job."""
    at = np.flatnonzero(hit)
    _, index = np.unique(starts.job[at], return_index=True)
    return np.asarray(at[index], dtype=np.int64)


def _occupied(starts: Starts, chosen: Ints) -> tuple[Floats, Floats]:
    """CPU ticks in use up to each begin or end of a run: where the sum's slope changes."""
    cpus = starts.cpus[starts.job[chosen]]
    when = np.concatenate((starts.start[chosen], starts.end[chosen]))
    order = np.argsort(when, kind="stable")
    busy = np.cumsum(np.concatenate((cpus, -cpus))[order])
    when = when[order]
    sums = np.concatenate(([0.0], np.cumsum(busy[:-1] * np.diff(when))))
    return when.astype(np.float64), np.asarray(sums, dtype=np.float64)


def quarters_of(case: Case) -> int:
    """Quarter hours in which anything may run."""
    end = max(task.arrival + task.wait_most + task.length for task in case.tasks)
    return -(-end // QUARTER_TICKS)


def enclosing_lines(
    case: Case, base_carbon: float, reserved: int, price_grid: Sequence[float]
) -> list[Line]:
    """One line per price of cost: no schedule lies below it, whenever its last start is."""
    earliest = max(task.arrival for task in case.tasks)
    latest = max(task.arrival + task.wait_most for task in case.tasks)
    cuts = range(earliest, max(latest, earliest + 1), LAST_START_TICKS)
    spans = [(low, corners(case, base_carbon, low + LAST_START_TICKS)) for low in cuts]
    lines = []
    found = {low: (0.0, np.full(quarters_of(case), FIRST_PRICE)) for low, _ in spans}

    def raise_to(low: int, starts: Starts, price: float, steps: int) -> tuple[float, Floats]:
        return bound(
            starts,
            reserved=reserved,
            price=price,
            earliest_last=low,
            prices=found[low][1],
            steps=steps,
        )

    for price in price_grid:
        for low, starts in spans:
            found[low] = raise_to(low, starts, price, FIRST_STEPS)
        # Only the least counts: it is raised until another one is the least, and so on.
        for _ in range(RAISES):
            low, starts = min(spans, key=lambda span: found[span[0]][0])
            raised = raise_to(low, starts, price, STEPS)
            gained = raised[0] - found[low][0]
            found[low] = raised
            if gained < ENOUGH:
                break
        lines.append(Line(price, float(min(value for value, _ in found.values()))))
    return lines


# The last start is told apart to an hour: reserved CPUs cost 0.4 × R / N of the whole for it.
LAST_START_TICKS = TICKS_PER_HOUR
FIRST_PRICE = 0.9
# Of the bound: evaluations per span at first, and at each of so many raises; a raise that gains
# less than this was the last one.
FIRST_STEPS = 20
STEPS = 120
RAISES = 40
ENOUGH = 1e-5
