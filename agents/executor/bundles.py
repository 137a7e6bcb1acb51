"""The bundles of an attempt: one for each worker, on its planned node."""

import asyncio
from collections.abc import Sequence

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group

from agents.executor.wire import NODE_LABEL, Order

# A bundle may not be empty; what asks nothing asks this much CPU.
CPUS_MIN = 0.001
ANSWER_TIMEOUT_S = 10.0


def bundle(order: Order) -> dict[str, float]:
    """What Ray reserves for each worker."""
    amounts = {"CPU": order.cpus, "GPU": order.gpus, "memory": int(order.memory_gb * 1e9)}
    return {name: amount for name, amount in amounts.items() if amount > 0} or {"CPU": CPUS_MIN}


def ask(order: Order) -> PlacementGroup:
    """Asks for all of them or none; does not wait for them."""
    group: PlacementGroup = placement_group(
        [bundle(order) for _ in order.nodes],
        strategy="PACK",
        bundle_label_selector=[{NODE_LABEL: node} for node in order.nodes],
    )
    return group


async def lacking(order: Order, group: PlacementGroup | None, late: Sequence[str]) -> str:
    """Why no worker runs on these nodes of the order, as far as Ray tells."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            nodes = await asyncio.to_thread(ray.nodes)
            reserved = group is not None and await asyncio.to_thread(group.wait, 0)
    except (RayError, TimeoutError) as error:
        return f"Ray does not say what it has: {error!r}"
    alive = {node["Labels"].get(NODE_LABEL): node["Resources"] for node in nodes if node["Alive"]}
    for node_id in order.nodes:
        if node_id not in alive:
            return (
                f"no living Ray node is labelled {NODE_LABEL}={node_id};"
                f" start it with `ray start --labels {NODE_LABEL}={node_id}`"
            )
    if reserved:
        named = ", ".join(dict.fromkeys(late))
        return f"Ray has reserved their resources but started no worker on {named}"
    has = {name: alive[late[0]].get(name, 0) for name in ("GPU", "CPU", "memory")}
    return (
        f"Ray could not reserve {order.gpus} GPU, {order.cpus:g} CPU and"
        f" {order.memory_gb:g} GB for each; {late[0]} has {has['GPU']:g} GPU,"
        f" {has['CPU']:g} CPU and {has['memory'] / 1e9:g} GB in all"
    )
