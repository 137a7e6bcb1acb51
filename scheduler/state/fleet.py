"""What the agents have reported, and how long ago: the scheduler's picture of the west.

Lives in memory alone: after a restart every agent reports in full within seconds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from scheduler.clock import Clock
from scheduler.domain.ageing import aged
from scheduler.domain.fleet import (
    Mark,
    Node,
    NodeHealth,
    NodeLifecycle,
    Region,
    Rejection,
    Rtt,
    Site,
)
from scheduler.domain.plausibility import NODE_RANGES, judge_clock, judge_number
from scheduler.state import sites
from scheduler.state.energy import Meters
from scheduler.state.known import Cluster, Identity, IdentityTakenError, Known, NodeView
from scheduler.state.roll import Roll

# In reports missed: silent for longer, a node gets nothing new; for longer still, it is lost.
SUSPECT_AFTER_REPORTS = 3
LOST_AFTER_REPORTS = 12
# A node that was away for so long is taken off the books; they are looked through this often.
FORGOTTEN_AFTER_S = 7 * 86400.0
FORGET_EVERY_S = 60.0
# Day-ahead forecasts come once a day, late ones half a day later.
SERIES_TRUSTED_S = 36 * 3600.0
# A refused rival tries again within seconds; for so long after the last try it is shown.
RIVAL_SHOWN_S = 60.0


def _real_now() -> datetime:
    return datetime.now(UTC)


class Fleet:
    """Applies reports; answers with nodes and sites as they are believed to be now."""

    def __init__(
        self,
        clock: Clock,
        regions: Mapping[str, Region],
        report_interval_s: float,
        marks: Mapping[str, Mark] = MappingProxyType({}),
        *,
        series_trusted_s: float = SERIES_TRUSTED_S,
        real_now: Callable[[], datetime] = _real_now,
    ) -> None:
        """``marks`` by node are the operators'; whoever changes them calls ``marked``."""
        self.regions = dict(regions)
        self._clock = clock
        self._marks = marks
        self._suspect_s = SUSPECT_AFTER_REPORTS * report_interval_s
        self._lost_s = LOST_AFTER_REPORTS * report_interval_s
        self._trusted_s = series_trusted_s
        self._real_now = real_now
        self._known: dict[str, Known] = {}
        self._clusters: dict[str, Cluster] = {}
        self._forgot_at_s = clock.monotonic()
        self.meters = Meters()
        self._roll = Roll()
        # Grows when capacity, sites or links appear or change: what may place a waiting job.
        self.generation = 0

    def connect(self, identity: Identity) -> None:
        """Takes a node in.

        Raises:
            IdentityTakenError: another live daemon has this node id, or is this cluster's head.
        """
        before = self._known.get(identity.node_id)
        if before is not None and self._is_rival(before, identity):
            self._refuse(
                before,
                identity,
                "node_id",
                f"node_id {identity.node_id!r} is in use by a live agent of cluster "
                f"{before.identity.cluster!r}; give each node its own node_id",
            )
        head = self._head(identity.cluster) if identity.head else None
        if head is not None and self._is_rival(head, identity):
            self._refuse(
                head,
                identity,
                "head",
                f"cluster {identity.cluster!r} has a live head agent on node "
                f"{head.identity.node_id!r}; only one agent of a cluster may be its head",
            )
        self._take_in(identity, before)
        self._forget()
        self.generation += 1

    def _is_rival(self, other: Known, identity: Identity) -> bool:
        if other.identity.incarnation == identity.incarnation or not other.connected:
            return False
        return self._silent_s(other) <= self._suspect_s

    def _refuse(self, known: Known, rival: Identity, name: str, why: str) -> None:
        """Notes the rival beside the one that it would replace, where operators look.

        Raises:
            IdentityTakenError: always.
        """
        claim = f"{rival.node_id} of {rival.cluster}, started as {rival.incarnation[:8]}"
        told = Rejection(name, claim, "another agent claims it too and is refused", self._now())
        known.rival = (told, self._clock.monotonic())
        raise IdentityTakenError(why)

    def _take_in(self, identity: Identity, before: Known | None) -> None:
        """What the node has told stays believed, unless it has moved to another cluster."""
        if before is not None and before.node.cluster != identity.cluster:
            self._drop(before)
            before = None
        if before is not None:
            node = replace(before.node, head=identity.head, agent_version=identity.agent_version)
        else:
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
        known = Known(
            identity,
            node,
            self._clock.monotonic(),
            reported=before is not None and before.reported,
        )
        self._known[identity.node_id] = known
        self._roll.heard(identity.node_id)
        self._roll.doubt(identity.node_id)
        cluster = self._cluster(identity.cluster)
        cluster.nodes[identity.node_id] = known
        cluster.heads.pop(identity.node_id, None)
        if identity.head:
            cluster.heads[identity.node_id] = known

    def _cluster(self, name: str) -> Cluster:
        return self._clusters.setdefault(name, Cluster())

    def marked(self) -> None:
        """Notes that an operator has changed a mark: there may be more room, or less."""
        self._roll.doubt_all()
        self.generation += 1

    def knows(self, node_id: str) -> bool:
        """Whether a node has connected within the last days."""
        return node_id in self._known

    def node(self, node_id: str) -> Node | None:
        """What is known of a node; None for one that has not connected within the last days."""
        known = self._known.get(node_id)
        return known.node if known is not None else None

    def told(self, node_id: str) -> Node | None:
        """What a node has last told of itself; None until it has: who has only said hello draws
        nothing that is known, which is not the same as nothing."""
        known = self._known.get(node_id)
        return known.node if known is not None and known.reported else None

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
            self._roll.doubt(identity.node_id)
            self.generation += 1

    def heard(self, node_id: str) -> None:
        """Notes that a message has arrived."""
        self._known[node_id].heard_at_s = self._clock.monotonic()
        self._roll.heard(node_id)

    def report_clock(self, node_id: str, ahead_s: float) -> list[Rejection]:
        """Applies how far a node's clock is ahead of ours."""
        objection = judge_clock(ahead_s, self._now())
        rejections = [objection] if objection else []
        self._known[node_id].remember(("clock",), rejections)
        return rejections

    def report_node(self, node_id: str, facts: Mapping[str, Any]) -> list[Rejection]:
        """Applies what a node says of itself: names and values of ``Node`` fields."""
        known = self._known[node_id]
        rejections: list[Rejection] = []
        news: dict[str, Any] = {}
        for name, value in facts.items():
            allowed = NODE_RANGES.get(name)
            if allowed and allowed.objection(value):
                rejections += filter(None, [judge_number(name, value, allowed, self._now())])
            elif getattr(known.node, name) != value:
                news[name] = value
        if not known.reported or news.keys() - {"cpu_load"}:
            self.generation += 1
            self._roll.doubt(node_id)
        if news:
            known.node = replace(known.node, **news)
        known.reported = True
        known.remember(facts, rejections)
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
        at = self._now()
        if not known.identity.head:
            return [Rejection("site", known.node.id, "only a cluster's head agent reports it", at)]
        rejections, news = sites.tell(self._cluster(known.node.cluster), facts, at)
        self.generation += news
        known.remember(facts, rejections)
        return rejections

    def report_rtt(self, node_id: str, measured: Iterable[Rtt]) -> list[Rejection]:
        """Applies round-trip times measured from a node for its whole cluster."""
        known = self._known[node_id]
        at = self._now()
        cluster = self._cluster(known.node.cluster)
        now = sites.Now(at, self._clock.monotonic())
        rejections, news = sites.tell_ways(cluster, node_id, measured, self.regions, now)
        self.generation += news
        known.remember(("rtt",), rejections)
        return rejections

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that have reported, with their lifecycle as of now, by id; the same tuple as
        before while nothing but their load has changed."""

        def is_silent(node_id: str) -> bool:
            return self._silent_s(self._known[node_id]) > self._suspect_s

        def believe(node_id: str) -> Node | None:
            known = self._known.get(node_id)
            if known is None or not known.reported:
                return None
            return replace(known.node, lifecycle=self._lifecycle(known))

        return self._roll.nodes(is_silent, believe)

    def takes_work(self, node_id: str) -> bool:
        """Whether a node has reported, is not silent for long, and may be given work."""
        known = self._known.get(node_id)
        return known is not None and self._lifecycle(known) is NodeLifecycle.READY

    def node_views(self, cluster: str = "") -> tuple[NodeView, ...]:
        """All nodes that ever connected, or those of one cluster, for operators; by id."""
        if cluster:
            found = self._clusters[cluster].nodes if cluster in self._clusters else {}
        else:
            found = self._known
        return tuple(self._view(known) for _, known in sorted(found.items()))

    def _view(self, known: Known) -> NodeView:
        rejections = tuple(known.rejections.values())
        if known.rival and self._clock.monotonic() - known.rival[1] <= RIVAL_SHOWN_S:
            rejections = (known.rival[0], *rejections)
        return NodeView(
            replace(known.node, lifecycle=self._lifecycle(known)),
            known.connected,
            self._silent_s(known),
            rejections,
            known.health,
            self._marks.get(known.node.id),
        )

    def rejected(self, node_id: str) -> frozenset[tuple[str, str, str]]:
        """What of a node is not believed at present: field, value and reason."""
        known = self._known[node_id]
        return frozenset((r.field, r.value, r.reason) for r in known.rejections.values())

    def sites(self) -> dict[str, Site]:
        """All clusters whose head has told all that a plan needs, with what is doubted of their
        series."""
        now, real_now = sites.Now(self._now(), self._clock.monotonic()), self._real_now()
        found: dict[str, Site] = {}
        for name, cluster in sorted(self._clusters.items()):
            head = self._head(name)
            not_serving = head.not_serving if head else ""
            site = sites.believed(name, cluster, self.reachable(name), not_serving, now)
            if site is not None:
                found[name] = aged(site, now.at, real_now, self._trusted_s)
        return found

    def rtt_age_s(self, cluster: str, region: str) -> float:
        """Age of the newest measurement in seconds of real time.

        Raises:
            KeyError: never measured.
        """
        return self._clock.monotonic() - self._clusters[cluster].ways.newest_s(region)

    def reachable(self, cluster: str) -> bool:
        """The cluster's head agent is connected and not silent for long."""
        head = self._head(cluster)
        return head is not None and self._contact(head) is NodeLifecycle.READY

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

    def contacts(self) -> dict[str, str | None]:
        """By cluster that has a head, why it starts nothing: empty while it does, None where the
        head is silent."""
        heads = ((name, self._head(name)) for name in sorted(self._clusters))
        return {c: h.not_serving if self.reachable(c) else None for c, h in heads if h}

    def silent_s(self, cluster: str) -> float:
        """Since the head agent was last heard, in seconds of real time; infinite if never."""
        head = self._head(cluster)
        return float("inf") if head is None else self._silent_s(head)

    def region_names(self) -> frozenset[str]:
        """Every region that a job may name as its origin."""
        return frozenset(self.regions)

    def place_names(self) -> frozenset[str]:
        """Every cluster and province that a job may name."""
        clusters = {name for name, cluster in self._clusters.items() if cluster.nodes}
        provinces = {site.facts.get("province", "") for site in self._clusters.values()}
        return frozenset(clusters | provinces - {""})

    def _forget(self) -> None:
        if self._clock.monotonic() - self._forgot_at_s < FORGET_EVERY_S:
            return
        self._forgot_at_s = self._clock.monotonic()
        for known in list(self._known.values()):
            if not known.connected and self._silent_s(known) > FORGOTTEN_AFTER_S:
                self._drop(known)

    def _drop(self, known: Known) -> None:
        del self._known[known.node.id]
        self._roll.forget(known.node.id)
        cluster = self._clusters[known.node.cluster]
        del cluster.nodes[known.node.id]
        cluster.heads.pop(known.node.id, None)

    def _head(self, cluster: str) -> Known | None:
        found = self._clusters.get(cluster)
        heads = found.heads.values() if found else ()
        return max(heads, key=lambda k: k.heard_at_s, default=None)

    def _silent_s(self, known: Known) -> float:
        return self._clock.monotonic() - known.heard_at_s

    def _now(self) -> datetime:
        return self._clock.now()

    def _contact(self, known: Known) -> NodeLifecycle:
        """What its silence makes of a node."""
        silent_s = self._silent_s(known)
        if silent_s > self._lost_s:
            return NodeLifecycle.LOST
        if not known.connected or silent_s > self._suspect_s:
            return NodeLifecycle.SUSPECT
        return NodeLifecycle.READY

    def _lifecycle(self, known: Known) -> NodeLifecycle:
        """That, and what is wished of it: a silent one is of no use whatever is wished."""
        contact = self._contact(known)
        if contact is not NodeLifecycle.READY:
            return contact
        if not known.reported:
            return NodeLifecycle.JOINING
        mark = self._marks.get(known.node.id)
        return contact if mark is None else mark.lifecycle
