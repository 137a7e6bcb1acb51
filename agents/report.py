"""What this node measures, and telling the scheduler what of it has changed."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message

from agents import wire
from agents.collectors.base import Span
from agents.collectors.declared import AcceleratorFacts, ConstantPue, DeclaredAccelerators
from agents.collectors.green import GreenFile
from agents.collectors.host import HostFacts, PsutilHost
from agents.collectors.reading import Reading
from agents.collectors.tariff import TariffTable
from agents.config import AgentConfig, Head
from agents.latency import Prober
from agents.link import Session
from agents.waiting import wait
from scheduler.domain.series import Series
from westward.v1 import node_pb2

log = structlog.get_logger()

# Reports without an acknowledgement that are remembered.
REMEMBERED_REPORTS = 16
JITTER = 0.2


class Ledger:
    """Which parts of a report the scheduler has, on one stream: pure.

    A part is named, and compared by its bytes.
    """

    def __init__(self) -> None:
        self._acknowledged: dict[str, bytes] = {}
        self._sent: dict[int, dict[str, bytes]] = {}

    def changed(self, parts: Mapping[str, Message]) -> dict[str, Message]:
        """The parts that differ from what was last acknowledged."""
        return {
            name: part
            for name, part in parts.items()
            if self._acknowledged.get(name) != part.SerializeToString(deterministic=True)
        }

    def sent(self, seq: int, parts: Mapping[str, Message]) -> None:
        """Notes what the report with this seq carried."""
        self._sent[seq] = {
            name: part.SerializeToString(deterministic=True) for name, part in parts.items()
        }
        self._sent.pop(min(self._sent) if len(self._sent) > REMEMBERED_REPORTS else -1, None)

    def acknowledge(self, seq: int) -> None:
        """Takes an acknowledgement; one that is unknown, repeated or late changes nothing."""
        parts = self._sent.get(seq)
        if parts is None:
            return
        self._acknowledged.update(parts)
        for older in [known for known in self._sent if known <= seq]:
            del self._sent[older]


@dataclass(frozen=True, slots=True)
class SiteReadings:
    """The head's sources of what holds for the whole cluster."""

    head: Head
    price: Reading[Series]
    green: Reading[Series]
    pue: Reading[Series]


@dataclass(frozen=True, slots=True)
class Readings:
    """All sources of one agent."""

    accelerators: Reading[AcceleratorFacts]
    host: Reading[HostFacts]
    site: SiteReadings | None

    @classmethod
    def configured(cls, config: AgentConfig) -> "Readings":
        """The sources that the configuration names."""
        return cls(
            Reading(DeclaredAccelerators(config.accelerators)),
            Reading(PsutilHost(config.host)),
            _site(config.head) if config.head is not None else None,
        )

    async def refresh(self, span: Span) -> None:
        """Reads all sources at once; one that fails keeps its last value."""
        await asyncio.gather(*(reading.refresh(span) for reading in self.all()))

    def all(self) -> tuple[Reading[AcceleratorFacts] | Reading[HostFacts] | Reading[Series], ...]:
        site = (self.site.price, self.site.green, self.site.pue) if self.site else ()
        return (self.accelerators, self.host, *site)

    def node_facts(self) -> node_pb2.NodeFacts | None:
        """What was last read of the node; None before its first good reading."""
        accelerators, host = self.accelerators.value, self.host.value
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
        )

    def site_facts(self) -> node_pb2.SiteFacts | None:
        """What was last read of the cluster, unread series left out; None but on the head."""
        if self.site is None:
            return None
        head = self.site.head
        facts = node_pb2.SiteFacts(
            province=head.province,
            grid_carbon_g_per_kwh=head.grid_carbon_g_per_kwh,
            power_cap_kw=head.power_cap_kw,
            links=[node_pb2.LinkFacts(**link.model_dump()) for link in head.links],
        )
        for field, reading in (
            (facts.price_yuan_per_kwh, self.site.price),
            (facts.green_supply_kw, self.site.green),
            (facts.pue, self.site.pue),
        ):
            if reading.value is not None:
                field.CopyFrom(wire.series(reading.value))
        return facts


def _site(head: Head) -> SiteReadings:
    price = TariffTable(
        head.price.table,
        province=head.price.province or head.province,
        flat_yuan_per_kwh=head.price.flat_yuan_per_kwh,
        time_zone=head.price.time_zone,
    )
    green = GreenFile(head.green.file, time_zone=head.green.time_zone)
    return SiteReadings(head, Reading(price), Reading(green), Reading(ConstantPue(head.pue)))


class Reporter:
    """Sends reports on a stream: all parts on the first, then those that changed."""

    def __init__(self, readings: Readings, prober: Prober | None) -> None:
        self._readings = readings
        self._prober = prober
        self._ledger = Ledger()
        self._rejected: set[tuple[str, str, str]] = set()

    async def run(self, session: Session, terms: wire.Terms) -> None:
        """Reports until cancelled, every interval with jitter, and at once on new round trips."""
        self._ledger = Ledger()
        if self._prober is not None:
            self._prober.probe(terms.gateways)
        while True:
            if self._prober is not None:
                self._prober.news.clear()
            await self._readings.refresh(Span(terms.clock.now(), terms.slot_s, terms.horizon_s))
            changed = self._ledger.changed(self._parts())
            seq = await session.send(report=_assembled(changed))
            self._ledger.sent(seq, changed)
            await self._pause(terms.report_interval_s)

    async def on_ack(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes an acknowledgement; what was not believed is logged once."""
        self._ledger.acknowledge(message.report_ack.seq)
        rejected = {(r.field, r.value, r.reason) for r in message.report_ack.rejections}
        for field, value, reason in sorted(rejected - self._rejected):
            log.warning("report_rejected", field=field, value=value, reason=reason)
        if rejected:
            self._rejected = rejected

    def _parts(self) -> dict[str, Message]:
        parts: dict[str, Message] = {}
        if (node := self._readings.node_facts()) is not None:
            parts["node"] = node
        if (site := self._readings.site_facts()) is not None:
            parts["site"] = site
        if self._prober is not None:
            for region, rtt in self._prober.measured().items():
                parts[f"rtt/{region}"] = rtt.facts(region)
        return parts

    async def _pause(self, interval_s: float) -> None:
        pause_s = interval_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        if self._prober is None:
            await asyncio.sleep(pause_s)
        else:
            await wait(self._prober.news, pause_s)


def _assembled(parts: Mapping[str, Message]) -> node_pb2.Report:
    report = node_pb2.Report()
    for part in parts.values():
        if isinstance(part, node_pb2.NodeFacts):
            report.node.CopyFrom(part)
        elif isinstance(part, node_pb2.SiteFacts):
            report.site.CopyFrom(part)
        elif isinstance(part, node_pb2.RttFacts):
            report.rtt.append(part)
    return report
