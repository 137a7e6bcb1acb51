"""What a round goes by: the weights, and what operators declare."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.weights import Weights
from scheduler.domain.rules import ClusterRule, Maintenance, TenantRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Part of a snapshot, so that a round can be repeated. Clusters and tenants by their names.

    Plans take what costs (price, PUE, carbon) at ``forecast_quantile`` of their forecasts, and
    green supply at 1 - that.
    """

    weights: Weights = field(default_factory=Weights)
    maintenance: tuple[Maintenance, ...] = ()
    clusters: Mapping[str, ClusterRule] = field(default_factory=dict)
    tenants: Mapping[str, TenantRule] = field(default_factory=dict)
    forecast_quantile: float = 0.5

    def cluster(self, name: str) -> ClusterRule:
        """What holds for a cluster."""
        return self.clusters.get(name, ClusterRule())

    def moving_yuan(self, cluster: str) -> float:
        """Of moving one attempt away from a cluster."""
        own = self.cluster(cluster).moving_yuan
        return self.weights.moving_yuan if own is None else own

    def nongreen_yuan_per_kwh(self, cluster: str) -> float:
        """On energy of a cluster that no green supply covers."""
        own = self.cluster(cluster).nongreen_yuan_per_kwh
        return self.weights.nongreen_yuan_per_kwh if own is None else own
