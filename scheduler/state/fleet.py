"""What the agents have reported, and how long ago: the scheduler's picture of the west.

Lives in memory alone: after a restart every agent reports in full within seconds.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from scheduler.clock import Clock
from scheduler.domain.fleet import (
    Link,
    Node,
    NodeHealth,
    NodeLifecycle,
    Region,
    Rejection,
    Rtt,
    Site,
)
from scheduler.domain.plausibility import (
    LINK_RANGES,
    NODE_RANGES,
    SITE_RANGES,
    judge_number,
    judge_rtt,
    judge_series,
)
from scheduler.domain.series import Series
from scheduler.state.energy import Meters

# In reports missed: silent for longer, a node gets nothing new; for longer still, it is lost.
SUSPECT_AFTER_REPORTS = 3
LOST_AFTER_REPORTS = 12
# Older measurements say nothing about the way as it is now.
RTT_STALE_S = 60.0
# A node that was away for so long is taken off the books.
FORGOTTEN_AFTER_S = 7 * 86400.0
# Without any of these nothing is planned at a site. The cap may be None, but must have been told:
# one that was not believed must not become no cap at all.
SITE_FACTS = frozenset(
    {
        "province",
        "price_yuan_per_kwh",
        "green_supply_kw",
        "pue",
        "grid_carbon_g_per_kwh",
        "power_cap_kw",
    }
)


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
class _Known:
    identity: Identity
    node: Node
    heard_at_s: float
    connected: bool = True
    reported: bool = False
    rejections: dict[str, Rejection] = field(default_factory=dict)
    not_serving: str = ""
    health: NodeHealth = field(default_factory=NodeHealth)


@dataclass(slots=True)
class _KnownSite:
    facts: dict[str, Any] = field(default_factory=dict)
    rtt: dict[str, tuple[Rtt, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as an operator sees it; ages in seconds of real time."""

    node: Node
    connected: bool
    silent_s: float
    rejections: tuple[Rejection, ...]
    health: NodeHealth = field(default_factory=NodeHealth)


class Fleet:
    """Applies reports; answers with nodes and sites as they are believed to be now."""

    def __init__(
        self, clock: Clock, regions: Mapping[str, Region], report_interval_s: float
    ) -> None:
        self.regions = dict(regions)
        self._clock = clock
        self._suspect_s = SUSPECT_AFTER_REPORTS * report_interval_s
        self._lost_s = LOST_AFTER_REPORTS * report_interval_s
        # Those heard last come last.
        self._known: dict[str, _Known] = {}
        self._sites: dict[str, _KnownSite] = {}
        self.meters = Meters()
        # By cluster, the nodes that have been its head.
        self._heads: dict[str, dict[str, None]] = defaultdict(dict)
        # What ``nodes`` answers, and of which nodes it may not hold any more.
        self._believed: dict[str, Node] = {}
        self._ids: list[str] = []
        self._nodes: tuple[Node, ...] = ()
        self._doubted: set[str] = set()
        # Grows when capacity, sites or links appear or change: what may place a waiting job.
        self.generation = 0

    def connect(self, identity: Identity) -> None:
        """Takes a node in.

        Raises:
            IdentityTakenError: another live daemon has this node id, or is this cluster's head.
        """
        for other in self._known.values():
            if other.identity.incarnation == identity.incarnation or not other.connected:
                continue
            if self._silent_s(other) > self._suspect_s:
                continue
            if other.identity.node_id == identity.node_id:
                raise IdentityTakenError(
                    f"node_id {identity.node_id!r} is in use by a live agent of cluster "
                    f"{other.identity.cluster!r}; give each node its own node_id"
                )
            if identity.head and other.identity.head and other.node.cluster == identity.cluster:
                raise IdentityTakenError(
                    f"cluster {identity.cluster!r} has a live head agent on node "
                    f"{other.identity.node_id!r}; only one agent of a cluster may be its head"
                )
        before = self._known.get(identity.node_id)
        node = Node(
            id=identity.node_id,
            cluster=identity.cluster,
            head=identity.head,
            accelerator="",
            gpus=0,
            cpus=0,
            memory_gb=0,
            gpu_power_kw=0,
            cpu_power_kw=0,
            agent_version=identity.agent_version,
        )
        if before is not None and before.node.cluster == identity.cluster:
            node = replace(before.node, head=identity.head, agent_version=identity.agent_version)
        else:
            before = None
        self._known[identity.node_id] = _Known(
            identity,
            node,
            self._clock.monotonic(),
            reported=before is not None and before.reported,
        )
        self._heard_last(identity.node_id)
        self._doubted.add(identity.node_id)
        if identity.head:
            self._heads[identity.cluster][identity.node_id] = None
        self._forget()
        self.generation += 1

    def speaks(self, identity: Identity) -> bool:
        """Whether no newer stream of the node has taken this one's place."""
        known = self._known.get(identity.node_id)
        return known is not None and known.identity is identity

    def head_of(self, cluster: str) -> str | None:
        """The node whose agent is, or was last, the cluster's head."""
        head = self._head(cluster)
        return head.node.id if head is not None else None

    def disconnect(self, identity: Identity) -> None:
        """Notes that a stream has ended, unless a newer one of the node has taken its place."""
        if self.speaks(identity):
            self._known[identity.node_id].connected = False
            self._doubted.add(identity.node_id)
            self.generation += 1

    def heard(self, node_id: str) -> None:
        """Notes that a message has arrived."""
        self._known[node_id].heard_at_s = self._clock.monotonic()
        self._heard_last(node_id)
        known = self._believed.get(node_id)
        if known is not None and known.lifecycle is not NodeLifecycle.READY:
            self._doubted.add(node_id)

    def report_node(self, node_id: str, facts: Mapping[str, Any]) -> list[Rejection]:
        """Applies what a node says of itself: names and values of ``Node`` fields."""
        known = self._known[node_id]
        at = self._clock.now()
        rejections: list[Rejection] = []
        believed: dict[str, Any] = {}
        for name, value in facts.items():
            allowed = NODE_RANGES.get(name)
            objection = judge_number(name, value, allowed, at) if allowed else None
            if objection:
                rejections.append(objection)
            else:
                believed[name] = value
        after = replace(known.node, **believed)
        if not known.reported or replace(after, cpu_load=known.node.cpu_load) != known.node:
            self.generation += 1
            self._doubted.add(node_id)
        known.node = after
        known.reported = True
        _remember(known, facts, rejections)
        return rejections

    def report_health(self, node_id: str, health: NodeHealth) -> None:
        """Keeps what a node tells for its operator."""
        self._known[node_id].health = health

    def health(self, node_id: str) -> NodeHealth:
        """What the node last told for its operator."""
        return self._known[node_id].health

    def report_site(self, node_id: str, facts: Mapping[str, Any]) -> list[Rejection]:
        """Applies what a head agent says of its cluster: names and values of ``Site`` fields."""
        known = self._known[node_id]
        at = self._clock.now()
        if not known.identity.head:
            return [Rejection("site", known.node.id, "only a cluster's head agent reports it", at)]
        rejections: list[Rejection] = []
        site = self._sites.setdefault(known.node.cluster, _KnownSite())
        for name, value in facts.items():
            objection: Rejection | None = None
            if isinstance(value, Series):
                objection = judge_series(name, value, at)
            elif name in SITE_RANGES and value is not None:
                objection = judge_number(name, value, SITE_RANGES[name], at)
            elif name == "links":
                value, objections = _believed_links(value, at)  # noqa: PLW2901
                rejections += objections
            if objection:
                rejections.append(objection)
            else:
                self.generation += name not in site.facts
                site.facts[name] = value
        _remember(known, facts, rejections)
        return rejections

    def report_rtt(self, node_id: str, measured: Iterable[Rtt]) -> list[Rejection]:
        """Applies round-trip times measured from a node for its whole cluster."""
        known = self._known[node_id]
        at = self._clock.now()
        rejections: list[Rejection] = []
        site = self._sites.setdefault(known.node.cluster, _KnownSite())
        for rtt in measured:
            objection = judge_rtt(rtt, at)
            if objection is None and rtt.region not in self.regions:
                objection = Rejection(f"rtt[{rtt.region}]", rtt.region, "no such region", at)
            if objection:
                rejections.append(objection)
            else:
                self.generation += rtt.region not in site.rtt
                site.rtt[rtt.region] = (rtt, self._clock.monotonic())
        _remember(known, ("rtt",), rejections)
        return rejections

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that have reported, with their lifecycle as of now, by id.

        The same objects, and the same tuple, as before while nothing has changed; how busy a host
        is (``cpu_load``) is as of its last other change.
        """
        silent = takewhile(
            lambda node_id: self._silent_s(self._known[node_id]) > self._suspect_s, self._known
        )
        self._doubted.update(silent)
        changed = [node_id for node_id in self._doubted if self._believe(node_id)]
        self._doubted.clear()
        if changed:
            self._nodes = tuple(self._believed[node_id] for node_id in self._ids)
        return self._nodes

    def takes_work(self, node_id: str) -> bool:
        """Whether a node has reported and is not silent for long."""
        known = self._known.get(node_id)
        if known is None or not known.reported:
            return False
        return self._lifecycle(known) is NodeLifecycle.READY

    def node_views(self) -> tuple[NodeView, ...]:
        """All nodes that ever connected, for operators."""
        return tuple(
            NodeView(
                replace(known.node, lifecycle=self._lifecycle(known)),
                known.connected,
                self._silent_s(known),
                tuple(known.rejections.values()),
                known.health,
            )
            for _, known in sorted(self._known.items())
        )

    def sites(self) -> dict[str, Site]:
        """All clusters whose head has told all that a plan needs."""
        sites: dict[str, Site] = {}
        for cluster, known in sorted(self._sites.items()):
            facts = known.facts
            if not facts.keys() >= SITE_FACTS:
                continue
            fresh = {
                region: rtt
                for region, (rtt, at_s) in known.rtt.items()
                if self._clock.monotonic() - at_s <= RTT_STALE_S
            }
            head = self._head(cluster)
            sites[cluster] = Site(
                cluster=cluster,
                rtt=fresh,
                reachable=self.reachable(cluster),
                not_serving=head.not_serving if head else "",
                **facts,
            )
        return sites

    def rtt_age_s(self, cluster: str, region: str) -> float:
        """Age of the newest measurement in seconds of real time.

        Raises:
            KeyError: never measured.
        """
        return self._clock.monotonic() - self._sites[cluster].rtt[region][1]

    def reachable(self, cluster: str) -> bool:
        """The cluster's head agent is connected and not silent for long."""
        head = self._head(cluster)
        return head is not None and self._lifecycle(head) is NodeLifecycle.READY

    def report_serving(self, node_id: str, not_serving: str) -> None:
        """Applies what a head agent says of whether its cluster can start anything."""
        known = self._known[node_id]
        if bool(known.not_serving) != bool(not_serving):
            self.generation += 1
        known.not_serving = not_serving

    def serves(self, cluster: str) -> bool:
        """The cluster is reachable and can start attempts."""
        head = self._head(cluster)
        return self.reachable(cluster) and head is not None and not head.not_serving

    def silent_s(self, cluster: str) -> float:
        """Since the head agent was last heard, in seconds of real time; infinite if never."""
        head = self._head(cluster)
        return float("inf") if head is None else self._silent_s(head)

    def region_names(self) -> frozenset[str]:
        """Every region that a job may name as its origin."""
        return frozenset(self.regions)

    def place_names(self) -> frozenset[str]:
        """Every cluster and province that a job may name."""
        clusters = {known.node.cluster for known in self._known.values()}
        provinces = {site.facts.get("province", "") for site in self._sites.values()}
        return frozenset(clusters | provinces - {""})

    def _forget(self) -> None:
        gone = [
            node_id
            for node_id, known in self._known.items()
            if not known.connected and self._silent_s(known) > FORGOTTEN_AFTER_S
        ]
        for node_id in gone:
            del self._known[node_id]
            self._doubted.add(node_id)

    def _heard_last(self, node_id: str) -> None:
        self._known[node_id] = self._known.pop(node_id)

    def _believe(self, node_id: str) -> bool:
        """Looks at a node anew; returns whether anything but its load has changed."""
        known, before = self._known.get(node_id), self._believed.get(node_id)
        if known is None or not known.reported:
            if before is not None:
                del self._believed[node_id]
                self._ids.remove(node_id)
            return before is not None
        now = replace(known.node, lifecycle=self._lifecycle(known))
        if before is None:
            insort(self._ids, node_id)
        elif replace(now, cpu_load=before.cpu_load) == before:
            return False
        self._believed[node_id] = now
        return True

    def _head(self, cluster: str) -> _Known | None:
        known = [self._known[n] for n in self._heads.get(cluster, ()) if n in self._known]
        heads = [k for k in known if k.node.cluster == cluster and k.identity.head]
        return max(heads, key=lambda k: k.heard_at_s, default=None)

    def _silent_s(self, known: _Known) -> float:
        return self._clock.monotonic() - known.heard_at_s

    def _lifecycle(self, known: _Known) -> NodeLifecycle:
        silent_s = self._silent_s(known)
        if silent_s > self._lost_s:
            return NodeLifecycle.LOST
        if not known.connected or silent_s > self._suspect_s:
            return NodeLifecycle.SUSPECT
        return NodeLifecycle.READY


def _believed_links(links: Iterable[Link], at: Any) -> tuple[tuple[Link, ...], list[Rejection]]:
    believed: list[Link] = []
    rejections: list[Rejection] = []
    for link in links:
        objections = [
            objection
            for name, allowed in LINK_RANGES.items()
            if (
                objection := judge_number(
                    name, getattr(link, name), allowed, at, f"links[{link.peer}]."
                )
            )
        ]
        rejections += objections
        if not objections:
            believed.append(link)
    return tuple(believed), rejections


def _remember(known: _Known, told: Iterable[str], rejections: list[Rejection]) -> None:
    """A field's rejection stands until the field is told again."""
    for name in told:
        for key in [k for k in known.rejections if k == name or k.startswith(f"{name}[")]:
            del known.rejections[key]
    for rejection in rejections:
        known.rejections[rejection.field] = rejection
