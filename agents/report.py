"""What this node measures, and telling the scheduler what of it has changed."""

import asyncio
import random
from collections.abc import Mapping

import structlog
from google.protobuf.message import Message

from agents import sickfile, wire
from agents.collectors.accelerators import Sick
from agents.collectors.base import Span
from agents.collectors.meter import told_kwh
from agents.collectors.notices import tell
from agents.collectors.readings import Readings
from agents.latency import Prober
from agents.link import Session
from agents.waiting import wait
from westward.v1 import node_pb2

log = structlog.get_logger()

# Reports without an acknowledgement that are remembered.
REMEMBERED_REPORTS = 16
JITTER = 0.2
# How often it is looked whether there is anything to go on with, before a first stream.
ALONE_S = 1.0
REACH_LEAST_S = 2 * 86400.0
# Where slots are seconds long, two days of them would be a message of megabytes.
STEPS_MOST = 2880


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


class Reporter:
    """Sends reports on a stream: all parts on the first, then those that changed."""

    def __init__(self, readings: Readings, prober: Prober | None) -> None:
        self._readings = readings
        self._prober = prober
        self._ledger = Ledger()
        # What the scheduler has not believed: field, value and reason.
        self.rejected: set[tuple[str, str, str]] = set()
        # Of the last stream, while there is none.
        self._terms: wire.Terms | None = None
        self._connected = False
        # What the file says; None before this daemon has written it.
        self._written: tuple[Sick, ...] | None = None
        # Accelerators and attempts that were told of them.
        self._told_of: set[tuple[str, str]] = set()

    async def run(self, session: Session, terms: wire.Terms) -> None:
        """Reports until cancelled, every interval with jitter, and at once on new round trips."""
        self._ledger = Ledger()
        self._terms, self._connected = terms, True
        if self._prober is not None:
            self._prober.probe(terms.gateways)
        try:
            while True:
                if self._prober is not None:
                    self._prober.news.clear()
                await self._read(terms)
                changed = self._ledger.changed(self._parts())
                seq = await session.send(report=_assembled(changed))
                self._ledger.sent(seq, changed)
                await self._pause(terms.report_interval_s)
        finally:
            self._connected = False

    async def watch_alone(self) -> None:
        """Goes on reading while the scheduler is away, until cancelled: attempts go on too, and
        what falls sick under them must be known."""
        while True:
            # Nothing is told meanwhile; how often it is looked is as with a scheduler.
            await asyncio.sleep(self._terms.report_interval_s if self._terms else ALONE_S)
            if self._terms is not None and not self._connected:
                await self._read(self._terms)

    async def _read(self, terms: wire.Terms) -> None:
        await self._readings.refresh(_span(terms))
        try:
            await self._tell_of_sick()
        except Exception as error:
            # A full disk, as a rule: the report is worth more than the word to an attempt.
            log.error("sick_not_told", error=repr(error))

    async def on_ack(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes an acknowledgement; what was not believed is logged once."""
        self._ledger.acknowledge(message.report_ack.seq)
        rejected = {(r.field, r.value, r.reason) for r in message.report_ack.rejections}
        for field, value, reason in sorted(rejected - self.rejected):
            log.warning("report_rejected", field=field, value=value, reason=reason)
        if rejected:
            self.rejected = rejected

    async def _tell_of_sick(self) -> None:
        """Tells every attempt once of an accelerator of its own that was withdrawn, and those to
        come of all that are."""
        readings = self._readings
        found = readings.sick()
        if found != self._written:
            await asyncio.to_thread(sickfile.write, readings.attempts_dir.parent, found)
            self._written = found
        sick = {one.id: one.reason for one in found}
        told = set()
        for device_id, reason in sick.items():
            for attempt_id in readings.meter.holders(device_id):
                told.add((device_id, attempt_id))
                if (device_id, attempt_id) not in self._told_of:
                    text = f"accelerator {device_id} is sick and withdrawn: {reason}"
                    log.warning("accelerator_sick", attempt=attempt_id, told=text)
                    await asyncio.to_thread(tell, readings.attempts_dir, attempt_id, text)
        self._told_of = told

    def _parts(self) -> dict[str, Message]:
        """What there is to tell, by name. A part that cannot be said, whatever a collector's bug
        put in it, is left out: it must not silence the others."""
        parts: dict[str, Message] = {}
        for make in (self._node, self._site, self._energy, self._rtt):
            try:
                parts |= make()
            except Exception as error:
                log.error("part_cannot_be_said", part=make.__name__[1:], error=repr(error))
        return parts

    def _node(self) -> dict[str, Message]:
        node = self._readings.node_facts()
        return {"node": node} if node is not None else {}

    def _site(self) -> dict[str, Message]:
        site = self._readings.site_facts()
        return {"site": site} if site is not None else {}

    def _energy(self) -> dict[str, Message]:
        parts: dict[str, Message] = {}
        for attempt_id, account in self._readings.meter.accounts().items():
            kwh, estimated_kwh = told_kwh(account)
            parts[f"energy/{attempt_id}"] = node_pb2.EnergyFacts(
                attempt_id=attempt_id,
                kwh=kwh,
                estimated_kwh=estimated_kwh,
                gpus=account.gpus,
            )
        return parts

    def _rtt(self) -> dict[str, Message]:
        measured = self._prober.measured() if self._prober is not None else {}
        return {f"rtt/{region}": rtt.facts(region) for region, rtt in measured.items()}

    async def _pause(self, interval_s: float) -> None:
        pause_s = interval_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        if self._prober is None:
            await asyncio.sleep(pause_s)
        else:
            await wait(self._prober.news, pause_s)


def _span(terms: wire.Terms) -> Span:
    """What series cover: as far as is planned, and two days at least."""
    least_s = min(REACH_LEAST_S, STEPS_MOST * min(terms.slot_s, 3600.0))
    return Span(terms.clock.now(), terms.slot_s, max(terms.horizon_s, least_s))


def _assembled(parts: Mapping[str, Message]) -> node_pb2.Report:
    report = node_pb2.Report()
    for part in parts.values():
        if isinstance(part, node_pb2.NodeFacts):
            report.node.CopyFrom(part)
        elif isinstance(part, node_pb2.SiteFacts):
            report.site.CopyFrom(part)
        elif isinstance(part, node_pb2.RttFacts):
            report.rtt.append(part)
        elif isinstance(part, node_pb2.EnergyFacts):
            report.energy.append(part)
    return report
