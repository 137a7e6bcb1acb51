"""Many agents in one process: the link, the ledger and the reporter that a host runs, each on a
connection of its own; only what they would read of their host is made up.

Prints a line of JSON a second: connected agents, reports acknowledged so far, connections so far.
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agents.collectors.base import Span
from agents.collectors.readings import Readings
from agents.config import AgentConfig, SchedulerAddress
from agents.link import Link, Session
from agents.report import Reporter
from agents.wire import Terms
from agents.wire import series as series_pb
from scheduler.domain.series import Series
from scheduler.heap import collect_rarely
from westward.v1 import node_pb2

NODES_PER_CLUSTER = 100
GPUS = 8
# The load that a node tells is the time at which it was read: whoever sees it knows its age.
STAMP_WRAP_S = 100.0
SLOT_S = 900.0
SLOTS = 96


class MadeUp(Readings):
    """A node with eight accelerators whose load differs in every report."""

    async def refresh(self, span: Span) -> None:
        return

    def node_facts(self) -> node_pb2.NodeFacts:
        return node_pb2.NodeFacts(
            accelerator="A800",
            gpus=GPUS,
            cpus=96,
            memory_gb=1024,
            gpu_power_kw=0.6,
            cpu_power_kw=0.01,
            cpu_load=time.monotonic() % STAMP_WRAP_S / STAMP_WRAP_S,
        )


class MadeUpHead(MadeUp):
    """The same, and what holds for its cluster: a day in quarter hours, which does not change."""

    def site_facts(self) -> node_pb2.SiteFacts:
        start_at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

        def day(value: float) -> node_pb2.Series:
            return series_pb(Series(start_at, SLOT_S, (value,) * SLOTS, "made up"))

        return node_pb2.SiteFacts(
            province="Gansu",
            price_yuan_per_kwh=day(0.398),
            green_supply_kw=day(5000.0),
            pue=day(1.15),
            grid_carbon_g_per_kwh=477,
        )


class Count:
    """What the whole herd has done so far."""

    def __init__(self) -> None:
        self.connected = 0
        self.connections = 0
        self.acknowledged = 0

    async def here(self, session: Session, terms: Terms) -> None:
        """A worker of every stream that does nothing but be counted."""
        self.connected += 1
        self.connections += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.connected -= 1


def an_agent(number: int, config: AgentConfig, count: Count) -> Link:
    """The agent with a number; every hundredth is the head of a cluster."""
    head = number % NODES_PER_CLUSTER == 0
    reporter = Reporter((MadeUpHead if head else MadeUp).configured(config), None)

    async def on_ack(session: Session, message: node_pb2.ConnectResponse) -> None:
        count.acknowledged += 1
        await reporter.on_ack(session, message)

    hello = node_pb2.Hello(
        node_id=f"node-{number:05}",
        cluster=f"cluster-{number // NODES_PER_CLUSTER:03}",
        head=head,
        agent_version="bench",
        incarnation=uuid.uuid4().hex,
    )
    return Link(
        config.scheduler,
        hello,
        handlers={"report_ack": on_ack},
        workers=[reporter.run, count.here],
    )


async def tell(count: Count) -> None:
    """A line a second, with the time it was meant for and the time it was: a herd that is late
    measures itself and not the scheduler."""
    while True:
        due_s = time.monotonic() + 1.0
        await asyncio.sleep(1.0)
        line = {
            "at_s": time.monotonic(),
            "late_ms": round((time.monotonic() - due_s) * 1000, 1),
            "connected": count.connected,
            "connections": count.connections,
            "acknowledged": count.acknowledged,
            "cpu_s": time.process_time(),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(line), flush=True)


async def run(address: str, agents: int, first: int, spread_s: float) -> None:
    """All agents, started over ``spread_s``, until the process is ended."""
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        # One for all: what a daemon writes there it writes when it starts.
        config = AgentConfig(
            node_id="herd",
            cluster="herd",
            scheduler=SchedulerAddress(address=address),
            data_dir=Path(folder),
        )
        config.node_dir.mkdir()
        await _all(config, agents, first, spread_s, count)


async def _all(config: AgentConfig, agents: int, first: int, spread_s: float, count: Count) -> None:
    links = [an_agent(number, config, count) for number in range(first, first + agents)]
    # A host's daemon has one link to search for garbage, not ten thousand.
    gc.freeze()
    collect_rarely()
    async with asyncio.TaskGroup() as group:
        group.create_task(tell(count))
        for link in links:
            group.create_task(_later(link, spread_s))


async def _later(link: Link, spread_s: float) -> None:
    await asyncio.sleep(random.uniform(0, spread_s))
    await link.run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--spread-s", type=float, default=10.0)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    asyncio.run(run(given.address, given.agents, given.first, given.spread_s))


if __name__ == "__main__":
    main()
