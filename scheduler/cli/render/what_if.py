"""The queue in another world: both plans in sum, and the jobs that fare otherwise."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common, effects, rounds
from westward.v1 import what_if_pb2


def answer(told: what_if_pb2.WhatIfResponse) -> RenderableType:
    """The sums side by side, then the jobs, the worst off first."""
    parts: list[RenderableType] = [_sums(told.before, told.after), Text()]
    if not told.effects_total:
        return Group(*parts, Text("Every job stays where and when it is planned."))
    head = f"{told.effects_total:,} jobs fare otherwise, those first that lose most:"
    parts.append(Text("One job fares otherwise:" if told.effects_total == 1 else head, "bold"))
    return Group(*parts, *effects.listing(told.effects, told.effects_total))


def _sums(before: what_if_pb2.PlanTotals, after: what_if_pb2.PlanTotals) -> Table:
    table = common.table()
    table.add_column("", no_wrap=True)
    for head in ("AS IT IS", "WHAT IF", "DIFFERENCE"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in _rows(before, after):
        table.add_row(*row)
    return table


def _rows(
    before: what_if_pb2.PlanTotals, after: what_if_pb2.PlanTotals
) -> Sequence[tuple[str, str, str, str]]:
    counts = (
        ("start now", before.now, after.now),
        ("start later", before.later, after.later),
        ("nowhere", before.unplaced, after.unplaced),
        ("runs stopped", before.stopped, after.stopped),
    )
    sums = (
        ("yuan", before.cost_yuan, after.cost_yuan),
        ("kWh", before.energy_kwh, after.energy_kwh),
        ("kgCO2", before.carbon_kg, after.carbon_kg),
    )
    shares = (
        ("green", before.green_share, after.green_share),
        ("utilisation", before.utilisation, after.utilisation),
    )
    rows = [(n, f"{was:,}", f"{now:,}", f"{now - was:+,}" * (now != was)) for n, was, now in counts]
    for name, had, has in sums:
        rows.append((name, common.figure(had), common.figure(has), effects.signed(has - had)))
    for name, had, has in shares:
        points = (has - had) * 100
        more = f"{points:+.1f} points" if abs(points) >= 0.05 else ""
        rows.append((name, common.percent(had), common.percent(has), more))
    rows.append(("gap", rounds.gap(before.gap), rounds.gap(after.gap), ""))
    return rows
