"""`make bench-gaia`: the GAIA case by the paper's rules, our planner on it, and what bounds both.

Prints a table and writes ``results/gaia.json`` and the frontier as ``results/gaia.svg``.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.gaia import bounds, frontier, policies, published, rules
from bench.gaia.frontier import Point, relative
from bench.gaia.online import online
from bench.gaia.planned import paused, planned, replayed
from bench.gaia.reserved import Line, enclosing_lines
from bench.report import RESULTS, machine

NAME = "gaia"
RESERVED = 9
# The paper's point with nine reserved CPUs: what is to be dominated.
POINT_CARBON, POINT_COST, POINT_WAIT_H = 0.854406, 0.713684, 2.644
AVERAGE_CARBON = 0.6837
# Carbon that an hour's wait of one CPU is worth, from little to much.
WAITS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
# What our planner is told that cost is worth against carbon, online with reserved CPUs.
ONLINE_PRICES = (1.0, 2.0, 4.0)
WITHIN = 1e-4
EXACT, REPLAYED = "planner, exact, quarter hours", "replay, exact, quarter hours"
PAUSED = "planner, exact, several runs, slots of 10 s (short queue) and 30 s"


def reproduced(case: rules.Case, base: rules.Outcome) -> list[tuple[published.Published, Point]]:
    """Every published row beside what our accounting of the same policy gives."""
    ways = {
        "NoWait": (policies.no_wait, False),
        "AllWait-Threshold": (policies.all_wait, True),
        "Lowest-Slot": (policies.lowest_slot, False),
        "Lowest-Window (average length)": (policies.lowest_window(exact=False), False),
        "Lowest-Window (exact length)": (policies.lowest_window(exact=True), False),
        "Carbon-Time (average length)": (policies.carbon_time(exact=False), False),
        "Carbon-Time (exact length)": (policies.carbon_time(exact=True), False),
        "RES-First-Carbon-Time": (policies.carbon_time(exact=False), True),
    }
    split = {"Ecovisor": policies.ecovisor, "Wait AWhile": policies.wait_awhile}
    rows = []
    for row in published.PUBLISHED:
        if row.policy in split:
            runs = [run for task in case.tasks for run in split[row.policy](case, task)]
        else:
            starts, early = ways[row.policy]
            runs = policies.in_one_run(case, starts, row.reserved, early=early)
        found = rules.account(case, runs, row.reserved)
        rows.append((row, relative(row.policy, row.reserved, found, base)))
    return rows


def bound_rows(case: rules.Case) -> dict[str, tuple[float, float]]:
    """The bounds without a limit of capacity: what was known, and what we find."""
    return {
        "any tick": (published.BOUND_ANY_TICK, bounds.uninterrupted(case)),
        "now or a quarter hour": (published.BOUND_QUARTER_HOUR, bounds.uninterrupted(case, 180)),
        "now or an hour": (published.BOUND_HOUR, bounds.uninterrupted(case, 720)),
        "interruptible": (published.BOUND_INTERRUPTIBLE, bounds.interrupted(case)),
    }


def our_points(case: rules.Case, base: rules.Outcome) -> list[Point]:
    """Our planner without a limit of capacity: both knowledges, and dearer and dearer waits."""
    ways = {
        EXACT: planned(case, exact=True),
        "planner, average, quarter hours": planned(case, exact=False),
        "planner, average, hours": planned(case, exact=False, slot_s=3600.0),
        PAUSED: paused(case),
        REPLAYED: replayed(case, exact=True),
        "replay, average, quarter hours": replayed(case, exact=False),
    }
    for wait in WAITS:
        ways[f"planner, exact, wait × {wait:g}"] = planned(case, exact=True, wait_per_cpu_h=wait)
    return [relative(way, 0, rules.account(case, runs), base) for way, runs in ways.items()]


def online_points(case: rules.Case, base: rules.Outcome) -> list[Point]:
    """Our planner with reserved CPUs: jobs are known from their arrival on, by both knowledges."""
    points = []
    for exact in (False, True):
        for price in ONLINE_PRICES:
            runs = online(case, base, reserved=RESERVED, price=price, exact=exact)
            way = f"online, {'exact' if exact else 'average'}, cost × {price:g}"
            points.append(relative(way, RESERVED, rules.account(case, runs, RESERVED), base))
    return points


def targets(
    base: rules.Outcome,
    ours: list[Point],
    live: list[Point],
    beyond: list[Point],
    lines: list[Line],
) -> dict[str, str]:
    """What was aimed at, and what came of it."""
    exact = {p.way: p.carbon * base.carbon for p in ours if p.way in (EXACT, REPLAYED)}
    average = {p.way: p for p in ours if "average" in p.way}
    least_carbon = max(line.least_carbon(POINT_COST) for line in lines)
    least_cost = max(line.least_cost(POINT_CARBON) for line in lines)
    now = [point for point in live if point.dominates(POINT_CARBON, POINT_COST)]
    split = next(p.carbon * base.carbon for p in ours if p.way == PAUSED)
    two = [point for point in beyond if point.dominates(POINT_CARBON, POINT_COST)]
    three = [point for point in two if point.dominates(POINT_CARBON, POINT_COST, POINT_WAIT_H)]
    return {
        "exact lengths within 0.01 % of 345.1300, not below 344.0284": "; ".join(
            f"{way} {carbon:.4f} ({carbon / published.BOUND_QUARTER_HOUR - 1:+.4%}), "
            + ("met" if _within(carbon) else "missed")
            for way, carbon in exact.items()
        ),
        "interruptible, exact lengths, reaching 307.0558, not below it": (
            f"{PAUSED} {split:.4f} ({split / published.BOUND_INTERRUPTIBLE - 1:+.4%})"
        ),
        f"average lengths at most {AVERAGE_CARBON}": "; ".join(
            f"{way} {point.carbon:.6f}, wait {point.wait_h:.3f} h" for way, point in average.items()
        ),
        f"R = 9: carbon ≤ {POINT_CARBON} at cost ≤ {POINT_COST}, online": _least_carbon(now),
        f"R = 9: carbon ≤ {POINT_CARBON} at cost ≤ {POINT_COST}": _least_carbon(two),
        f"the same, with a mean wait ≤ {POINT_WAIT_H} h": _least_carbon(three),
        f"R = 9: least carbon at cost ≤ {POINT_COST}": f"proven ≥ {least_carbon:.4f}",
        f"R = 9: least cost at carbon ≤ {POINT_CARBON}": f"proven ≥ {least_cost:.4f}",
    }


def _least_carbon(points: list[Point]) -> str:
    if not points:
        return "none found"
    best = min(points, key=lambda point: point.carbon)
    return f"{best.way}: carbon {best.carbon:.4f} at {best.cost:.4f}, wait {best.wait_h:.2f} h"


def _within(carbon: float) -> bool:
    """Near the best that quarter hours allow, and not below what any tick allows."""
    off = abs(carbon / published.BOUND_QUARTER_HOUR - 1)
    return carbon >= published.BOUND_ANY_TICK and off <= WITHIN


def show(
    console: Console,
    rows: list[tuple[published.Published, Point]],
    points: list[Point],
) -> None:
    """The table."""
    table = Table(title="GAIA: carbon and cost, NoWait without reserved CPUs = 1")
    for column in ("way", "R", "carbon", "published", "cost", "published", "wait h", "published"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for row, point in rows:
        wait = "–" if row.wait_h is None else f"{row.wait_h:.3f}"
        table.add_row(
            row.policy,
            str(row.reserved),
            f"{point.carbon:.6f}",
            f"{row.carbon:.6f}",
            f"{point.cost:.6f}",
            f"{row.cost:.6f}",
            f"{point.wait_h:.3f}",
            wait,
        )
    table.add_section()
    for point in points:
        figures = (f"{point.carbon:.6f}", "", f"{point.cost:.6f}", "", f"{point.wait_h:.3f}", "")
        table.add_row(point.way, str(point.reserved), *figures)
    console.print(table)


def main() -> int:
    began_s = time.perf_counter()
    case = rules.load()
    base = rules.account(case, policies.in_one_run(case, policies.no_wait))
    rows, known = reproduced(case, base), bound_rows(case)
    ours, live = our_points(case, base), online_points(case, base)
    print(f"… bounds and schedules with {RESERVED} reserved CPUs, a minute or so", file=sys.stderr)
    lines = enclosing_lines(case, base.carbon, RESERVED, frontier.PRICES)
    beyond = frontier.clairvoyant_points(case, base, RESERVED)
    paper = frontier.paper_points(case, base, RESERVED)
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    show(console, rows, [*ours, *live, *paper, *beyond])
    for name, (stored, found) in known.items():
        console.print(f"bound, {name}: {found:.4f} (known: {stored:.4f})", highlight=False)
    outcomes = targets(base, ours, live, beyond, lines)
    for target, outcome in outcomes.items():
        console.print(f"{target}: {outcome}", highlight=False)
    RESULTS.mkdir(exist_ok=True)
    groups = {
        "paper's policies, R = 9": paper,
        "Westward's planner, R = 0": ours,
        "clairvoyant, R = 9": beyond,
        "Westward's planner online, R = 9": live,
    }
    frontier.plot(RESULTS / f"{NAME}.svg", lines, groups)
    with tempfile.TemporaryDirectory() as folder:
        described = machine(Path(folder))
    result = {
        "name": NAME,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "took_s": round(time.perf_counter() - began_s, 1),
        "base": asdict(base),
        "published": [{**asdict(point), "published": asdict(row)} for row, point in rows],
        "bounds": {name: {"known": k, "found": f} for name, (k, f) in known.items()},
        "points": [asdict(point) for point in (*ours, *live, *paper, *beyond)],
        "lines": [asdict(line) for line in lines],
        "targets": outcomes,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (RESULTS / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
