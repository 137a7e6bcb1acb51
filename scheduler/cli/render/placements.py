"""Placements: which job is where, how green, at what cost, and what that saves."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Snug
from westward.v1 import placement_pb2


def listing(placements: Sequence[placement_pb2.Placement], *, wide: bool = False) -> RenderableType:
    """One row per placement, and the sums below. ``~`` marks what is only planned."""
    if not placements:
        return Text("No placements.")
    table = Snug(lambda gap: _table(placements, gap=gap, wide=wide))
    return Group(table, Text(), _sums(placements))


def _table(placements: Sequence[placement_pb2.Placement], *, gap: int, wide: bool) -> Table:
    table = common.table(gap=gap)
    table.add_column("JOB", no_wrap=True)
    table.add_column("NAME", no_wrap=wide)
    for head in ("FROM", "TO", "START"):
        table.add_column(head, no_wrap=True)
    if wide:
        for head in ("END", "RUNS", "MODEL", "TENANT", "STATE", "NODES"):
            table.add_column(head, no_wrap=True)
    for head in ("GREEN", "YUAN", "SAVES", *(("kWh", "kgCO2", "ROUND") if wide else ())):
        table.add_column(head, justify="right", no_wrap=True)
    for placement in placements:
        table.add_row(*_row(placement, wide=wide))
    return table


def _row(placement: placement_pb2.Placement, *, wide: bool) -> list[RenderableType]:
    mark = "" if placement.committed else "~"
    row: list[RenderableType] = [
        placement.job_id,
        _name(placement),
        common.clean(placement.region),
        common.clean(placement.cluster),
        _when(placement, wide=wide),
    ]
    if wide:
        row += [
            f"{mark}{common.when(placement.end_at)}",
            _runs(placement),
            common.clean(placement.accelerator) or "cpu",
            common.clean(placement.tenant),
            common.job_state(placement.job_state),
            ", ".join(dict.fromkeys(worker.node_id for worker in placement.workers)),
        ]
    row += [
        common.percent(placement.green_share),
        common.figure(_yuan(placement)),
        _saved(placement),
    ]
    if wide:
        row += [
            common.figure(placement.energy_kwh),
            common.figure(placement.carbon_kg),
            str(placement.round_id),
        ]
    return row


def _name(placement: placement_pb2.Placement) -> Text:
    """The job's, with the number of the attempt where it is not the first; cut for want of room."""
    number = placement.attempt_id.rpartition("-")[2]
    again = f" #{number}" if number.isdigit() and number != "1" else ""
    name = f"{common.clean(placement.job_name)}{again}"
    return Text(name, no_wrap=True, overflow="ellipsis")


def _when(placement: placement_pb2.Placement, *, wide: bool) -> str:
    """When it starts, and in how many runs, which a wide table tells one by one."""
    mark, runs = "" if placement.committed else "~", len(placement.runs)
    several = f", {runs} runs" if runs > 1 and not wide else ""
    return f"{mark}{common.when(placement.start_at)}{several}"


def _runs(placement: placement_pb2.Placement) -> str:
    """``12:15–14:00, 18:00–20:00``; nothing of one, which START and END tell."""
    if len(placement.runs) < 2:
        return ""
    spans = ((common.local(run.start_at), common.local(run.end_at)) for run in placement.runs)
    return ", ".join(f"{start:%H:%M}–{end:%H:%M}" for start, end in spans)


def _yuan(placement: placement_pb2.Placement) -> float:
    """Energy, and moving the data: what the saving is told against."""
    told = placement.HasField("saving")
    return placement.saving.yuan if told else placement.cost_yuan


def _saved(placement: placement_pb2.Placement) -> str:
    if not placement.HasField("saving"):
        return ""
    return common.figure(placement.saving.origin_yuan - placement.saving.yuan)


def _sums(placements: Sequence[placement_pb2.Placement]) -> Text:
    energy_kwh = sum(p.energy_kwh for p in placements)
    green_kwh = sum(p.energy_kwh * p.green_share for p in placements)
    yuan = sum(_yuan(p) for p in placements)
    text = f"{len(placements)} placements: {common.figure(energy_kwh)} kWh"
    if energy_kwh:
        text += f", {common.percent(green_kwh / energy_kwh)} green"
    text += f", {common.figure(yuan)} yuan"
    savings = [p.saving for p in placements if p.HasField("saving")]
    if savings:
        saved_yuan = sum(s.origin_yuan - s.yuan for s in savings)
        saved_kg = sum(s.origin_carbon_kg - s.carbon_kg for s in savings)
        text += (
            f"; saves {common.figure(saved_yuan)} yuan and {common.figure(saved_kg)} kgCO2 "
            "against running at origin at once"
        )
    return Text(text, "dim")
