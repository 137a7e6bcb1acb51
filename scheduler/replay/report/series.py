"""What a report draws over time, as arrays."""

from dataclasses import dataclass

import numpy as np

from scheduler.replay.case import ReplayCase
from scheduler.replay.curves import Curve, Floats
from scheduler.replay.outcome import Outcome, Run

BINS = 360
DAY_S = 86400.0
# Prices and green supply over a longer time are drawn as their mean day.
WHOLE_DAYS_MOST = 7


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """Bins of time; ``edges_s`` in epoch seconds, shape (bins + 1,). ``since`` counts from the
    first, in days, or in hours where there are few days."""

    edges_s: Floats

    @property
    def long_s(self) -> float:
        return float(self.edges_s[-1] - self.edges_s[0])

    @property
    def unit(self) -> str:
        return "days" if self.long_s > 2 * DAY_S else "hours"

    @property
    def most(self) -> float:
        return float(self.since(self.edges_s)[-1])

    def since(self, times_s: Floats) -> Floats:
        return np.asarray((times_s - self.edges_s[0]) / (DAY_S if self.unit == "days" else 3600))

    def middle(self) -> Floats:
        """The middle of every bin."""
        return self.since((self.edges_s[1:] + self.edges_s[:-1]) / 2)

    def mean(self, curve: Curve) -> Floats:
        """The mean of a curve in each bin."""
        return np.asarray(np.diff(curve.sums(self.edges_s)) / (np.diff(self.edges_s) / 3600))


def axis_of(case: ReplayCase, outcomes: tuple[Outcome, ...]) -> Axis:
    """From the first submission to the last, and as much longer as the first policy needed."""
    begin_s = case.jobs[0].submitted_at.timestamp()
    ends = [run.ended_at.timestamp() for run in outcomes[0].runs]
    end_s = max([begin_s + case.slot_s, case.jobs[-1].submitted_at.timestamp(), *ends])
    return Axis(np.linspace(begin_s, end_s, BINS + 1))


def held(runs: tuple[Run, ...], amounts: dict[str, float], begin_s: float) -> Curve:
    """How much runs hold over time; ``amounts`` by job."""
    if not runs:
        return Curve(np.array([begin_s]), np.array([0.0]))
    starts = np.array([run.started_at.timestamp() for run in runs])
    ends = np.array([run.ended_at.timestamp() for run in runs])
    size = np.array([amounts[run.job_id] for run in runs])
    times_s = np.concatenate(([begin_s], starts, ends))
    order = np.argsort(times_s, kind="stable")
    level = np.cumsum(np.concatenate(([0.0], size, -size))[order])
    return Curve(times_s[order], level)


def mean_day(curve: Curve, axis: Axis, zone_s: float) -> Floats:
    """The mean of a curve at each hour of the day, over the whole days of an axis; shape (24,).

    Args:
        zone_s: what the clock on the wall is ahead of UTC.
    """
    first_s = np.floor((axis.edges_s[0] + zone_s) / DAY_S) * DAY_S - zone_s
    days = max(1, round((axis.edges_s[-1] - first_s) / DAY_S))
    edges_s = first_s + np.arange(24 * days + 1, dtype=np.float64) * 3600
    hourly = np.diff(curve.sums(edges_s)).reshape(days, 24)
    return np.asarray(hourly.mean(axis=0))
