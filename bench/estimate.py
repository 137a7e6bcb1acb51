"""`make bench-estimate`: how far real starts lie from what their jobs' first plan had said.

Replays Philly-derived jobs through the planner. The first round that sees a job is its estimate at
submission: where it has a place, that start; else none. Durations are exact in one case; in the
other each job takes another time than it said, by a factor drawn from a lognormal distribution.
"""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from rich.table import Table

from bench.philly import workload
from bench.report import keep, quantile, show, this_machine
from scheduler.planner.snapshot import Snapshot
from scheduler.replay import world as worlds
from scheduler.replay.case import ReplayCase
from scheduler.replay.engine import replay
from scheduler.replay.placers.base import Decision
from scheduler.replay.placers.westward import Westward

LOADS = (0.45, 0.65, 0.9)
DAYS = 2.0
SEED = 1
GATHER_S = workload.SLOT_S
# Of the factor between real and expected duration; its median is 1.
SIGMA = 0.5
EXACT, INEXACT = "exact", f"by a lognormal factor, sigma {SIGMA:g}"


class Noting:
    """The planner, and what its first round over each job said of its start."""

    interrupts = True

    def __init__(self) -> None:
        self._inner = Westward()
        # When it was said, and the start; None for a job without a place.
        self.said: dict[str, tuple[datetime, datetime | None]] = {}

    def place(self, snapshot: Snapshot) -> Decision:
        decision = self._inner.place(snapshot)
        starts = {p.job_id: p.start_at for p in decision.placements}
        for job in snapshot.jobs:
            self.said.setdefault(job.id, (snapshot.now_at, starts.get(job.id)))
        return decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Errors in minutes, real start less estimate: of those of ``jobs`` that had an estimate and
    started; ``ahead`` are those whose estimate lay ahead, and theirs."""

    durations: str
    load: float
    jobs: int
    without_estimate: int
    exact_share: float
    median_abs_min: float
    p90_abs_min: float
    p99_abs_min: float
    earlier_share: float
    ahead: int
    ahead_median_abs_min: float
    ahead_p90_abs_min: float
    ahead_p99_abs_min: float
    slot_min: float


def measured(load: float, durations: str, days: float) -> Row:
    """One replay."""
    world = worlds.load(workload.WORLD)
    case = workload.case(world, workload.pattern(world), load=load, seed=SEED, days=days)
    if durations == INEXACT:
        case = _inexact(case)
    noting = Noting()
    print(f"… load {load:g}, {len(case.jobs):,} jobs, durations {durations}", file=sys.stderr)
    outcome = replay(case, "westward", placer=noting, gather_s=GATHER_S)
    real: dict[str, datetime] = {}
    for run in sorted(outcome.runs, key=lambda run: run.started_at):
        real.setdefault(run.job_id, run.started_at)
    every, ahead = list[float](), list[float]()
    for job_id, (said_at, start_at) in noting.said.items():
        if start_at is not None and job_id in real:
            error_min = (real[job_id] - start_at).total_seconds() / 60
            every.append(error_min)
            if start_at > said_at:
                ahead.append(error_min)
    sizes, ahead_sizes = [abs(e) for e in every], [abs(e) for e in ahead]
    return Row(
        durations=durations,
        load=load,
        jobs=len(noting.said),
        without_estimate=sum(start is None for _, start in noting.said.values()),
        exact_share=sum(size < 1 / 60 for size in sizes) / len(sizes),
        median_abs_min=quantile(sizes, 0.5),
        p90_abs_min=quantile(sizes, 0.9),
        p99_abs_min=quantile(sizes, 0.99),
        earlier_share=sum(error < -1 / 60 for error in every) / len(every),
        ahead=len(ahead),
        ahead_median_abs_min=quantile(ahead_sizes, 0.5),
        ahead_p90_abs_min=quantile(ahead_sizes, 0.9),
        ahead_p99_abs_min=quantile(ahead_sizes, 0.99),
        slot_min=case.slot_s / 60,
    )


def _inexact(case: ReplayCase) -> ReplayCase:
    draw = random.Random(SEED)  # a seed for a bench, no secret
    jobs = tuple(
        replace(job, actual_s=min(job.actual_s * draw.lognormvariate(0, SIGMA), workload.LONGEST_S))
        for job in case.jobs
    )
    return replace(case, jobs=jobs)


def _show(rows: Sequence[Row], targets: dict[str, str]) -> None:
    table = Table(title="Real start less the first estimate, absolute, in minutes")
    table.add_column("durations")
    heads = ("load", "jobs", "none", "exact", "median", "p90", "p99", "earlier")
    for head in (*heads, "ahead", "median", "p90", "p99"):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(
            row.durations,
            f"{row.load:g}",
            f"{row.jobs:,}",
            str(row.without_estimate),
            f"{row.exact_share:.0%}",
            *(f"{m:,.0f}" for m in (row.median_abs_min, row.p90_abs_min, row.p99_abs_min)),
            f"{row.earlier_share:.0%}",
            f"{row.ahead:,}",
            f"{row.ahead_median_abs_min:,.0f}",
            f"{row.ahead_p90_abs_min:,.0f}",
            f"{row.ahead_p99_abs_min:,.0f}",
        )
    show(table, targets)


def _targets(rows: Sequence[Row]) -> dict[str, str]:
    """Under one slot, where durations are exact: over all jobs, and over those planned ahead."""
    told = {}
    for row in (row for row in rows if row.durations == EXACT):
        aim = f"load {row.load:g}, exact durations: median below a slot of {row.slot_min:g} min"
        told[aim] = (
            f"{row.median_abs_min:.1f} min over all, {row.ahead_median_abs_min:.1f} min over those "
            "planned ahead"
        )
    return told


def main() -> int:
    asked = argparse.ArgumentParser(prog="make bench-estimate ARGS=…")
    asked.add_argument("--loads", type=float, nargs="+", default=LOADS)
    asked.add_argument("--days", type=float, default=DAYS, help="of submissions, at most 7")
    given = asked.parse_args()
    load_before = os.getloadavg()[0]
    rows = [
        measured(load, durations, given.days)
        for load in given.loads
        for durations in (EXACT, INEXACT)
    ]
    targets = _targets(rows)
    _show(rows, targets)
    keep(
        "estimate",
        load_before=load_before,
        machine=this_machine(),
        days=given.days,
        seed=SEED,
        gather_s=GATHER_S,
        rows=[asdict(row) for row in rows],
        targets=targets,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
