"""What is wrong with a configuration, and what each source reads right now."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.collectors.accelerators import AcceleratorFacts
from agents.collectors.base import Span
from agents.collectors.host import HostFacts
from agents.collectors.readings import Readings
from agents.config import AgentConfig, ConfigError, load
from scheduler.domain.series import Series

SLOT_S = 900.0
REACH_S = 2 * 86400.0
Facts = AcceleratorFacts | HostFacts | Series
# Some tools take longer than an agent waits for one report.
TRIES = 4


@dataclass(frozen=True, slots=True)
class Read:
    """What one source reads right now: ``told``, and what is wrong with it, if anything."""

    name: str
    told: str
    trouble: str = ""


async def check(config: AgentConfig) -> list[Read]:
    """What each source reads, in the order of a report."""
    readings = Readings.configured(config)
    for _ in range(TRIES):
        await readings.refresh(Span(datetime.now(UTC), SLOT_S, REACH_S))
        if all(reading.value is not None for reading in readings.all()):
            break
    return [read_of(reading.name, reading.value, reading.error) for reading in readings.all()]


def main(config_path: Path) -> int:
    """Prints the check; answers the exit code, 0 when all is well, else 2."""
    try:
        config = load(config_path)
    except ConfigError as error:
        print(error)
        return 2
    with _quiet():
        reads = asyncio.run(check(config))
    console = Console(highlight=False)
    console.print(_rendered(config, config_path, reads))
    return 2 if any(read.trouble for read in reads) else 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log, which says the same as the table."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _rendered(config: AgentConfig, path: Path, reads: list[Read]) -> RenderableType:
    role = "head" if config.head is not None else "node"
    head = Text(f"{path}: {config.node_id}, {role} of cluster {config.cluster}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("SOURCE", overflow="fold")
    table.add_column("READS NOW", overflow="fold")
    for read in reads:
        told = Text(read.told)
        if read.trouble:
            told.append(f"{'; ' if read.told else ''}ERROR {read.trouble}", "bold red")
        table.add_row(Text(read.name), told)
    return Group(head, Text(), table)


def read_of(name: str, value: Facts | None, error: str | None) -> Read:
    """What a source has read, or why it has not, for people."""
    match value:
        case AcceleratorFacts():
            sick = "; ".join(f"{one.id} is withdrawn: {one.reason}" for one in value.sick)
            return Read(name, _accelerators(value), error or sick)
        case HostFacts():
            told = f"{value.cpus:g} CPUs, {value.memory_gb:.1f} GB, {value.disk_free_gb:,.0f} GB"
            return Read(name, f"{told} of disk free", error or "")
        case Series():
            return Read(name, _series(value), error or value.trouble)
        case None:
            return Read(name, "", error or "nothing")


def _accelerators(facts: AcceleratorFacts) -> str:
    if not facts.count:
        return "none"
    told = [f"{facts.count} × {facts.model}", f"{facts.power_kw:g} kW each under load"]
    if facts.memory_gb:
        told.append(f"{facts.memory_gb:g} GB each")
    told.append(f"{facts.pflops:g} PFLOPS" if facts.pflops else "PFLOPS unknown")
    if facts.draw_kw is not None:
        told.append(f"{facts.draw_kw:g} kW now")
    if facts.load is not None:
        told.append(f"{facts.load:.0%} busy")
    if facts.temperature_c is not None:
        told.append(f"{facts.temperature_c:g} °C at most")
    return ", ".join(told)


def _series(series: Series) -> str:
    values = series.values
    told = f"now {values[0]:g}"
    if len(values) > 1:
        told += f", least {min(values):g}, most {max(values):g} in {REACH_S / 3600:g} h"
    told += " (measured)" * (series.measured > 0)
    told += " (from a share)" * series.from_share
    if series.read_at is not None:
        age_s = max(0.0, (datetime.now(UTC) - series.read_at).total_seconds())
        told += f"; {_age(age_s)} old"
    return f"{told}; {series.source}"


def _age(seconds: float) -> str:
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
