"""`make bench-explain`: how long `explain` and `why` take while thousands of jobs wait.

A real job book, database, fleet and planner's process with 10,000 pending jobs on 50 clusters.
After a whole round, jobs drawn from all that wait are asked about, one after the other: from the
call to the bytes of its answer. A question that meets a round in progress waits for it beside that.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from bench.instances import Mode, Recipe, Size
from bench.report import keep, quantile, show, this_machine
from bench.rounds import Stage, staged
from scheduler.app import SWITCH_S
from scheduler.heap import collect_rarely
from scheduler.rpc.convert_placements import explanation_to_pb
from scheduler.rpc.why import starts_to_pb, why_to_pb

SIZE = Size(name="10k", jobs=10_000, nodes=1_000, slots=48, slot_s=1800.0, clusters=50, pools=75)
# Most are there at once, and some find no place.
RECIPE = Recipe(size=SIZE, mode=Mode.BACKLOG, load=2.0)
QUESTIONS = 200
EXPLAIN_P95_MOST_MS = 100.0
SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of question, asked so often; ``bytes`` of the answer are the median."""

    question: str
    asked: int
    p50_ms: float
    p95_ms: float
    most_ms: float
    bytes: int


async def measured(questions: int) -> tuple[list[Row], dict[str, int]]:
    """All kinds of questions, and how many of the jobs asked about waited for what."""
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        async with staged(Path(folder), RECIPE) as stage:
            await stage.submit(job.spec for job in stage.snapshot.jobs)
            stage.report()
            await stage.loop.round("bench")
            waiting = sorted(i for i in stage.book.active() if stage.loop.waits_because(i))
            drawn = random.Random(SEED).sample(waiting, questions)  # a seed for a bench, no secret
            told = [stage.loop.explanation(job_id) for job_id in drawn]
            codes = Counter(one.reason.code.value for one in told if one is not None)
            print(f"… {len(waiting):,} wait", file=sys.stderr)
            rows = [
                await _asked("explain", _explain(stage), drawn),
                await _asked("explain --slots", _slots(stage), drawn),
                await _asked("why", _why(stage), drawn),
            ]
    return rows, dict(codes.most_common())


Ask = Callable[[str], Awaitable[bytes]]


def _explain(stage: Stage) -> Ask:
    async def ask(job_id: str) -> bytes:
        found = await stage.loop.explain(job_id)
        assert found is not None, "it was planned"
        return explanation_to_pb(found).SerializeToString()

    return ask


def _slots(stage: Stage) -> Ask:
    async def ask(job_id: str) -> bytes:
        explained, starts = await _explain(stage)(job_id), await stage.loop.starts(job_id)
        assert starts is not None, "it was planned"
        return explained + starts_to_pb(starts).SerializeToString()

    return ask


def _why(stage: Stage) -> Ask:
    async def ask(job_id: str) -> bytes:
        job = await stage.book.get(job_id)
        return why_to_pb(job, await stage.loop.why(job)).SerializeToString()

    return ask


async def _asked(question: str, ask: Ask, jobs: Sequence[str]) -> Row:
    await ask(jobs[0])  # what is loaded at the first question
    taken_ms, sizes = list[float](), list[float]()
    for job_id in jobs:
        began_s = time.perf_counter()
        sizes.append(len(await ask(job_id)))
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    return Row(
        question=question,
        asked=len(jobs),
        p50_ms=quantile(taken_ms, 0.5),
        p95_ms=quantile(taken_ms, 0.95),
        most_ms=max(taken_ms),
        bytes=int(quantile(sizes, 0.5)),
    )


def _show(rows: Sequence[Row], codes: dict[str, int]) -> None:
    told = ", ".join(f"{code} {count}" for code, count in codes.items())
    table = Table(title=f"Questions about waiting jobs: {told}", title_justify="left")
    table.add_column("question")
    for head in ("asked", "p50 ms", "p95 ms", "most ms", "bytes"):
        table.add_column(head, justify="right")
    for row in rows:
        times = (f"{ms:,.1f}" for ms in (row.p50_ms, row.p95_ms, row.most_ms))
        table.add_row(row.question, str(row.asked), *times, f"{row.bytes:,}")
    show(table)


def main() -> int:
    asked = argparse.ArgumentParser(prog="make bench-explain ARGS=…")
    asked.add_argument("--questions", type=int, default=QUESTIONS)
    given = asked.parse_args()
    load_before = os.getloadavg()[0]
    collect_rarely()
    sys.setswitchinterval(SWITCH_S)
    rows, codes = asyncio.run(measured(given.questions))
    _show(rows, codes)
    explain = next(row for row in rows if row.question == "explain")
    keep(
        "explain",
        load_before=load_before,
        machine=this_machine(),
        instance=str(RECIPE),
        size=asdict(SIZE),
        reasons=codes,
        rows=[asdict(row) for row in rows],
        targets={f"p95 of explain below {EXPLAIN_P95_MOST_MS:g} ms": f"{explain.p95_ms:.1f} ms"},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
