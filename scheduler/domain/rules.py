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
class ClusterRule:
    """What holds for one cluster, in place of the weights of the same names (None: as they are).

    ``price_adder_yuan_per_kwh`` is added to its tariff. ``preference_yuan_per_gpu_hour`` is charged
    for each accelerator-hour of a run there; below zero it draws jobs to the cluster.
    ``moving_yuan`` is of moving an attempt away from it.
    """

    price_adder_yuan_per_kwh: float = 0.0
    preference_yuan_per_gpu_hour: float = 0.0
    nongreen_yuan_per_kwh: float | None = None
    moving_yuan: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingClass:
    """What waiting costs jobs of a priority and above: that which they allow, and that which they
    do not. These are the figures as they are; urgency does not scale them."""

    from_priority: int
    defer_yuan_per_gpu_hour: float
    late_yuan_per_gpu_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRule:
    """What holds for one tenant.

    ``quota_gpus`` is the most accelerators that its jobs may hold at any time, all clusters
    together (None: no limit); ``weight`` is its weight among those who share. Energy that is not
    green costs it ``nongreen_yuan_per_kwh`` where that is more than others pay. ``waiting`` are
    classes by priority, ascending; below the first the weights hold.
    """

    quota_gpus: int | None = None
    weight: float = 1.0
    nongreen_yuan_per_kwh: float | None = None
    waiting: tuple[WaitingClass, ...] = ()

    @property
    def tells_jobs_apart(self) -> bool:
        """Whether its jobs are subject to more than those of other tenants."""
        own = (self.quota_gpus, self.nongreen_yuan_per_kwh)
        return any(figure is not None for figure in own) or bool(self.waiting)

    def waiting_of(self, priority: int) -> WaitingClass | None:
        """The class of a priority."""
        below = [c for c in self.waiting if c.from_priority <= priority]
        return max(below, key=lambda c: c.from_priority, default=None)
