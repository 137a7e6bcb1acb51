"""A scheduler, a gateway, an agent and a Ray cluster on this machine, to be measured."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from agents.executor.local_cluster import CLUSTERS_MAX, LocalCluster, LocalNode
from examples.demo.processes import Processes, free_ports
from scheduler.client import Client
from scheduler.client.errors import WestwardError
from tests.fakes.postgres import AVAILABLE, Postgres

DATA = Path(__file__).resolve().parents[1] / "examples" / "demo" / "data"
REGION = "shanghai"
READY_S = 180.0
POLL_S = 0.05


def a_cluster(folder: Path, gpus: int) -> LocalCluster:
    """One node with ``gpus`` accelerators by name only, with a dashboard; not started yet.

    Raises:
        RuntimeError: all places for clusters on this machine are taken.
    """
    node = LocalNode(node_id="bench-1", gpus=gpus, cpus=gpus, memory_gb=gpus)
    for index in range(CLUSTERS_MAX, 0, -1):
        cluster = LocalCluster(index=index, folder=folder, nodes=[node], dashboard=True)
        host, port = cluster.address.split(":")
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) != 0:
                return cluster
    raise RuntimeError(f"{CLUSTERS_MAX} local Ray clusters run already; end one")


@dataclass(frozen=True, slots=True)
class Serving:
    """A scheduler's host:port, and its process."""

    address: str
    pid: int

    def cpu_s(self) -> float:
        """Processor time that it has taken so far, without that of its planner."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


@contextmanager
def scheduler(folder: Path, database_url: str, gateway: str = "127.0.0.1:1") -> Iterator[Serving]:
    """A scheduler in a process of its own, once it answers."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    config = folder / "scheduler.yaml"
    keys = {
        "listen": address,
        "database_url": database_url,
        "regions": {REGION: {"gateway": gateway}},
    }
    config.write_text(yaml.safe_dump(keys))
    processes = Processes(folder)
    try:
        processes.start("scheduler", "scheduler", "--config", str(config))
        _await(processes, address, with_agent=False)
        yield Serving(address, processes.pid("scheduler"))
    finally:
        processes.stop()


@contextmanager
def postgres() -> Iterator[str | None]:
    """The address of a PostgreSQL of our own, durable as in production; None where there is none
    for this platform."""
    if not AVAILABLE:
        yield None
        return
    server = Postgres(fsync=True)
    try:
        yield server.emptied()
    finally:
        server.stop()


@contextmanager
def west(folder: Path, cluster: LocalCluster, database_url: str | None = None) -> Iterator[str]:
    """The scheduler, on SQLite if not told otherwise, with the cluster as its only one; yields its
    host:port once the agent has reported and the way to it has been measured."""
    url = database_url or f"sqlite:///{folder / 'westward.db'}"
    (port,) = free_ports(1)
    gateway = f"127.0.0.1:{port}"
    processes = Processes(folder)
    try:
        processes.start("gateway", "gateway", "--region", REGION, "--listen", gateway)
        with scheduler(folder, url, gateway) as serving:
            config = folder / "agent.yaml"
            config.write_text(yaml.safe_dump(_agent(folder, cluster, serving.address)))
            agent = Processes(folder)
            try:
                agent.start("agent", "agent", "--config", str(config))
                _await(agent, serving.address, with_agent=True)
                yield serving.address
            finally:
                agent.stop()
    finally:
        processes.stop()


def _agent(folder: Path, cluster: LocalCluster, scheduler: str) -> dict[str, object]:
    (node,) = cluster.nodes
    return {
        "node_id": node.node_id,
        "cluster": "bench",
        "scheduler": {"address": scheduler},
        "data_dir": str(folder / "data"),
        "accelerators": {"model": "A800", "count": node.gpus, "gpu_power_kw": 0.6},
        "host": {"cpus": node.cpus, "memory_gb": node.memory_gb},
        "head": {
            "province": "Gansu",
            "price": {"table": str(DATA / "tariffs.csv"), "flat_yuan_per_kwh": 0.398},
            "green": {"file": str(DATA / "green-qingyang.csv")},
            "pue": 1.15,
            "grid_carbon_g_per_kwh": 477,
            "ray": {"address": cluster.address, "dashboard_url": cluster.dashboard_url},
        },
    }


def _await(processes: Processes, address: str, *, with_agent: bool) -> None:
    until = time.monotonic() + READY_S
    with Client(address) as client:
        while True:
            processes.check()
            try:
                known = client.clusters().clusters
                if not with_agent or any(c.connected and c.nodes and c.links for c in known):
                    return
            except WestwardError:
                pass  # not up yet
            if time.monotonic() > until:
                raise RuntimeError(f"after {READY_S:.0f} s nobody answers or reports at {address}")
            time.sleep(POLL_S)  # clusters are listed, not watched
