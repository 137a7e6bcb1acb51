"""What is kept of each node and each cluster."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scheduler.domain.fleet import Mark, Node, NodeHealth, Rejection
from scheduler.state.ways import Ways


class IdentityTakenError(Exception):
    """Two daemons claim one node id, or two heads one cluster, at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who an agent says it is; ``incarnation`` is fresh for each start of the daemon."""

    node_id: str
    cluster: str
    head: bool
    agent_version: str
    incarnation: str


@dataclass(slots=True)
class Known:
    """A node, and what its daemon has told."""

    identity: Identity
    node: Node
    heard_at_s: float
    connected: bool = True
    reported: bool = False
    rejections: dict[str, Rejection] = field(default_factory=dict)
    # Another daemon that claims this one's id or its place, and when it last tried.
    rival: tuple[Rejection, float] | None = None
    not_serving: str = ""
    health: NodeHealth = field(default_factory=NodeHealth)

    def remember(self, told: Iterable[str], rejections: list[Rejection]) -> None:
        """A field's rejection stands until the field is told again."""
        if not self.rejections and not rejections:
            return
        for name in told:
            for key in [k for k in self.rejections if k == name or k.startswith(f"{name}[")]:
                del self.rejections[key]
        for rejection in rejections:
            self.rejections[rejection.field] = rejection


@dataclass(slots=True)
class Cluster:
    """The nodes of a cluster, those of them that are or were its head, and what holds for it."""

    nodes: dict[str, Known] = field(default_factory=dict)
    heads: dict[str, Known] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    ways: Ways = field(default_factory=Ways)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as an operator sees it; ages in seconds of real time."""

    node: Node
    connected: bool
    silent_s: float
    rejections: tuple[Rejection, ...]
    health: NodeHealth = field(default_factory=NodeHealth)
    mark: Mark | None = None
