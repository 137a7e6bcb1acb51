"""The host: cores, memory and load."""

from dataclasses import dataclass

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


class PsutilHost:
    """What the kernel says, unless the configuration says otherwise."""

    name = "host (psutil)"

    def __init__(self, declared: Host) -> None:
        self._declared = declared
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
        )
