"""What attempts draw."""

from scheduler.domain.fleet import Node
from scheduler.domain.job import WorkerShape


def worker_kw(shape: WorkerShape, node: Node) -> float:
    """Draw of one worker on a node, PUE left out."""
    if shape.gpus:
        return shape.gpus * node.gpu_power_kw
    return shape.cpus * node.cpu_power_kw
