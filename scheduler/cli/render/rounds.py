"""Planning rounds: what set each off, what it decided, how close to the bound, how long it took."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from westward.v1 import placement_pb2


def listing(rounds: Sequence[placement_pb2.Round], *, wide: bool = False) -> RenderableType:
    """One row per round, newest first."""
    if not rounds:
        return Text("No planning rounds yet.")
    notes = [_nowhere(item) for item in rounds]

    def build(noted: bool) -> Table:
        table = common.table()
        table.add_column("ROUND", no_wrap=True, justify="right")
        table.add_column("TIME", no_wrap=True)
        table.add_column("SET OFF BY", no_wrap=True)
        for head in ("JOBS", "NOW", "LATER", "NOWHERE", "GAP", "MS"):
            table.add_column(head, justify="right", no_wrap=True)
        if wide:
            table.add_column("YUAN", justify="right", no_wrap=True)
            table.add_column("BOUND", justify="right", no_wrap=True)
            table.add_column("STAGES ms", no_wrap=True)
        if noted:
            table.add_column("WHY NOWHERE", no_wrap=True)
        for item, codes in zip(rounds, notes, strict=True):
            table.add_row(*_row(item, wide=wide), *([codes] * noted))
        return table

    return Noted(build, notes, indent=7)


def _row(item: placement_pb2.Round, *, wide: bool) -> list[RenderableType]:
    row: list[RenderableType] = [
        str(item.id),
        common.when(item.at, seconds=True),
        common.clean(item.trigger),
        str(item.jobs),
        str(item.placed),
        str(item.planned),
        Text(str(item.unplaced), "yellow" if item.unplaced else ""),
        gap(item.gap),
        f"{item.wall_ms:.0f}",
    ]
    if wide:
        row += [
            common.figure(item.objective_yuan),
            common.figure(item.bound_yuan),
            ", ".join(f"{common.clean(stage.name)} {stage.ms:.0f}" for stage in item.stages),
        ]
    return row


def _nowhere(item: placement_pb2.Round) -> Text:
    codes = sorted(item.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return Text(", ".join(f"{common.clean(code)} {count}" for code, count in codes))


def gap(value: float) -> str:
    """How far from the bound at most: ``0.31 %``."""
    return "0 %" if value < 0.00005 else f"{value * 100:.2f} %"
