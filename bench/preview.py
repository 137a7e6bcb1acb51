"""`make bench-preview`: how long questions about the plan take, beside one round.

A real job book, database, fleet and planner's process, with 10,000 pending jobs and 50 clusters.
Round, dry run and what-if take turns, so that all three meet the same queue. A round is timed from
the look at the queue until it is stored; a question, as it holds up the rounds.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from bench.instances import Recipe, Size
from bench.report import keep, quantile, show, this_machine
from bench.rounds import Stage, staged
from scheduler.app import SWITCH_S
from scheduler.domain.job import JobState
from scheduler.heap import collect_rarely
from scheduler.planner.changes import Drain, ForecastChange, Operation, Quantity
from scheduler.planning.mirror import without_content
from scheduler.planning.preview import Preview, WhatIf

PENDING = 10_000
REPEATS = 8
# New between two rounds.
NEW = 100
# Whole rounds rest so long at most.
REST_S = 10.0
SIZE = Size(
    name="50 clusters", jobs=PENDING, nodes=1_000, slots=96, slot_s=900.0, clusters=50, pools=75
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """So many of a kind, with so many pending jobs at most; seconds of real time."""

    kind: str
    count: int
    pending: int
    p50_s: float
    p95_s: float
    most_s: float


async def _fill(stage: Stage, more: int) -> int:
    """Submits so many, and as many as it takes for enough to wait; how many wait."""
    specs = [job.spec for job in stage.snapshot.jobs]
    waiting = sum(job.state is JobState.PENDING for job in stage.book.active().values())
    await stage.submit(specs[: max(more, PENDING - waiting)])
    return sum(job.state is JobState.PENDING for job in stage.book.active().values())


async def _timed(work: Awaitable[object]) -> float:
    began_s = time.perf_counter()
    await work
    return time.perf_counter() - began_s


async def measured() -> list[Row]:
    """Rounds, dry runs and what-ifs in turn, after a first round that is not counted."""
    taken: dict[str, list[float]] = {"round": [], "plan": [], "what-if": []}
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        async with staged(Path(folder), Recipe(size=SIZE)) as stage:
            await _fill(stage, PENDING)
            await stage.loop.round("bench")
            first, *_ = stage.snapshot.sites
            specs = [job.spec for job in stage.snapshot.jobs]
            dearer = ForecastChange(
                cluster=first, quantity=Quantity.PRICE, operation=Operation.MULTIPLY, value=1.3
            )
            waiting = 0
            for number in range(REPEATS):
                waiting = max(waiting, await _fill(stage, NEW))
                await asyncio.sleep(REST_S)  # else the round would be a quick one
                stage.report()
                preview = Preview(((without_content(specs[number * 37]),),))
                what_if = WhatIf((Drain(first), dearer))
                taken["round"].append(await _timed(stage.loop.round("bench")))
                taken["plan"].append(await _timed(stage.loop.answer(preview)))
                taken["what-if"].append(await _timed(stage.loop.answer(what_if)))
                print(
                    f"… {[f'{kind} {s[-1]:.2f} s' for kind, s in taken.items()]}", file=sys.stderr
                )
    return [
        Row(
            kind=kind,
            count=len(walls_s),
            pending=waiting,
            p50_s=quantile(walls_s, 0.5),
            p95_s=quantile(walls_s, 0.95),
            most_s=max(walls_s),
        )
        for kind, walls_s in taken.items()
    ]


def _show(rows: list[Row]) -> None:
    title = f"Questions about the plan: {rows[0].pending:,} pending jobs, {SIZE.clusters} clusters"
    table = Table(title=title, title_justify="left")
    for head in ("kind", "n", "p50 s", "p95 s", "most s"):
        table.add_column(head, justify="left" if head == "kind" else "right")
    for row in rows:
        figures = (f"{figure:.2f}" for figure in (row.p50_s, row.p95_s, row.most_s))
        table.add_row(row.kind, str(row.count), *figures)
    show(table)


def main() -> int:
    load_before = os.getloadavg()[0]
    collect_rarely()
    sys.setswitchinterval(SWITCH_S)
    rows = asyncio.run(measured())
    _show(rows)
    figures = [asdict(row) for row in rows]
    keep("preview", load_before=load_before, machine=this_machine(), rows=figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
