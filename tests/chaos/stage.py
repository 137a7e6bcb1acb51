"""Sets a chaos run up: one scheduler, gateways, and hubs whose agents reach it through proxies."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase

import yaml

from agents.executor import processes
from agents.executor.local_cluster import LocalCluster, LocalNode
from scheduler.client import AsyncClient
from scheduler.client.errors import WestwardError
from tests.chaos import stepped
from tests.chaos.parts import WESTWARD, Part, RayPart
from tests.chaos.way import Way

DATA = Path(__file__).resolve().parents[2] / "examples" / "demo" / "data"
# The demo takes the first clusters that a machine has room for.
INDICES = (6, 5, 4)
GPUS = 8
REGION = "shanghai"
LEASE_TTL_S = 15.0
DISK_MB = 128
READY_S = 120.0
# In the environment of every process of every job of a run.
MARK = "WESTWARD_CHAOS"


@dataclass
class Hub:
    """A western cluster: the agent of its head node, and those of its other nodes."""

    name: str
    ray: RayPart
    way: Way
    agent: Part
    others: list[Part]

    @property
    def agents(self) -> list[Part]:
        return [self.agent, *self.others]


@dataclass
class Stage:
    """All that faults can be done to. ``disk`` is the database's own small one, if there is."""

    address: str
    records: Path
    scheduler: Part
    gateway: Part
    disk: Path | None
    hubs: list[Hub] = field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        agents = [agent for hub in self.hubs for agent in hub.agents]
        return [self.scheduler, self.gateway, *agents]

    @property
    def marker(self) -> str:
        return f"{MARK}={self.records}"


@asynccontextmanager
async def staged(
    nodes_of_hubs: Sequence[int], *, small_disk: bool
) -> AsyncIterator[tuple[Stage, Path]]:
    """A whole west, ready, with a hub of each number of nodes; and the folder with its logs, gone
    at the end unless something broke."""
    # Short, for Ray's sockets.
    folder = Path(tempfile.mkdtemp(prefix="wc", dir="/tmp"))
    async with AsyncExitStack() as stack:
        (folder / "records").mkdir()
        (folder / "db").mkdir()
        disk = stack.enter_context(_disk(folder / "db")) if small_disk else None
        scheduler_port, gateway_port = _free_ports(2)
        address = f"127.0.0.1:{scheduler_port}"
        config = folder / "scheduler.yaml"
        config.write_text(yaml.safe_dump(_scheduler(folder, address, gateway_port)))
        listen = f"127.0.0.1:{gateway_port}"
        stage = Stage(
            address=address,
            records=folder / "records",
            scheduler=Part("scheduler", _stepped(folder, "scheduler", config), folder),
            gateway=Part(
                "gateway", [WESTWARD, "gateway", "--region", REGION, "--listen", listen], folder
            ),
            disk=disk,
        )
        for number, nodes in enumerate(nodes_of_hubs):
            stage.hubs.append(await _hub(stack, folder, number, nodes, scheduler_port))
        stack.callback(processes.end_marked, [stage.marker])
        for part in stage.parts:
            part.start()
            stack.push_async_callback(part.stop)
        await _ready(stage)
        yield stage, folder
    shutil.rmtree(folder)


async def _hub(
    stack: AsyncExitStack, folder: Path, number: int, count: int, scheduler_port: int
) -> Hub:
    name = f"hub-{number + 1}"
    nodes = [
        LocalNode(node_id=f"{name}-{letter}", gpus=GPUS // count, cpus=8, memory_gb=8)
        for letter in ascii_lowercase[:count]
    ]
    index = _free_index()
    cluster = LocalCluster(index=index, folder=folder / f"ray{number}", nodes=nodes)
    stack.callback(cluster.stop)
    await asyncio.to_thread(cluster.start)
    way = Way(scheduler_port)
    port = await way.listen()
    stack.push_async_callback(way.close)
    head, *others = [
        _agent(folder, name, node, port, cluster.address if node is nodes[0] else None)
        for node in nodes
    ]
    return Hub(name, RayPart(cluster), way, head, others)


def _stepped(folder: Path, command: str, config: Path) -> list[str | Path]:
    """A `westward` daemon whose wall clock can be stepped; see ``stepped``."""
    clock = config.with_suffix(".clock")
    stepped.write(clock, 0.0)
    return [sys.executable, "-m", "tests.chaos.stepped", clock, command, "--config", config]


def _free_index() -> int:
    for index in INDICES:
        probe = LocalCluster(index=index, folder=Path("/tmp/x"), nodes=[LocalNode(node_id="x")])
        host, port = probe.address.split(":")
        with socket.socket() as connection:
            if connection.connect_ex((host, int(port))) != 0:
                return index
    raise RuntimeError(f"local clusters {INDICES} are all in use")


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def _disk(folder: Path) -> Iterator[Path | None]:
    """A small disk of its own, where this user may mount one."""
    if os.geteuid() != 0:
        yield None
        return
    options = f"size={DISK_MB}m"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _scheduler(folder: Path, address: str, gateway_port: int) -> dict[str, object]:
    return {
        "listen": address,
        "database_url": f"sqlite:///{folder / 'db' / 'westward.db'}",
        "report_interval_s": 0.5,
        "round_interval_s": 2,
        "lease_ttl_s": LEASE_TTL_S,
        "regions": {REGION: {"gateway": f"127.0.0.1:{gateway_port}"}},
    }


def _agent(folder: Path, hub: str, node: LocalNode, scheduler_port: int, ray: str | None) -> Part:
    """The agent of one node; with the address of its cluster's Ray, the head."""
    settings: dict[str, object] = {
        "node_id": node.node_id,
        "cluster": hub,
        "scheduler": {"address": f"127.0.0.1:{scheduler_port}"},
        "data_dir": str(folder / "data"),
        "accelerators": {"model": "A800", "count": node.gpus, "gpu_power_kw": 0.6},
        "host": {"cpus": node.cpus, "memory_gb": node.memory_gb},
    }
    if ray is not None:
        settings["head"] = {
            "province": "Gansu",
            "price": {"table": str(DATA / "tariffs.csv"), "flat_yuan_per_kwh": 0.398},
            "green": {"file": str(DATA / "green-qingyang.csv")},
            "pue": 1.15,
            "grid_carbon_g_per_kwh": 477,
            "ray": {"address": ray},
        }
    config = folder / f"{node.node_id}.yaml"
    config.write_text(yaml.safe_dump(settings))
    return Part(f"agent-{node.node_id}", _stepped(folder, "agent", config), folder)


async def _ready(stage: Stage) -> None:
    """Returns when every hub has reported.

    Raises:
        TimeoutError: one has not.
    """
    async with asyncio.timeout(READY_S), AsyncClient(stage.address) as client:
        while True:
            try:
                known = (await client.clusters()).clusters
                nodes = sum(c.nodes for c in known if c.connected)
                if nodes == sum(len(hub.agents) for hub in stage.hubs):
                    return
            except WestwardError:
                pass
            await asyncio.sleep(0.2)
