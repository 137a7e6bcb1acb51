"""A whole small west in one process: the real scheduler, agents and gateway over real sockets.

Ray is real where a cluster is given, else played by plain subprocesses.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents import daemon, gateway
from agents.config import AgentConfig, Head
from agents.executor.base import Executor
from agents.executor.local_cluster import LocalCluster
from scheduler.app import running
from scheduler.client import AsyncClient
from scheduler.config import RegionConfig, SchedulerConfig
from tests.fakes.local_executor import LocalExecutor

DATA = Path(__file__).resolve().parents[2] / "examples" / "demo" / "data"
UP_WITHIN_S = 30.0


async def _local(config: AgentConfig, _: Head) -> Executor:
    return LocalExecutor(config.data_dir)


def _agent(folder: Path, scheduler: str, **more: Any) -> AgentConfig:
    return AgentConfig.model_validate(
        {
            "node_id": "qy-1",
            "cluster": "qingyang",
            "scheduler": {"address": scheduler},
            "data_dir": folder / "agent",
            "host": {"cpus": 4, "memory_gb": 4},
            **more,
        }
    )


def _head(ray: LocalCluster | None) -> dict[str, Any]:
    address = {"address": ray.address if ray else "127.0.0.1:6379"}
    if ray is not None and ray.dashboard_url:
        address["dashboard_url"] = ray.dashboard_url
    return {
        "province": "Gansu",
        "price": {"table": DATA / "tariffs.csv", "flat_yuan_per_kwh": 0.398},
        "green": {"file": DATA / "green-qingyang.csv"},
        "pue": 1.15,
        "grid_carbon_g_per_kwh": 477,
        "ray": address,
    }


def _agents(folder: Path, scheduler: str, ray: LocalCluster | None) -> list[AgentConfig]:
    """One agent per node of the Ray cluster, the first of them the head; else one head."""
    if ray is None:
        return [_agent(folder, scheduler, head=_head(None))]
    configs = []
    for number, node in enumerate(ray.nodes):
        more: dict[str, Any] = {"head": _head(ray)} if number == 0 else {}
        more["node_id"] = node.node_id
        more["host"] = {"cpus": node.cpus, "memory_gb": node.memory_gb}
        more["accelerators"] = {"model": "A800", "count": node.gpus, "gpu_power_kw": 0.6}
        configs.append(_agent(folder, scheduler, **more))
    return configs


@asynccontextmanager
async def west(folder: Path, ray: LocalCluster | None = None) -> AsyncIterator[str]:
    """Region shanghai and cluster qingyang, with the nodes of ``ray`` or else the node qy-1 (4
    CPUs); yields the scheduler's host:port once all nodes have reported.
    """
    async with gateway.serving("shanghai", "127.0.0.1:0", {}) as port:
        config = SchedulerConfig(
            listen="127.0.0.1:0",
            database_url=f"sqlite:///{folder / 'westward.db'}",
            report_interval_s=1.0,
            regions={"shanghai": RegionConfig(gateway=f"127.0.0.1:{port}")},
        )
        async with running(config) as address:
            factory = daemon.ray_executor if ray else _local
            configs = _agents(folder, address, ray)
            agents = [
                asyncio.create_task(daemon.run(agent, executor_factory=factory))
                for agent in configs
            ]
            try:
                await _reported(address, len(configs))
                yield address
            finally:
                for agent in agents:
                    agent.cancel()
                await asyncio.gather(*agents, return_exceptions=True)


async def _reported(address: str, nodes: int) -> None:
    async with asyncio.timeout(UP_WITHIN_S), AsyncClient(address) as client:
        while not any(
            c.connected and c.nodes == nodes and c.links for c in (await client.clusters()).clusters
        ):
            await asyncio.sleep(0.05)
