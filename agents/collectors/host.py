"""The host: cores, memory, disk and load."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from agents.collectors.base import CollectorError, Span
from agents.config import Host


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What jobs may use of the host, and how busy it is, 0 to 1, since the reading before."""

    cpus: float
    memory_gb: float
    cpu_power_kw: float
    cpu_load: float
    disk_free_gb: float


class PsutilHost:
    """What the kernel says, unless the configuration says otherwise."""

    name = "host (psutil)"

    def __init__(self, declared: Host, data_dir: Path) -> None:
        self._declared = declared
        self._disk = declared.disk or data_dir
        psutil.cpu_percent()  # the first call has nothing to compare with and answers 0

    def read(self, span: Span) -> HostFacts:
        cpus = self._declared.cpus or psutil.cpu_count()
        if not cpus:
            raise CollectorError("the kernel does not say how many CPUs there are; set host.cpus")
        return HostFacts(
            cpus=float(cpus),
            memory_gb=self._declared.memory_gb or psutil.virtual_memory().total / 1e9,
            cpu_power_kw=self._declared.cpu_power_kw,
            cpu_load=round(psutil.cpu_percent() / 100, 2),
            disk_free_gb=self._disk_free_gb(),
        )

    def _disk_free_gb(self) -> float:
        # The folder is made when the daemon first runs.
        there = next((path for path in (self._disk, *self._disk.parents) if path.exists()), None)
        if there is None:
            raise CollectorError(f"{self._disk}: no such folder, nor any above it")
        try:
            return float(round(psutil.disk_usage(str(there)).free / 1e9))
        except OSError as error:
            raise CollectorError(f"{there}: free space cannot be read: {error}") from error
