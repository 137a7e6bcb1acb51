"""What the demo prints: what happens as it happens, then what it came to."""

import re
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from westward.v1 import job_pb2, placement_pb2

PENDING, ASSIGNED = job_pb2.JOB_STATE_PENDING, job_pb2.JOB_STATE_ASSIGNED
# Time, name, and origin or state of a line come to so many columns; the rest is prose.
NAME, PLACE, STATE = 19, 9, 10


def clock(stamp: Timestamp) -> str:
    """A wire time as the clock on a wall of this process' time zone shows it."""
    return f"{common.local(stamp):%H:%M}"


def heading(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="dim"))


def submitted(console: Console, job: job_pb2.Job, about: str) -> None:
    """One line for one job: where from, and what it is about."""
    head = Text.assemble(
        (clock(job.created_at), "dim"), f"  {job.spec.name:<{NAME}}{job.spec.region:<{PLACE}}"
    )
    line = Table.grid()
    line.add_column(no_wrap=True)
    line.add_column(style="dim")
    line.add_row(head, Text(about))
    console.print(line)


def transition(console: Console, change: job_pb2.WatchResponse) -> None:
    """One line for one change of one job."""
    job = change.job
    state = common.job_state(job.state)
    state.pad_right(max(1, STATE - len(state)))
    where = job.attempts[-1].cluster if job.attempts and job.state != PENDING else ""
    line = Text.assemble(
        (clock(job.updated_at), "dim"), f"  {job.spec.name:<{NAME}}", state, f"{where:<{PLACE}}"
    )
    said = job.reason.message
    if job.state == ASSIGNED:
        said = said.partition(": ")[2] or said  # the place is told already
    line.append(fitting(said, console.width - len(line)), "dim")
    console.print(line, overflow="ellipsis", no_wrap=True)


def fitting(text: str, columns: int) -> str:
    """As many whole clauses of a text as there is room for; at least the first."""
    if len(text) <= columns:
        return text
    ends = [found.start() for found in re.finditer(r"[,;.:] ", text[: columns + 1])]
    return text[: ends[-1]] if ends else text


def savings(console: Console, placements: Iterable[placement_pb2.Placement]) -> None:
    """All placements against running each job in its own city at once."""
    committed = [p for p in placements if p.committed and p.HasField("saving")]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "west", "at origin", "saved"):
        table.add_column(name, justify="left" if not name else "right")
    rows = (
        ("energy and moving data, yuan", "yuan", "origin_yuan"),
        ("energy, kWh", "kwh", "origin_kwh"),
        ("carbon, kgCO2", "carbon_kg", "origin_carbon_kg"),
    )
    for label, west, east in rows:
        here = sum(getattr(p.saving, west) for p in committed)
        there = sum(getattr(p.saving, east) for p in committed)
        share = (there - here) / there if there else 0.0
        table.add_row(
            label,
            f"{here:.2f}",
            f"{there:.2f}",
            f"[bold green]{there - here:.2f}[/] ({common.percent(share)})",
        )
    console.print(table)
    kwh = sum(p.energy_kwh for p in committed)
    green = sum(p.green_share * p.energy_kwh for p in committed)
    share = green / kwh if kwh else 0.0
    told = f"{common.percent(share)} of the western energy was green"
    console.print(f"{told}: {green:.2f} of {kwh:.2f} kWh.")


NEXT = """[bold]make test[/]                run the tests
[bold]make demo KEEP=1[/]         the same, left running, to explore with `westward`
[bold]README.md[/]                how to run the scheduler, agents and gateways for real
[bold]docs/README.md[/]           architecture, operations, job files, security"""
