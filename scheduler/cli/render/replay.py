"""A replay's policies, side by side."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.replay.compare import Comparison
from scheduler.replay.metrics import Metrics
from scheduler.replay.report.words import change, number, percent, span, title

HEADS = (
    "YUAN",
    "",
    "GREEN",
    "kg CO₂",
    "WAIT",
    "p95",
    "LATE",
    "MISSED",
    "UNPLACED",
    "IN USE",
    "GAP",
)


def table(comparison: Comparison) -> RenderableType:
    """One row per policy, then the clairvoyant bound."""
    metrics = [measured.metrics for measured in comparison.measured]
    base = next((m for m in metrics if m.policy == "fifo"), metrics[0])
    made: Table = common.table()
    made.add_column("POLICY", no_wrap=True)
    for head in HEADS:
        made.add_column(head, no_wrap=True, justify="right")
    for of in metrics:
        style = "bold green" if of.policy == "westward" else ""
        made.add_row(Text(title(of.policy), style), *_cells(of, base))
    bound = comparison.bound
    made.add_row(
        Text("clairvoyant bound", "dim"),
        Text(number(bound.energy_yuan), "dim"),
        Text(change(bound.energy_yuan, base.energy_yuan), "dim"),
    )
    told = f"{len(comparison.case.jobs):,} jobs; energy against {title(base.policy)}"
    return Group(made, Text(), Text(told, "dim"))


def _cells(of: Metrics, base: Metrics) -> list[str]:
    gap = of.rounds.gap_mean
    return [
        number(of.energy_yuan),
        change(of.energy_yuan, base.energy_yuan) if of is not base else "",
        percent(of.green_share),
        number(of.carbon_kg),
        span(of.wait_mean_s),
        span(of.wait_p95_s),
        f"{of.late_jobs:,}",
        f"{of.deadline_misses:,}",
        f"{of.unplaced_jobs:,}",
        percent(of.utilisation),
        "" if gap is None else f"{gap * 100:.2f} %",
    ]
