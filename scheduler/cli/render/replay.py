"""A replay's policies, side by side."""

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.replay.compare import Comparison
from scheduler.replay.metrics import Metrics
from scheduler.replay.report.words import change, number, percent, span, title

# Below so many columns the figures that fewer people ask for are left to the report.
WIDE_COLUMNS = 110
Column = tuple[str, Callable[[Metrics], str]]
ALWAYS: tuple[Column, ...] = (
    ("GREEN", lambda m: percent(m.green_share)),
    ("kg CO₂", lambda m: number(m.carbon_kg)),
    ("WAIT", lambda m: span(m.wait_mean_s)),
    ("LATE", lambda m: f"{m.late_jobs:,}"),
    ("UNPLACED", lambda m: f"{m.unplaced_jobs:,}"),
)
WIDE: tuple[Column, ...] = (
    *ALWAYS,
    ("p95 WAIT", lambda m: span(m.wait_p95_s)),
    ("MISSED", lambda m: f"{m.deadline_misses:,}"),
    ("IN USE", lambda m: percent(m.utilisation)),
    ("GAP", lambda m: "" if m.rounds.gap_mean is None else f"{m.rounds.gap_mean * 100:.2f} %"),
)


def table(comparison: Comparison, *, columns: int) -> RenderableType:
    """One row per policy, then the clairvoyant bound; ``columns`` is how wide it may be."""
    metrics = [measured.metrics for measured in comparison.measured]
    base = next((m for m in metrics if m.policy == "fifo"), metrics[0])
    shown = WIDE if columns >= WIDE_COLUMNS else ALWAYS
    made: Table = common.table()
    made.add_column("POLICY", no_wrap=True)
    for head in ("YUAN", "", *(head for head, _ in shown)):
        made.add_column(head, no_wrap=True, justify="right")
    for of in metrics:
        style = "bold green" if of.policy == "westward" else ""
        energy = number(of.energy_yuan), _against(of, base)
        made.add_row(Text(title(of.policy), style), *energy, *(word(of) for _, word in shown))
    bound = comparison.bound
    made.add_row(
        Text("clairvoyant bound", "dim"),
        Text(number(bound.energy_yuan), "dim"),
        Text(change(bound.energy_yuan, base.energy_yuan), "dim"),
    )
    told = f"{len(comparison.case.jobs):,} jobs; energy against {title(base.policy)}"
    return Group(made, Text(), Text(told, "dim"))


def _against(of: Metrics, base: Metrics) -> str:
    return change(of.energy_yuan, base.energy_yuan) if of is not base else ""
