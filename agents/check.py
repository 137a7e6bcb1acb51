"""What is wrong with a configuration, and what each source reads right now."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from agents.collectors.base import Span
from agents.collectors.declared import AcceleratorFacts
from agents.collectors.host import HostFacts
from agents.config import ConfigError, load
from agents.report import Readings
from scheduler.domain.series import Series

SLOT_S = 900.0
REACH_S = 86400.0


async def check(config_path: Path) -> tuple[bool, list[str]]:
    """Whether all is well, and a line for each source: its name, then the reading or the error."""
    try:
        config = load(config_path)
    except ConfigError as error:
        return False, [str(error)]
    role = "head" if config.head is not None else "node"
    lines = [f"{config_path}: {config.node_id}, {role} of cluster {config.cluster}"]
    readings = Readings.configured(config)
    await readings.refresh(Span(datetime.now(UTC), SLOT_S, REACH_S))
    well = True
    for reading in readings.all():
        well = well and reading.error is None
        told = f"ERROR {reading.error}" if reading.error else _told(reading.value)
        lines.append(f"{reading.name}: {told}")
    return well, lines


def main(config_path: Path) -> int:
    """Prints the check; answers the exit code, 0 when all is well, else 2."""
    well, lines = asyncio.run(check(config_path))
    print("\n".join(lines))
    return 0 if well else 2


def _told(value: AcceleratorFacts | HostFacts | Series | None) -> str:
    match value:
        case AcceleratorFacts(count=0):
            return "none"
        case AcceleratorFacts(model, count, power_kw):
            return f"{count} × {model}, {power_kw:g} kW each under load"
        case HostFacts(cpus=cpus, memory_gb=memory_gb):
            return f"{cpus:g} CPUs, {memory_gb:.1f} GB"
        case Series(values=values):
            return f"now {values[0]:g}, least {min(values):g}, most {max(values):g} in 24 h"
        case None:
            return "nothing"
