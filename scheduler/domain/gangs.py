"""Whether a gang could ever run: on the known nodes, were they all empty."""

from collections.abc import Sequence

from scheduler.domain.fleet import Node
from scheduler.domain.job import JobSpec, WorkerShape


def too_big(spec: JobSpec, nodes: Sequence[Node]) -> str | None:
    """Why no pool could hold the gang even when empty, naming the largest that would fit.

    None when one could, or when no known node has an accelerator that the job accepts: such a
    node may still join. A pool is the nodes of a cluster with the same accelerator; each worker
    needs one node. The shape's figures must be finite, cpus and memory positive.
    """
    shape = spec.per_worker
    usable = [node for node in nodes if _accepts(spec, node)]
    if not usable:
        return None
    room: dict[tuple[str, str], int] = {}
    for node in usable:
        pool = (node.cluster, node.accelerator)
        room[pool] = room.get(pool, 0) + _workers_on(node, shape)
    (cluster, accelerator), most = max(room.items(), key=lambda item: item[1])
    if most >= spec.workers:
        return None
    asked = f"{shape.gpus} GPUs, {shape.cpus:g} CPUs and {shape.memory_gb:g} GB"
    if most == 0:
        node = max(usable, key=lambda n: (n.gpus, n.cpus, n.memory_gb))
        return (
            f"no known node holds one worker of {asked} even when empty; the largest that could, "
            f"{node.id} at {node.cluster}, has {node.gpus} GPUs, {node.cpus:g} CPUs and "
            f"{node.memory_gb:g} GB; make per_worker smaller"
        )
    where = f"{cluster} on {accelerator}" if accelerator else cluster
    return (
        f"{spec.workers} workers of {asked} each exceed every cluster even when empty; "
        f"the most that fit are {most}, at {where}; ask for {most} or fewer, or smaller ones"
    )


def _accepts(spec: JobSpec, node: Node) -> bool:
    if spec.per_worker.gpus and not node.gpus:
        return False
    return spec.speed_on(node.accelerator) is not None


def _workers_on(node: Node, shape: WorkerShape) -> int:
    # 0.3 cores hold three workers of 0.1, whatever the division says.
    most = int(min(node.cpus / shape.cpus, node.memory_gb / shape.memory_gb) + 1e-9)
    return min(most, node.gpus // shape.gpus) if shape.gpus else most
