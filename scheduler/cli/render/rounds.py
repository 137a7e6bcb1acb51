"""Planning rounds: what set each off, what it decided, how close to the bound, how long it took."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from scheduler.rounds.record import RecordedRound
from westward.v1 import placement_pb2

# Columns of the longest bar.
BAR = 40


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
        for head in ("JOBS", "NOW", "LATER", "NOWHERE", "MOVED", "GAP", "MS"):
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
        moved(item),
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


def detail(item: placement_pb2.Round) -> RenderableType:
    """What a round saw, what it decided, how good that is, and what took how long."""
    kind = "the front of the line" if item.quick else "all that wait"
    head = Text.assemble(
        (f"Round {item.id}", "bold"),
        f", over {kind}, {common.when(item.at, seconds=True)} {common.zone(item.at)}, "
        f"set off by: {common.clean(item.trigger)}",
    )
    table = common.table()
    table.show_header = False
    table.add_column("", no_wrap=True)
    table.add_column("")
    table.add_row("saw", _saw(item))
    table.add_row("decided", _decided(item))
    if item.reasons:
        table.add_row("why nowhere", _nowhere(item))
    if item.interruptions:
        stops = ", ".join(f"{common.clean(k)} {n}" for k, n in sorted(item.interruptions.items()))
        table.add_row("asks to stop", stops)
    if ahead := item.moved + item.kept:
        share = f" ({common.percent(item.moved / ahead)})"
        table.add_row("plans before", f"{item.moved} of {ahead} later starts moved{share}")
    yuan = f"{common.figure(item.objective_yuan)} yuan, bound {common.figure(item.bound_yuan)}"
    table.add_row("costs", f"{yuan}, gap {gap(item.gap)}")
    table.add_row("took", f"{item.wall_ms:.0f} ms")
    stages: list[RenderableType] = [Text(), _stages(item)] if item.stages else []
    return Group(head, Text(), table, *stages)


def _saw(item: placement_pb2.Round) -> str:
    told = [f"{item.jobs} waiting"]
    if item.nodes or item.clusters:  # rounds of long ago did not keep them
        told.append(f"{item.running} running")
        told += [_counted(item.nodes, "node"), _counted(item.clusters, "cluster")]
    return ", ".join(told)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _decided(item: placement_pb2.Round) -> str:
    return f"{item.placed} now, {item.planned} later, {item.unplaced} nowhere"


def _stages(item: placement_pb2.Round) -> Table:
    """How long each stage took, with a bar."""
    table = common.table()
    table.add_column("STAGE", no_wrap=True)
    table.add_column("MS", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    longest_ms = max(stage.ms for stage in item.stages)
    for stage in item.stages:
        eighths = round(stage.ms / longest_ms * BAR * 8) if longest_ms > 0 else 0
        bar = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
        table.add_row(common.clean(stage.name), f"{stage.ms:.1f}", Text(bar, "cyan"))
    return table


def moved(item: placement_pb2.Round) -> str:
    """``3/120``: of so many later starts of the round before, those moved; empty of none."""
    ahead = item.moved + item.kept
    return f"{item.moved}/{ahead}" if ahead else ""


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
