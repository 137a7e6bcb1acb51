"""What operators declare of clusters and tenants."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.fleet import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """From ``from_at`` up to ``to_at`` nothing may run on one node, on all nodes of one accelerator
    model, or in the whole cluster."""

    cluster: str
    from_at: datetime
    to_at: datetime
    why: str
    node: str | None = None
    accelerator: str | None = None

    def covers(self, node: Node) -> bool:
        """Whether a node is meant."""
        return (
            node.cluster == self.cluster
            and self.node in (None, node.id)
            and self.accelerator in (None, node.accelerator)
        )

    @property
    def what(self) -> str:
        """What is closed, for people."""
        if self.node is not None:
            return f"{self.node} in {self.cluster}"
        return self.cluster if self.accelerator is None else f"{self.cluster}/{self.accelerator}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRule:
    """What holds for one tenant: the most accelerators that its jobs may hold at any time, all
    clusters together (None: no limit), and its weight among those who share."""

    quota_gpus: int | None = None
    weight: float = 1.0

    @property
    def tells_jobs_apart(self) -> bool:
        """Whether its jobs are subject to more than those of other tenants."""
        return self.quota_gpus is not None
