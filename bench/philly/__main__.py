"""`make bench-philly`: policies on Philly-derived jobs, at three loads with three seeds each.

Prints a table and writes ``results/philly.json``. All of it takes minutes; parts of it:

    python -m bench.philly --loads 0.25 --seeds 1 --days 1 --policies westward fifo
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from bench.philly import clairvoyant, workload
from bench.report import RESULTS, machine
from scheduler.replay import world as worlds
from scheduler.replay.bound import Bound
from scheduler.replay.compare import compare
from scheduler.replay.engine import Progress
from scheduler.replay.metrics import Metrics
from scheduler.replay.placers import PLACERS

NAME = "philly"
LOADS = (0.25, 0.45, 0.65)
SEEDS = (1, 2, 3)
DAYS = 3.0
# What happens within a slot is planned together.
GATHER_S = workload.SLOT_S
BASELINE = "fifo"
OURS = "westward"
# Of energy cost against FIFO, by load.
TARGETS = {0.25: -0.32, 0.45: -0.24, 0.65: -0.19}
WITHIN_OF_BOUND = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One case: what each policy made of it, the clairvoyant bound, and what one plan that knows
    all arrivals would cost (None: it leaves jobs without a place)."""

    load: float
    seed: int
    jobs: int
    metrics: dict[str, Metrics]
    bound: Bound
    clairvoyant_yuan: float | None

    def against(self, policy: str) -> float:
        """Energy cost against the baseline."""
        return self.against_yuan(self.metrics[policy].energy_yuan)

    def against_yuan(self, energy_yuan: float) -> float:
        """The same of a cost."""
        return energy_yuan / self.metrics[BASELINE].energy_yuan - 1

    def above_bound(self, policy: str) -> float:
        """Energy cost above the clairvoyant bound."""
        return self.metrics[policy].energy_yuan / self.bound.energy_yuan - 1


def measured(
    loads: Sequence[float], seeds: Sequence[int], days: float, policies: Sequence[str]
) -> Iterator[Cell]:
    """All cells, one after the other."""
    world = worlds.load(workload.WORLD)
    week = workload.pattern(world)
    for seed in seeds:
        for load in loads:
            case = workload.case(world, week, load=load, seed=seed, days=days)
            print(f"… load {load:g}, seed {seed}: {len(case.jobs):,} jobs", file=sys.stderr)
            found = compare(case, policies, gather_s=GATHER_S, on_progress=_teller())
            yield Cell(
                load=load,
                seed=seed,
                jobs=len(case.jobs),
                metrics={each.metrics.policy: each.metrics for each in found.measured},
                bound=found.bound,
                clairvoyant_yuan=clairvoyant.energy_yuan(case),
            )


def _teller() -> Callable[[str, Progress], None]:
    """Says now and then how far a replay is."""
    told_s = time.monotonic()

    def tell(policy: str, far: Progress) -> None:
        nonlocal told_s
        if time.monotonic() - told_s > 30:
            told_s = time.monotonic()
            clock = far.clock_at.isoformat(timespec="minutes")
            print(f"  {policy}: {far.ended:,} of {far.jobs:,} at {clock}", file=sys.stderr)

    return tell


def table(cells: Sequence[Cell], policies: Sequence[str]) -> Table:
    """Means over the seeds; energy also with its least and greatest."""
    shown = Table(title="Philly-derived jobs on five hubs; means over the seeds")
    columns = (
        "energy vs FIFO",
        "least … most",
        "above bound",
        "green",
        "kgCO₂",
        "wait h",
        "p95 h",
        "slowdown",
        "late",
        "unplaced GPUh",
        "used",
        "round p50/p99 ms",
        "gap",
        "moved",
    )
    shown.add_column("load")
    shown.add_column("policy")
    for column in columns:
        shown.add_column(column, justify="right")
    for load in dict.fromkeys(cell.load for cell in cells):
        here = [cell for cell in cells if cell.load == load]
        for policy in policies:
            shown.add_row(f"{load:g}", policy, *_figures(here, policy))
        shown.add_row(f"{load:g}", "one clairvoyant plan", *_known(here, _clairvoyant_yuan))
        shown.add_row(f"{load:g}", "bound", *_known(here, _bound_yuan))
        shown.add_section()
    return shown


def _figures(cells: Sequence[Cell], policy: str) -> list[str]:
    of = [cell.metrics[policy] for cell in cells]
    saved = [cell.against(policy) for cell in cells]
    gaps = [m.rounds.gap_mean for m in of if m.rounds.gap_mean is not None]
    return [
        f"{fmean(saved):+.1%}",
        f"{min(saved):+.1%} … {max(saved):+.1%}",
        f"{fmean(cell.above_bound(policy) for cell in cells):+.1%}",
        f"{fmean(m.green_share for m in of):.3f}",
        f"{fmean(m.carbon_kg for m in of):,.0f}",
        f"{fmean(m.wait_mean_s for m in of) / 3600:.2f}",
        f"{fmean(m.wait_p95_s for m in of) / 3600:.2f}",
        f"{fmean(m.slowdown_mean for m in of):.2f}",
        f"{fmean(m.late_jobs for m in of):.0f}",
        f"{fmean(m.unplaced_gpu_hours for m in of):,.0f}",
        f"{fmean(m.utilisation for m in of):.2f}",
        f"{fmean(m.rounds.p50_ms for m in of):.0f} / {fmean(m.rounds.p99_ms for m in of):.0f}",
        f"{fmean(gaps):.2%}" if gaps else "–",
        f"{fmean(m.rounds.moved_share for m in of):.2f}",
    ]


def _clairvoyant_yuan(cell: Cell) -> float | None:
    return cell.clairvoyant_yuan


def _bound_yuan(cell: Cell) -> float:
    return cell.bound.energy_yuan


def _known(cells: Sequence[Cell], of: Callable[[Cell], float | None]) -> list[str]:
    """The cost of energy of what is no policy, as far as it is known of all cells."""
    yuan = [of(cell) for cell in cells]
    known = [(c, y) for c, y in zip(cells, yuan, strict=True) if y is not None]
    if len(known) < len(cells):
        return ["–"]
    saved = [cell.against_yuan(y) for cell, y in known]
    above = fmean(y / cell.bound.energy_yuan - 1 for cell, y in known)
    return [f"{fmean(saved):+.1%}", f"{min(saved):+.1%} … {max(saved):+.1%}", f"{above:+.1%}"]


def outcomes(cells: Sequence[Cell]) -> dict[str, str]:
    """What was aimed at, and what came of it."""
    told = {}
    for load in dict.fromkeys(cell.load for cell in cells):
        here = [cell for cell in cells if cell.load == load]
        saved = fmean(cell.against(OURS) for cell in here)
        above = fmean(cell.above_bound(OURS) for cell in here)
        unplaced = [
            cell.metrics[OURS].unplaced_gpu_hours - cell.metrics[BASELINE].unplaced_gpu_hours
            for cell in here
        ]
        target = TARGETS.get(load)
        aim = f"at most {target:+.0%}" if target is not None else "as low as can be"
        told[f"load {load:g}: energy against FIFO {aim}"] = f"{saved:+.1%}"
        told[f"load {load:g}: within {WITHIN_OF_BOUND:.0%} of the bound"] = f"{above:+.1%}"
        told[f"load {load:g}: unplaced GPU-hours above FIFO's"] = f"{max(unplaced):+,.1f} at most"
        late = [cell.metrics[OURS].late_jobs - cell.metrics[BASELINE].late_jobs for cell in here]
        told[f"load {load:g}: late starts above FIFO's"] = f"{max(late):+d} at most"
    return told


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.philly", description=__doc__)
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--days", type=float, default=DAYS, help="of submissions, at most 7")
    parser.add_argument("--policies", nargs="+", default=list(PLACERS), choices=list(PLACERS))
    return parser.parse_args(given)


def main() -> int:
    load_before = os.getloadavg()[0]
    chosen = arguments()
    # The first is the one that the bound's steps aim at.
    policies = list(dict.fromkeys([OURS, *chosen.policies, BASELINE]))
    with tempfile.TemporaryDirectory() as folder:
        about = {
            "name": NAME,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(Path(folder)),
            "load_1min_before": load_before,
            "days": chosen.days,
            "slot_s": workload.SLOT_S,
            "gather_s": GATHER_S,
        }
    cells: list[Cell] = []
    for cell in measured(chosen.loads, chosen.seeds, chosen.days, policies):
        cells.append(cell)
        _keep(about, cells)
    console = Console()
    if not console.is_terminal:
        console = Console(width=190)
    console.print(table(cells, policies))
    for target, outcome in outcomes(cells).items():
        console.print(f"{target}: {outcome}", highlight=False)
    return 0


def _keep(about: dict[str, object], cells: Sequence[Cell]) -> None:
    """Writes what is known so far."""
    result = {**about, "cells": [asdict(cell) for cell in cells], "targets": outcomes(cells)}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (RESULTS / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
