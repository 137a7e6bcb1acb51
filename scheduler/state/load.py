"""What attempts hold and draw."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.domain.fleet import Node
from scheduler.domain.job import Job, WorkerShape


def worker_kw(shape: WorkerShape, node: Node) -> float:
    """Draw of one worker on a node, PUE left out."""
    if shape.gpus:
        return shape.gpus * node.gpu_power_kw
    return shape.cpus * node.cpu_power_kw


@dataclass(slots=True)
class Held:
    """What live attempts hold of a node, and draw there, PUE left out."""

    attempts: int = 0
    gpus: int = 0
    it_kw: float = 0.0


class Holdings:
    """What live attempts hold, from one pass over the jobs: there may be 100,000 that wait."""

    def __init__(self, jobs: Iterable[Job], nodes: Mapping[str, Node]) -> None:
        """Args:
        jobs: any; those that wait, are suspended or have ended hold nothing.
        nodes: by id; what is held of others is left out.
        """
        self._of_node: dict[str, Held] = {}
        self._attempts: Counter[str] = Counter()
        for job in jobs:
            attempt = job.attempt
            if attempt is None or not job.state.live:
                continue
            self._attempts[attempt.cluster] += 1
            shape = job.spec.per_worker
            for node_id in attempt.nodes:
                if node := nodes.get(node_id):
                    held = self._of_node.setdefault(node_id, Held())
                    held.gpus += shape.gpus
                    held.it_kw += worker_kw(shape, node)
            for node_id in {*attempt.nodes} & self._of_node.keys():
                self._of_node[node_id].attempts += 1

    def of_node(self, node_id: str) -> Held:
        """Of one node."""
        return self._of_node.get(node_id, Held())

    def of_nodes(self, cluster: str, nodes: Iterable[Node]) -> Held:
        """Of a cluster with these nodes; attempts that only other nodes hold count as well."""
        parts = [self.of_node(node.id) for node in nodes]
        gpus, it_kw = sum(part.gpus for part in parts), sum(part.it_kw for part in parts)
        return Held(self._attempts[cluster], gpus, it_kw)
