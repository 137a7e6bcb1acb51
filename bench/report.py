"""What a bench has measured: a table for people, a file for comparison."""

import json
import os
import platform
import re
import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("grpcio", "ray", "ortools", "sqlalchemy", "protobuf")
FSYNC_TRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way of doing it. Figures that were not taken are None.

    ``rates_per_s`` has one entry per repeat; ``p50_ms`` and ``p99_ms`` are over all of them.
    ``cpu_ms`` is the processor time that the scheduler's process took per job.
    """

    way: str
    count: int
    rates_per_s: Sequence[float] = ()
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_ms: float | None = None
    note: str = ""

    @property
    def rate_per_s(self) -> float | None:
        """The median of the repeats."""
        return quantile(self.rates_per_s, 0.5) if self.rates_per_s else None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-share * len(ranked) // 1) - 1))]


def latencies(way: str, taken_s: Sequence[float], *, note: str = "") -> Row:
    """A row of durations alone, in seconds."""
    return Row(
        way=way,
        count=len(taken_s),
        p50_ms=quantile(taken_s, 0.5) * 1000,
        p99_ms=quantile(taken_s, 0.99) * 1000,
        note=note,
    )


def this_machine() -> dict[str, object]:
    """``machine`` for what wrote to the folder of temporary files, or to none."""
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        return machine(Path(folder))


def machine(folder: Path) -> dict[str, object]:
    """What the figures depend on; ``folder`` is where the measured programs wrote."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processor": model.group(1) if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in PACKAGES},
        "fsync_p50_ms": round(_fsync_p50_ms(folder), 3),
    }


def publish(
    name: str,
    title: str,
    rows: Sequence[Row],
    *,
    machine: dict[str, object],
    load_before: float,
    targets: dict[str, str],
) -> None:
    """Prints the table and writes ``results/NAME.json``.

    Args:
        load_before: the machine's load average over one minute before the bench began.
        targets: what was aimed at, and what came of it, in words.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("way")
    for column in ("count", "per second", "p50 ms", "p99 ms", "CPU ms"):
        table.add_column(column, justify="right")
    table.add_column("note")
    for row in rows:
        figures = (row.rate_per_s, row.p50_ms, row.p99_ms)
        told = ["–" if figure is None else f"{figure:,.1f}" for figure in figures]
        told.append("–" if row.cpu_ms is None else f"{row.cpu_ms:.2f}")
        table.add_row(row.way, f"{row.count:,}", *told, row.note)
    show(table, targets)
    told_rows = [{**asdict(row), "rate_per_s": row.rate_per_s} for row in rows]
    keep(name, load_before=load_before, machine=machine, rows=told_rows, targets=targets)


def show(table: Table, targets: Mapping[str, str] = MappingProxyType({})) -> None:
    """Prints a table, wide enough for its figures where there is no terminal, and what came of
    the targets."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    console.print(table)
    for target, outcome in targets.items():
        console.print(f"{target}: {outcome}", highlight=False)


def keep(name: str, *, load_before: float, machine: dict[str, object], **figures: object) -> None:
    """Writes ``results/NAME.json``: the figures, and what they depend on.

    Args:
        load_before: the machine's load average over one minute before the bench began.
    """
    result = {
        "name": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "load_1min_before": load_before,
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _fsync_p50_ms(folder: Path) -> float:
    """How long the disk takes to keep a page: the floor under every durable acknowledgement."""
    taken_s = []
    path = folder / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNC_TRIES):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_s.append(time.perf_counter() - began_s)
    path.unlink()
    return quantile(taken_s, 0.5) * 1000
