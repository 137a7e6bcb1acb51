"""Carbon against cost and wait: the paper's policies, ours, and what nobody can beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bench.gaia.clairvoyant import Aim, schedule
from bench.gaia.policies import all_wait, carbon_time, in_one_run, no_wait
from bench.gaia.reserved import (
    FIRST_PRICE,
    LAST_START_TICKS,
    STEPS,
    Floats,
    Line,
    bound,
    corners,
    quarters_of,
)
from bench.gaia.rules import Case, Outcome, account

# Of cost against carbon, both relative to NoWait: from carbon alone to cost alone.
PRICES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 3.0, 6.0)
# Of an hour's mean wait against carbon, and for which prices of cost.
WAITS = (0.0, 0.01, 0.02, 0.04, 0.08)
WAITING_PRICES = (0.7, 1.0, 1.5)
# Hours after the last arrival until which schedules may start their last job.
LAST_H = (1, 12, 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A schedule's outcome, relative to NoWait without reserved CPUs; ``wait_h`` is in hours."""

    way: str
    reserved: int
    carbon: float
    cost: float
    wait_h: float

    def dominates(self, carbon: float, cost: float, wait_h: float = np.inf) -> bool:
        return self.carbon <= carbon and self.cost <= cost and self.wait_h <= wait_h


def relative(way: str, reserved: int, found: Outcome, base: Outcome) -> Point:
    """An outcome against the base."""
    return Point(
        way=way,
        reserved=reserved,
        carbon=found.carbon / base.carbon,
        cost=found.cost / base.cost,
        wait_h=found.wait_h,
    )


def clairvoyant_points(case: Case, base: Outcome, reserved: int) -> list[Point]:
    """For every price of cost, and of the wait, the best schedule found."""
    last_arrival = max(task.arrival for task in case.tasks)
    points = []
    for price in PRICES:
        ends = [last_arrival + hours * LAST_START_TICKS for hours in LAST_H]
        prices = [_prices(case, base, reserved, price, last) for last in ends]
        for wait in WAITS if price in WAITING_PRICES else (0.0,):
            name = f"clairvoyant, cost × {price:g}" + (f", wait × {wait:g}" if wait else "")
            tries: list[Point] = []
            for last, worth in zip(ends, prices, strict=True):
                aim = Aim(
                    base_carbon=base.carbon, reserved=reserved, price=price, last=last, wait=wait
                )
                found = account(case, schedule(case, aim, worth), reserved)
                tries.append(relative(name, reserved, found, base))
            points.append(min(tries, key=partial(_score, price, wait)))
    return points


def _score(price: float, wait: float, point: Point) -> float:
    return point.carbon + price * point.cost + wait * point.wait_h


def _prices(case: Case, base: Outcome, reserved: int, price: float, last: int) -> Floats:
    """What a reserved CPU is worth by the bound, per quarter hour."""
    _, prices = bound(
        corners(case, base.carbon, last),
        reserved=reserved,
        price=price,
        earliest_last=last - LAST_START_TICKS,
        prices=np.full(quarters_of(case), FIRST_PRICE),
        steps=STEPS,
    )
    return prices


def paper_points(case: Case, base: Outcome, reserved: int) -> list[Point]:
    """The paper's policies between the ones whose numbers are published."""
    ways = {
        "NoWait": (no_wait, False),
        "AllWait-Threshold": (all_wait, True),
        "Carbon-Time (average length)": (carbon_time(exact=False), False),
        "Carbon-Time (exact length)": (carbon_time(exact=True), False),
        "RES-First-Carbon-Time": (carbon_time(exact=False), True),
        "RES-First-Carbon-Time (exact length)": (carbon_time(exact=True), True),
    }
    return [
        relative(
            name,
            reserved,
            account(case, in_one_run(case, starts, reserved, early=early), reserved),
            base,
        )
        for name, (starts, early) in ways.items()
    ]


def plot(path: Path, lines: Sequence[Line], groups: Mapping[str, Sequence[Point]]) -> None:
    """Two charts side by side as SVG: carbon over cost with the bound, and carbon over wait."""
    import matplotlib as mpl  # noqa: PLC0415  # takes a second, and only the plot needs it

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = path.name  # the same figure is the same file
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (by_cost, by_wait) = plt.subplots(1, 2, figsize=(11, 4.8), sharey=True)
    costs = np.linspace(0.5, 1.0, 201)
    least = np.max([[line.least_carbon(cost) for cost in costs] for line in lines], axis=0)
    by_cost.fill_between(costs, 0.0, least, color="0.9", label="proven impossible")
    for marker, (name, points) in zip("osD^v", groups.items(), strict=False):
        carbon = [point.carbon for point in points]
        by_cost.plot([point.cost for point in points], carbon, marker, label=name, ms=5)
        by_wait.plot([point.wait_h for point in points], carbon, marker, ms=5)
    by_cost.set(xlabel="cost, NoWait = 1", ylabel="carbon, NoWait = 1", xlim=(0.5, 1.02))
    by_cost.set_ylim(0.5, 1.03)
    by_wait.set(xlabel="mean wait, hours")
    for axes in (by_cost, by_wait):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    by_cost.legend(loc="upper right", fontsize=8, framealpha=1)
    figure.tight_layout()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # no dates, no strangers
    figure.savefig(path, metadata=nothing)
    plt.close(figure)
