"""`westward replay`."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler.cli import exits, failures, output
from scheduler.cli.render import replay as render
from scheduler.replay import world as worlds
from scheduler.replay.case import ReplayCase
from scheduler.replay.compare import Comparison, compare
from scheduler.replay.engine import Progress as HowFar
from scheduler.replay.placers import PLACERS
from scheduler.replay.report import PAGE, write_report
from scheduler.replay.report.files import summary_of
from scheduler.replay.report.words import title
from scheduler.replay.traces import files as traces
from scheduler.replay.traces.trace import ReplayInputError, Trace

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Print(StrEnum):
    """What to print."""

    TABLE = "table"
    JSON = "json"


def _known(policies: list[str]) -> list[str]:
    for name in policies:
        if name not in PLACERS:
            told = f"{name!r} is not a policy; choose from {', '.join(PLACERS)}"
            raise typer.BadParameter(told)
    return policies


@app.command(epilog="Exit codes: 0 replayed, 2 bad input, 130 interrupted.")
def replay(
    *,
    jobs: Annotated[
        Path, typer.Option("--jobs", help="CSV of jobs, or sacct's output; .gz is unpacked.")
    ],
    world: Annotated[Path, typer.Option("--world", help="YAML file of clusters and prices.")],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            callback=lambda given: _known(given or []),
            metavar="NAME",
            help="Repeatable; see above.",
        ),
    ] = None,
    gather_s: Annotated[
        float,
        typer.Option(min=0, help="Seconds for which arrivals and ends are gathered for a round."),
    ] = 60.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for report.html, jobs.csv and summary.json."),
    ] = None,
    show: Annotated[
        Print, typer.Option("--output", "-o", help="json prints summary.json.")
    ] = Print.TABLE,
) -> None:
    """Replay past jobs under several policies and compare them.

    Policies: westward, fifo, least-allocated, most-allocated, cheapest-now, cheapest-window,
    skypilot. Without --policy all of them, side by side.

    Examples:

      westward replay --jobs jobs.csv --world world.yaml --out report

      westward replay --jobs sacct.txt --world world.yaml --policy westward --policy fifo
    """
    try:
        place = worlds.load(world)
        trace = traces.read(jobs, place)
    except ReplayInputError as error:
        count = len(error.problems)
        head = f"nothing was replayed; {count} thing{'s' if count > 1 else ''} to mend:"
        failures.say([head, *(f"  {problem}" for problem in error.problems)])
        raise typer.Exit(exits.BAD_INPUT) from error
    case = ReplayCase(name=jobs.name, world=place.world, jobs=trace.jobs, start_at=place.start_at)
    comparison = _compare(case, policy or list(PLACERS), gather_s)
    if out is not None:
        write_report(comparison, out)
    if show is Print.JSON:
        print(json.dumps(summary_of(comparison), indent=2, ensure_ascii=False), flush=True)
        return
    output.show(render.table(comparison, columns=output.console().width))
    _tell(trace, out)


def _compare(case: ReplayCase, policies: list[str], gather_s: float) -> Comparison:
    """Replays with a bar for every policy, on terminals only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TextColumn("{task.fields[clock]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bars = {
            name: progress.add_task(title(name), total=len(case.jobs), clock="", start=False)
            for name in policies
        }

        def advance(policy: str, far: HowFar) -> None:
            progress.start_task(bars[policy])
            clock = f"{far.clock_at:%Y-%m-%d %H:%M}"
            progress.update(bars[policy], completed=far.ended, clock=clock)

        return compare(case, policies, gather_s=gather_s, on_progress=advance)


def _tell(trace: Trace, out: Path | None) -> None:
    """What is worth knowing beside the table."""
    for why, count in trace.skipped.items():
        print(f"{count:,} records are no jobs: {why}")
    if out is not None:
        print(f"Report: {out / PAGE}", flush=True)
