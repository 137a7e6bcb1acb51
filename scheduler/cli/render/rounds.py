"""Planning rounds: what set each off, what it decided, how close to the bound, how long it took."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from scheduler.rounds.record import RecordedRound
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


def comparison(before: RecordedRound, after: RecordedRound, *, identical: bool) -> RenderableType:
    """A recorded round beside what came of planning it again."""
    table = common.table()
    table.add_column("", no_wrap=True)
    table.add_column("RECORDED", justify="right", no_wrap=True)
    table.add_column("REPLAYED", justify="right", no_wrap=True)
    rows = zip(_figures(before), _figures(after), strict=True)
    for (head, was), (_, now) in rows:
        table.add_row(head, was, now)
    stages = [dict(made.plan.stages) if made.plan else {} for made in (before, after)]
    for name in dict.fromkeys(name for one in stages for name in one):
        cells = (f"{one[name]:.0f}" if name in one else "" for one in stages)
        table.add_row(f"{common.clean(name)} ms", *cells)
    verdict = Text("The same plan, to the last bit.", "green")
    if not identical:
        verdict = Text("Not the same plan.", "bold red")
        if before.software != after.software:
            verdict.append(" Another version of Westward may well plan otherwise.", "not bold")
    failures = [Text(f"{made.failure}") for made in (before, after) if made.failure]
    return Group(table, Text(), *failures[: 1 if identical else 2], verdict)


def _figures(made: RecordedRound) -> list[tuple[str, str]]:
    plan = made.plan
    told = [("version", made.software), ("jobs", f"{len(made.snapshot.jobs):,}")]
    heads = ("start now", "start later", "nowhere", "asked to stop", "yuan", "bound", "gap", "plan")
    if plan is None:
        return [*told, *((head, "none") for head in heads)]
    counts = (plan.now, plan.later, plan.unplaced, plan.interruptions)
    cells = [f"{count:,}" for count in counts]
    cells += [f"{plan.objective_yuan:.6f}", f"{plan.bound_yuan:.6f}", gap(plan.gap)]
    return [*told, *zip(heads, [*cells, plan.sha256[:16]], strict=True)]


def gap(value: float) -> str:
    """How far from the bound at most: ``0.31 %``."""
    return "0 %" if value < 0.00005 else f"{value * 100:.2f} %"
