"""All sources of one agent, as its configuration names them."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from agents import wire
from agents.collectors import site as site_sources
from agents.collectors.accelerators import (
    AcceleratorFacts,
    DeclaredAccelerators,
    Driver,
    ReadAccelerators,
    Sick,
    withdrawn,
)
from agents.collectors.base import Span
from agents.collectors.green import GreenSupply
from agents.collectors.host import HostFacts, PsutilHost
from agents.collectors.meter import Meter
from agents.collectors.nvidia import Nvml
from agents.collectors.price import price
from agents.collectors.reading import Reading
from agents.collectors.tools import ascend, cambricon, enflame
from agents.config import Accelerators, AgentConfig, Head
from scheduler.domain.series import Series
from westward.v1 import node_pb2

# Accelerators whose driver says nothing for so long are withdrawn: one that hangs is no well one.
WITHDRAW_AFTER_S = 15.0

AnyReading = Reading[AcceleratorFacts] | Reading[HostFacts] | Reading[Series]


@dataclass(frozen=True, slots=True)
class SiteReadings:
    """The head's sources of what holds for the whole cluster."""

    head: Head
    price: Reading[Series]
    green: Reading[Series]
    pue: Reading[Series]
    carbon: Reading[Series] | None

    @classmethod
    def configured(cls, head: Head) -> "SiteReadings":
        pue: site_sources.Declared | site_sources.Metered
        pue = site_sources.Declared("PUE", head.pue)
        if head.pue_metered is not None:
            pue = site_sources.pue(head.pue_metered, head.pue)
        carbon = None
        if head.grid_carbon is not None:
            carbon = Reading(site_sources.carbon(head.grid_carbon, head.grid_carbon_g_per_kwh))
        return cls(
            head,
            Reading(price(head.price, head.province)),
            Reading(GreenSupply(head.green)),
            Reading(pue),
            carbon,
        )

    def all(self) -> tuple[Reading[Series], ...]:
        return (self.price, self.green, self.pue, *((self.carbon,) if self.carbon else ()))

    def facts(self) -> node_pb2.SiteFacts:
        """What was last read, unread series left out."""
        head = self.head
        facts = node_pb2.SiteFacts(
            province=head.province,
            grid_carbon_g_per_kwh=head.grid_carbon_g_per_kwh,
            power_cap_kw=head.power_cap_kw,
            links=[node_pb2.LinkFacts(**link.model_dump()) for link in head.links],
        )
        for field, reading in (
            (facts.price_yuan_per_kwh, self.price),
            (facts.green_supply_kw, self.green),
            (facts.pue, self.pue),
        ):
            if (told := _told(reading)) is not None:
                field.CopyFrom(told)
        if self.carbon is not None and (told := _told(self.carbon)) is not None:
            facts.grid_carbon.CopyFrom(told)
        return facts


def _told(reading: Reading[Series]) -> node_pb2.Series | None:
    """The last good reading, with why there is no newer one."""
    if reading.value is None:
        return None
    return wire.series(replace(reading.value, trouble=reading.error or reading.value.trouble))


@dataclass(frozen=True, slots=True)
class Readings:
    """All sources of one agent, and the meter of its attempts."""

    accelerators: Reading[AcceleratorFacts]
    host: Reading[HostFacts]
    site: SiteReadings | None
    meter: Meter
    attempts_dir: Path

    @classmethod
    def configured(cls, config: AgentConfig) -> "Readings":
        """The sources that the configuration names."""
        keys = config.accelerators
        driver = _driver(keys) if keys is not None else None
        accelerators: Reading[AcceleratorFacts]
        if keys is None or driver is None:
            accelerators = Reading(DeclaredAccelerators(keys))
        else:
            accelerators = Reading(ReadAccelerators(keys, driver))
        return cls(
            accelerators,
            Reading(PsutilHost(config.host, config.data_dir)),
            SiteReadings.configured(config.head) if config.head is not None else None,
            Meter(keys, driver, node_dir=config.node_dir),
            config.node_dir / "attempts",
        )

    async def refresh(self, span: Span) -> None:
        """Reads all sources at once; one that fails keeps its last value."""
        await asyncio.gather(*(reading.refresh(span) for reading in self.all()))

    def all(self) -> tuple[AnyReading, ...]:
        return (self.accelerators, self.host, *(self.site.all() if self.site else ()))

    def sick(self) -> tuple[Sick, ...]:
        """Accelerators that must not be used."""
        facts = self._accelerators()
        return facts.sick if facts is not None else ()

    def node_facts(self) -> node_pb2.NodeFacts | None:
        """What was last read of the node; None before its first good reading."""
        accelerators, host = self._accelerators(), self.host.value
        if accelerators is None or host is None:
            return None
        return node_pb2.NodeFacts(
            accelerator=accelerators.model,
            gpus=accelerators.count,
            gpu_power_kw=accelerators.power_kw,
            cpus=host.cpus,
            memory_gb=host.memory_gb,
            cpu_power_kw=host.cpu_power_kw,
            cpu_load=host.cpu_load,
            pflops=accelerators.pflops,
            gpu_draw_kw=accelerators.draw_kw,
            gpu_load=accelerators.load,
            gpu_temperature_c=accelerators.temperature_c,
            gpu_memory_gb=accelerators.memory_gb,
            disk_free_gb=host.disk_free_gb,
            gpu_source=accelerators.source if accelerators.model else "",
            sick=[
                node_pb2.SickAccelerator(
                    id=one.id, reason=one.reason, attempt_ids=self.meter.holders(one.id)
                )
                for one in accelerators.sick
            ],
        )

    def site_facts(self) -> node_pb2.SiteFacts | None:
        """What was last read of the cluster, unread series left out; None but on the head."""
        return self.site.facts() if self.site is not None else None

    def _accelerators(self) -> AcceleratorFacts | None:
        """As last read; withdrawn when the driver has been silent for too long."""
        reading = self.accelerators
        if reading.error is None or reading.failing_s() < WITHDRAW_AFTER_S:
            return reading.value
        if reading.value is None:
            silent = Sick(0, reading.name, reading.error)
            return AcceleratorFacts("", 0, 0.0, source=reading.name, sick=(silent,))
        return withdrawn(reading.value, reading.error)


def _driver(keys: Accelerators) -> Driver | None:
    tool = [str(keys.tool)] if keys.tool is not None else []
    match keys.source:
        case "nvidia":
            return Nvml()
        case "ascend":
            return ascend(*tool)
        case "cambricon":
            return cambricon(*tool)
        case "enflame":
            return enflame(*tool)
        case "declared":
            return None
