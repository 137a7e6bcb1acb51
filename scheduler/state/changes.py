"""Which nodes have changed between two looks at the fleet."""

from collections.abc import Iterator, Mapping

from scheduler.domain.fleet import Node


class NodeChanges:
    """The fleet gives the same tuple while nothing has changed, and else the same objects for the
    nodes of which nothing has: so a look at a nation's nodes takes milliseconds, or nothing."""

    def __init__(self) -> None:
        self._last: tuple[Node, ...] | None = None
        # By id, as of the last look.
        self.nodes: Mapping[str, Node] = {}

    def look(self, nodes: tuple[Node, ...]) -> Iterator[tuple[Node | None, Node | None]]:
        """Each node that is not what it was at the look before: as it was and as it is, None where
        it is not known."""
        if nodes is self._last:
            return
        self._last = nodes
        before, now = self.nodes, {node.id: node for node in nodes}
        self.nodes = now
        for node_id, node in now.items():
            if (old := before.get(node_id)) is not node:
                yield old, node
        for node_id in before.keys() - now.keys():
            yield before[node_id], None
