"""Who came, fell silent, was lost and came back: what nodes and clusters are now, against what was
last told of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.audit import AuditEvent, Happening, Subject
from scheduler.domain.fleet import Node, NodeLifecycle
from scheduler.state.changes import NodeChanges

# What of a node's events says whether it is in contact, and the state that each leaves it in.
_NODE_STATES: dict[str, str] = {
    Happening.JOINED: NodeLifecycle.READY,
    Happening.BACK: NodeLifecycle.READY,
    Happening.SUSPECT: NodeLifecycle.SUSPECT,
    Happening.LOST: NodeLifecycle.LOST,
}
_CLUSTER_STATES = (Happening.SERVING, Happening.NOT_SERVING, Happening.UNREACHABLE)
HAPPENINGS: tuple[str, ...] = (*_NODE_STATES, *_CLUSTER_STATES)
_SILENT = (NodeLifecycle.SUSPECT, NodeLifecycle.LOST)
_WORDS: dict[str, str] = {
    NodeLifecycle.SUSPECT: "silent for a few reports, or its stream has ended; nothing new starts",
    NodeLifecycle.LOST: "silent for long",
    Happening.SERVING: "its head agent is heard, and it starts attempts",
    Happening.UNREACHABLE: "its head agent is silent",
}

# States before and after.
_Change = tuple[str, str]
# Whether one more event of a thing may be told.
May = Callable[[Subject, str], bool]


@dataclass(slots=True)
class _Told:
    """What was last told of a node or cluster, what it was when last looked at, and how often it
    has changed since without being told."""

    cluster: str
    state: str
    seen: str
    changes: int = 0


class Contacts:
    """Level-triggered: a change that may not be told now is told later, unless it is undone."""

    def __init__(self, told: Iterable[AuditEvent]) -> None:
        """``told``: the newest event of ``HAPPENINGS`` of each node and cluster."""
        self._nodes: dict[str, _Told] = {}
        self._clusters: dict[str, _Told] = {}
        self._known = NodeChanges()
        # Nodes of which there may be something to tell yet, and those that are not known any more.
        self._owed: set[str] = set()
        self._missing: set[str] = set()
        for event in told:
            if event.subject is Subject.NODE:
                state = _NODE_STATES[event.event]
                self._nodes[event.name] = _Told(event.cluster, state, state)
            elif event.subject is Subject.CLUSTER:
                self._clusters[event.name] = _Told(event.cluster, event.event, event.event)
        self._missing |= self._nodes.keys()

    def nodes(self, nodes: tuple[Node, ...], at: datetime, may: May) -> Iterator[AuditEvent]:
        """What is to be told of the nodes.

        Args:
            nodes: all that have reported; the same objects while nothing has changed of them.
        """
        for before, now in self._known.look(nodes):
            if now is not None:
                self._owed.add(now.id)
                self._missing.discard(now.id)
            elif before is not None:
                self._owed.discard(before.id)
                self._missing.add(before.id)
        for node_id in sorted(self._owed):
            if (event := self._node(self._known.nodes[node_id], at, may)) is not None:
                yield event

    def missing(self, at: datetime, may: May) -> Iterator[AuditEvent]:
        """What is to be told of nodes that are not known: they were in contact when the scheduler
        before this one ended, and have not called since, or have been away for days."""
        for node_id in sorted(self._missing):
            told = self._nodes.get(node_id)
            if told is None or told.state == NodeLifecycle.LOST:
                self._missing.discard(node_id)
            elif may(Subject.NODE, node_id):
                self._missing.discard(node_id)
                state, told.state, told.seen = told.state, NodeLifecycle.LOST, NodeLifecycle.LOST
                of = (Subject.NODE, node_id, told.cluster)
                words = "not heard since the scheduler started, or for days"
                yield _event(of, at, Happening.LOST, states=(state, told.state), words=words)

    def _node(self, node: Node, at: datetime, may: May) -> AuditEvent | None:
        told = self._nodes.get(node.id)
        now = node.lifecycle if node.lifecycle in _SILENT else NodeLifecycle.READY
        if told is not None and now != told.seen:
            told.seen = now
            told.changes += 1
        moved = told is not None and told.cluster != node.cluster
        if (told is None and now in _SILENT) or (told and told.state == now and not moved):
            self._owed.discard(node.id)
            return None
        if not may(Subject.NODE, node.id):
            return None
        self._owed.discard(node.id)
        self._nodes[node.id] = _Told(node.cluster, now, now)
        if now in _SILENT:
            happening, words = Happening(now.value), _WORDS[now]
        elif told is None or moved:
            happening, words = Happening.JOINED, _has(node)
            words += f"; it was in {told.cluster} before" if told is not None else ""
        else:
            happening, words = Happening.BACK, "heard again"
        states = (told.state if told is not None else "", node.lifecycle.value)
        of = (Subject.NODE, node.id, node.cluster)
        return _event(of, at, happening, states=states, words=words + _flaps(told))

    def clusters(
        self, not_serving: Mapping[str, str | None], at: datetime, may: May, *, settled: bool
    ) -> Iterator[AuditEvent]:
        """What is to be told of the clusters.

        Args:
            not_serving: by cluster that has a head, why it starts nothing: empty while it does,
                None where its head is silent.
            settled: who is silent is more than late after the scheduler's own start.
        """
        gone = dict.fromkeys(self._clusters.keys() - not_serving.keys())
        for name, why in sorted({**not_serving, **gone}.items()):
            now = Happening.UNREACHABLE if why is None else Happening.NOT_SERVING
            now = Happening.SERVING if why == "" else now
            told = self._clusters.get(name)
            if told is not None and now != told.seen:
                told.seen = now
                told.changes += 1
            if told is not None and told.state == now:
                continue
            if now is Happening.UNREACHABLE and (told is None or not settled):
                continue
            if not may(Subject.CLUSTER, name):
                continue
            self._clusters[name] = _Told(name, now, now)
            words = (why or _WORDS[now]) + _flaps(told)
            states = (told.state if told is not None else "", now.value)
            yield _event((Subject.CLUSTER, name, name), at, now, states=states, words=words)


def _event(
    of: tuple[Subject, str, str], at: datetime, happening: Happening, *, states: _Change, words: str
) -> AuditEvent:
    """``of``: subject, name and cluster."""
    subject, name, cluster = of
    return AuditEvent(
        at=at,
        actor="scheduler" if happening in _QUIET else f"agent/{name}",
        subject=subject,
        name=name,
        cluster=cluster,
        event=happening.value,
        from_state=states[0],
        to_state=states[1],
        message=words,
    )


# Noticed by the scheduler: nobody said a word.
_QUIET = (Happening.SUSPECT, Happening.LOST, Happening.UNREACHABLE)


def _has(node: Node) -> str:
    """What a node that joins brings."""
    what = f"{node.gpus} × {node.accelerator}" if node.gpus else "no accelerators"
    role = ", the head" if node.head else ""
    return f"{what}, {node.cpus:g} CPUs{role}; agent {node.agent_version or 'unknown'}"


def _flaps(told: _Told | None) -> str:
    """That it has come and gone more often than was told."""
    if told is None or told.changes < 2:
        return ""
    return f"; changed {told.changes} times since {told.state} was noted"
