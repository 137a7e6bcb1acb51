"""`make bench-agents`: how many agents one scheduler carries, the storm when all of them come back
at once, and what one agent costs its host.

One scheduler with SQLite and its planner, as in production, in a process of its own; the herd in
another; what is reported is seen in a third, which asks for the nodes of one cluster as an operator
would. Processor times are those of the processes, from the kernel: on a machine that does other
things besides, they hold where wall times do not.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import psutil
import yaml

from agents.status import FILE as STATUS_FILE
from bench.agents.herd import NODES_PER_CLUSTER, STAMP_WRAP_S
from bench.report import Row, machine, publish, quantile
from examples.demo.processes import Processes, free_ports
from scheduler.client import Client
from scheduler.client.errors import WestwardError
from westward.v1 import placement_pb2

REGIONS = ("beijing", "shanghai", "guangzhou", "shenzhen")
SEEN_CLUSTER = "cluster-000"
POLL_S = 0.02
LIMIT_S = 300.0
STORM_TARGET_S = 60.0
REPORT_INTERVAL_S = 5.0


@dataclass
class Herd:
    """A process full of agents, and the last thing that it said of itself."""

    process: "Popen[str]"
    last: dict[str, float] = field(default_factory=dict)

    def follow(self) -> None:
        """Reads what it says until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = json.loads(line)

    def await_(self, connected: int) -> None:
        """Until so many agents are connected.

        Raises:
            RuntimeError: that takes too long.
        """
        until = time.monotonic() + LIMIT_S
        while self.last.get("connected", 0) < connected:
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"{self.last} after {LIMIT_S:g} s, not {connected} connected")
            time.sleep(0.1)  # the herd tells once a second


@contextmanager
def a_herd(address: str, agents: int) -> Iterator[Herd]:
    """Agents that connect over ten seconds."""
    command = [sys.executable, "-m", "bench.agents.herd"]
    command += ["--address", address, "--agents", str(agents)]
    with Popen(command, stdout=PIPE, text=True) as process:
        herd = Herd(process)
        reader = threading.Thread(target=herd.follow, daemon=True)
        reader.start()
        try:
            yield herd
        finally:
            process.kill()


@dataclass
class Scheduler:
    """A scheduler that can be killed and started again on the same database."""

    processes: Processes
    config: Path
    address: str

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.processes.start("scheduler", "scheduler", "--config", str(self.config))
        with Client(self.address) as client:
            while True:
                try:
                    client.clusters()
                    return
                except WestwardError:
                    self.processes.check()
                    time.sleep(POLL_S)  # a port that begins to listen tells nobody

    def kill(self) -> None:
        """Ends it as a power cut would."""
        process = psutil.Process(self.processes.pid("scheduler"))
        for one in (*process.children(recursive=True), process):
            one.kill()
        process.wait()

    def cpu_s(self) -> float:
        """Processor time of its main process."""
        times = psutil.Process(self.processes.pid("scheduler")).cpu_times()
        return times.user + times.system

    def rss_mb(self) -> float:
        """Resident memory of its main process."""
        return float(psutil.Process(self.processes.pid("scheduler")).memory_info().rss) / 1e6


@contextmanager
def a_scheduler(folder: Path) -> Iterator[Scheduler]:
    """One that serves while entered."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    config = folder / "scheduler.yaml"
    keys = {
        "listen": address,
        "database_url": f"sqlite:///{folder / 'westward.db'}",
        "report_interval_s": REPORT_INTERVAL_S,
    }
    config.write_text(yaml.safe_dump(keys))
    scheduler = Scheduler(Processes(folder), config, address)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.processes.stop()


def ages_s(address: str, seconds: float) -> list[float]:
    """From the moment a node read what it reports to the moment an operator could see it: of every
    value that came to be seen in one cluster, as its nodes tell the time that they read."""
    seen: dict[str, float] = {}
    ages: list[float] = []
    until = time.monotonic() + seconds
    with Client(address) as client:
        while time.monotonic() < until:
            nodes = client.nodes(cluster=SEEN_CLUSTER).nodes
            now_s = time.monotonic()
            for node in nodes:
                stamp = node.facts.cpu_load
                if seen.get(node.id, stamp) != stamp:
                    ages.append((now_s - stamp * STAMP_WRAP_S) % STAMP_WRAP_S)
                seen[node.id] = stamp
            time.sleep(POLL_S)  # an operator's view is asked for, not watched
    return ages


def lifecycles(address: str) -> dict[str, int]:
    """How many nodes are in which state."""
    counted: dict[str, int] = {}
    with Client(address) as client:
        for node in client.nodes().nodes:
            name = placement_pb2.NodeLifecycle.Name(node.lifecycle).removeprefix("NODE_LIFECYCLE_")
            counted[name] = counted.get(name, 0) + 1
    return counted


def steady(scheduler: Scheduler, herd: Herd, agents: int, seconds: float) -> Row:
    """What the scheduler does while all report. Nobody asks it for anything until its processor
    time is taken; then an operator's view is asked for, again and again."""
    before, cpu_before_s, at_s = dict(herd.last), scheduler.cpu_s(), time.monotonic()
    time.sleep(seconds)
    cpu_s, took_s = scheduler.cpu_s() - cpu_before_s, time.monotonic() - at_s
    after = dict(herd.last)
    ages = ages_s(scheduler.address, seconds)
    heard_s = after["at_s"] - before["at_s"]
    reports = after["acknowledged"] - before["acknowledged"]
    herd_cpu_s = after["cpu_s"] - before["cpu_s"]
    rate = reports / heard_s
    herd_kb = after["rss_mb"] / agents * 1000
    note = (
        f"scheduler {cpu_s / took_s:.0%} of a core, {scheduler.rss_mb():,.0f} MB; herd "
        f"{herd_cpu_s / heard_s:.0%} of a core, {herd_kb:,.0f} kB an agent, its timers "
        f"{after['late_ms']:,.0f} ms late; machine's load {os.getloadavg()[0]:.1f}; "
        f"{lifecycles(scheduler.address)}"
    )
    return Row(
        way=f"{agents:,} agents, a report per {REPORT_INTERVAL_S:g} s each",
        count=int(reports),
        rates_per_s=[rate],
        p50_ms=quantile(ages, 0.5) * 1000,
        p99_ms=quantile(ages, 0.99) * 1000,
        cpu_ms=cpu_s / took_s / rate * 1000,
        note=note,
    )


def storm(scheduler: Scheduler, herd: Herd, agents: int, away_s: float) -> Row:
    """All come back to a scheduler that was away until they were deep in their back-off."""
    scheduler.kill()
    time.sleep(away_s)
    scheduler.start()
    began_s, connections = time.monotonic(), herd.last["connections"]
    herd.await_(agents)
    took_s = time.monotonic() - began_s
    tries = herd.last["connections"] - connections
    states = lifecycles(scheduler.address)
    return Row(
        way=f"{agents:,} agents come back after {away_s:g} s",
        count=agents,
        rates_per_s=[agents / took_s],
        cpu_ms=scheduler.cpu_s() / agents * 1000,
        note=f"all back {took_s:.1f} s after it answered, in {tries:,.0f} connections; {states}; "
        f"load {os.getloadavg()[0]:.1f}",
    )


def one_agent(folder: Path, seconds: float, regions: int) -> Row:
    """A real daemon with eight declared accelerators, alone in its cluster: it measures the way to
    every region by itself."""
    ports = free_ports(regions + 1)
    processes = Processes(folder)
    address = f"127.0.0.1:{ports[0]}"
    gateways = dict(zip(REGIONS, ports[1:], strict=False))
    keys: dict[str, Any] = {
        "listen": address,
        "database_url": f"sqlite:///{folder / 'one.db'}",
        "regions": {name: {"gateway": f"127.0.0.1:{port}"} for name, port in gateways.items()},
    }
    (folder / "one.yaml").write_text(yaml.safe_dump(keys))
    node = {
        "node_id": "one",
        "cluster": "one",
        "scheduler": {"address": address},
        "data_dir": str(folder / "data"),
        "accelerators": {"model": "A800", "count": 8, "gpu_power_kw": 0.6},
    }
    (folder / "node.yaml").write_text(yaml.safe_dump(node))
    try:
        for name, port in gateways.items():
            processes.start(name, "gateway", "--region", name, "--listen", f"127.0.0.1:{port}")
        Scheduler(processes, folder / "one.yaml", address).start()
        processes.start("agent", "agent", "--config", str(folder / "node.yaml"))
        while not any((folder / "data").rglob(STATUS_FILE)):
            processes.check()
            time.sleep(POLL_S)  # a file that appears tells nobody
        time.sleep(20)  # imports and the quick first probes are not what it costs for years
        agent = psutil.Process(processes.pid("agent"))
        before = agent.cpu_times()
        time.sleep(seconds)
        after = agent.cpu_times()
        rss_mb = agent.memory_info().rss / 1e6
    finally:
        processes.stop()
    share = (after.user + after.system - before.user - before.system) / seconds
    return Row(
        way=f"one agent without Ray, measuring {regions} regions",
        count=1,
        note=f"{share:.2%} of a core over {seconds:g} s, {rss_mb:.1f} MB resident",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--away-s", type=float, default=20.0)
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        about = machine(folder)
        for regions in (0, len(REGIONS)):
            rows.append(one_agent(_made(folder / f"one-{regions}"), given.seconds, regions))
            print(rows[-1], file=sys.stderr)
        for agents in given.agents:
            with (
                a_scheduler(_made(folder / str(agents))) as scheduler,
                a_herd(scheduler.address, agents) as herd,
            ):
                herd.await_(agents)
                time.sleep(6 * REPORT_INTERVAL_S)  # the arrival of the herd is not its steady state
                rows.append(steady(scheduler, herd, agents, given.seconds))
                print(rows[-1], file=sys.stderr)
                rows.append(storm(scheduler, herd, agents, given.away_s))
                print(rows[-1], file=sys.stderr)
    publish(
        "agents",
        f"Agents on one scheduler, {NODES_PER_CLUSTER} nodes a cluster",
        rows,
        machine=about,
        load_before=load_before,
        targets={
            "10,000 agents at a report per 5 s on one core of the scheduler": rows[-2].note,
            f"the storm over in < {STORM_TARGET_S:g} s, nobody lost": rows[-1].note,
            "an agent < 1 % of a core and < 80 MB": rows[1].note,
        },
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
