"""`make bench-rounds`: how long planning rounds hold the event loop that answers the calls.

A real job book, database, fleet and planner's process, with as many pending jobs as a hub has on a
bad day. While rounds are made, a coroutine asks to be woken every millisecond: how late it is, a
call would be answered later. What one piece of work holds the loop for is measured beside it: the
rest of the lateness is what other threads and, on few cores, the planner take.

`--label` names the row; rows of other labels stay in the file, so that versions can be compared.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from bench.instances import Recipe, Size, build
from bench.report import RESULTS, keep, quantile, show, this_machine
from scheduler.app import SWITCH_S
from scheduler.clock import PowerClock
from scheduler.config import SchedulerConfig
from scheduler.domain.job import JobSpec
from scheduler.heap import collect_rarely
from scheduler.planner.snapshot import Snapshot
from scheduler.planning.loop import PlanningLoop
from scheduler.planning.process import PlannerProcess
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.state.known import Identity
from scheduler.store import Store

WHOLE_ROUNDS = 3
QUICK_ROUNDS = 4
# New between two rounds.
NEW_SHARE = 0.01
BATCH_JOBS = 1000
WAKE_S = 0.001
MB = 1e6
FILE = RESULTS / "rounds.json"
# What rounds cost beside the planner grows with the jobs alone: a small fleet will do.
SIZES = {
    size.name: size
    for size in (
        Size(name="1k", jobs=1_000, nodes=100, slots=24, slot_s=3600.0, clusters=6, pools=9),
        Size(name="10k", jobs=10_000, nodes=1_000, slots=24, slot_s=3600.0, clusters=6, pools=9),
        Size(name="100k", jobs=100_000, nodes=1_000, slots=24, slot_s=3600.0, clusters=6, pools=9),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Rounds of one kind over so many pending jobs. ``late_*``: how late the coroutine was woken;
    ``held_*``: the longest that one piece of work held the loop, and of that the processor's time;
    memory at its peak."""

    label: str
    jobs: int
    kind: str
    rounds: int
    wall_s: float
    late_p99_ms: float
    late_most_ms: float
    held_ms: float
    held_cpu_ms: float
    scheduler_mb: float
    planner_mb: float


class Watch:
    """How late a coroutine is woken, and how long the loop's pieces of work take."""

    def __init__(self) -> None:
        self.late_s: list[float] = []
        self.held_s = 0.0
        self.held_cpu_s = 0.0

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Watches within the block."""
        plain = asyncio.events.Handle._run

        def timed(handle: Any) -> Any:
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            try:
                return plain(handle)
            finally:
                self.held_s = max(self.held_s, time.perf_counter() - began_s)
                self.held_cpu_s = max(self.held_cpu_s, time.thread_time() - began_cpu_s)

        asyncio.events.Handle._run = timed  # type: ignore[assignment, method-assign]
        ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            asyncio.events.Handle._run = plain  # type: ignore[method-assign]
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(WAKE_S)
            self.late_s.append(time.perf_counter() - began_s - WAKE_S)


@dataclass(frozen=True, slots=True)
class Stage:
    """All parts of a scheduler that a round touches."""

    book: JobBook
    fleet: Fleet
    loop: PlanningLoop
    planner: PlannerProcess
    snapshot: Snapshot

    async def submit(self, specs: Iterable[JobSpec]) -> None:
        """Durable, in batches."""
        wishes = [(spec, None) for spec in specs]
        for at in range(0, len(wishes), BATCH_JOBS):
            await self.book.submit_many(wishes[at : at + BATCH_JOBS])

    def report(self) -> None:
        """Every head measures its round trips anew, as it does every few seconds."""
        for node in self.snapshot.nodes:
            if node.head:
                self.fleet.report_rtt(node.id, self.snapshot.sites[node.cluster].rtt.values())


def _take_in(fleet: Fleet, snapshot: Snapshot) -> None:
    """All nodes and sites connect and report."""
    node_facts = ("accelerator", "gpus", "cpus", "memory_gb", "gpu_power_kw", "cpu_power_kw")
    for node in snapshot.nodes:
        fleet.connect(
            Identity(
                node_id=node.id,
                cluster=node.cluster,
                head=node.head,
                agent_version="",
                incarnation=node.id,
            )
        )
        fleet.report_node(node.id, {name: getattr(node, name) for name in node_facts})
        if node.head:
            site = asdict(snapshot.sites[node.cluster])
            told = {
                name: getattr(snapshot.sites[node.cluster], name)
                for name in site
                if name not in ("cluster", "rtt", "reachable", "not_serving")
            }
            fleet.report_site(node.id, told)


@asynccontextmanager
async def staged(folder: Path, recipe: Recipe) -> AsyncIterator[Stage]:
    """A scheduler's parts with an instance's fleet, and no jobs yet."""
    snapshot = build(recipe).snapshot
    clock = PowerClock(1.0, datetime.now(UTC), snapshot.now_at)
    config = SchedulerConfig(
        slot_s=snapshot.slot_s, horizon_slots=snapshot.slots, report_interval_s=3600.0
    )
    store = await Store.open(f"sqlite:///{folder / 'rounds.db'}")
    planner = PlannerProcess()
    try:
        book = JobBook(store, clock)
        await book.load()
        fleet = Fleet(clock, snapshot.regions, config.report_interval_s)
        _take_in(fleet, snapshot)
        loop = PlanningLoop(
            config=config, clock=clock, book=book, fleet=fleet, store=store, planner=planner
        )
        book.on_step(loop.on_step)
        await planner.ready()
        yield Stage(book, fleet, loop, planner, snapshot)
    finally:
        planner.close()
        await store.close()


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MB
    raise RuntimeError(f"/proc/{pid}/status tells no VmHWM")


def _planner_pid() -> int:
    """The one child process that runs the planner (others only track resources)."""
    children = psutil.Process().children()
    return max(children, key=lambda child: child.memory_info().rss).pid


async def measured(size: str, label: str) -> list[Row]:
    """The first round over all jobs, whole rounds after some have come, quick ones between."""
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        async with staged(Path(folder), Recipe(size=SIZES[size])) as stage:
            specs = [job.spec for job in stage.snapshot.jobs]
            await stage.submit(specs)
            new = specs[: int(len(specs) * NEW_SHARE)]
            watches: dict[str, tuple[Watch, list[float]]] = {}
            for number in range(WHOLE_ROUNDS):
                await _round(stage, "first" if number == 0 else "whole", watches)
                for _ in range(QUICK_ROUNDS):
                    await stage.submit(new[: len(new) // QUICK_ROUNDS])
                    await _round(stage, "quick", watches)
                # Whole rounds rest so long at most.
                await asyncio.sleep(10.0)
            mine, its = _peak_mb(os.getpid()), _peak_mb(_planner_pid())
    rows = []
    for kind, (watch, walls_s) in watches.items():
        row = Row(
            label=label,
            jobs=len(specs),
            kind=kind,
            rounds=len(walls_s),
            wall_s=quantile(walls_s, 0.5),
            late_p99_ms=quantile(watch.late_s, 0.99) * 1000,
            late_most_ms=max(watch.late_s) * 1000,
            held_ms=watch.held_s * 1000,
            held_cpu_ms=watch.held_cpu_s * 1000,
            scheduler_mb=mine,
            planner_mb=its,
        )
        print(f"… {row}", file=sys.stderr)
        rows.append(row)
    return rows


async def _round(stage: Stage, kind: str, watches: dict[str, tuple[Watch, list[float]]]) -> None:
    stage.report()
    watch, walls_s = watches.setdefault(kind, (Watch(), []))
    began_s = time.perf_counter()
    async with watch.on():
        await stage.loop.round("bench")
    walls_s.append(time.perf_counter() - began_s)


def _kept(label: str) -> list[Row]:
    """What is in the file of other labels."""
    if not FILE.is_file():
        return []
    rows = [Row(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))["rows"]]
    return [row for row in rows if row.label != label]


def _show(rows: Sequence[Row]) -> None:
    table = Table(title="Rounds beside the calls", title_justify="left")
    heads = ("rounds", "jobs", "kind", "n", "round s", "late p99 ms", "late most ms")
    for head in (*heads, "held ms", "held CPU ms", "scheduler MB", "planner MB"):
        table.add_column(head, justify="left" if head in ("rounds", "kind") else "right")
    for row in rows:
        figures = (row.late_p99_ms, row.late_most_ms, row.held_ms, row.held_cpu_ms)
        table.add_row(
            row.label,
            f"{row.jobs:,}",
            row.kind,
            str(row.rounds),
            f"{row.wall_s:.2f}",
            *(f"{figure:,.1f}" for figure in figures),
            f"{row.scheduler_mb:,.0f}",
            f"{row.planner_mb:,.0f}",
        )
    show(table)


def main() -> int:
    asked = argparse.ArgumentParser(prog="make bench-rounds ARGS=…")
    asked.add_argument("--sizes", nargs="+", default=["10k", "100k"], choices=list(SIZES))
    asked.add_argument("--label", default="now")
    given = asked.parse_args()
    load_before = os.getloadavg()[0]
    collect_rarely()
    sys.setswitchinterval(SWITCH_S)
    rows = _kept(given.label)
    for size in given.sizes:
        rows += asyncio.run(measured(size, given.label))
    _show(rows)
    figures = [asdict(row) for row in rows]
    keep("rounds", load_before=load_before, machine=this_machine(), rows=figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
