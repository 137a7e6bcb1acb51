"""What a round goes by: the weights, and what operators declare."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.weights import Weights
from scheduler.domain.rules import Maintenance, TenantRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Part of a snapshot, so that a round can be repeated."""

    weights: Weights = field(default_factory=Weights)
    maintenance: tuple[Maintenance, ...] = ()
    tenants: Mapping[str, TenantRule] = field(default_factory=dict)
