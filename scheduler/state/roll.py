"""The nodes as rounds see them: the same objects, in the same tuple, while nothing has changed."""

from bisect import insort
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

from scheduler.domain.fleet import Node, NodeLifecycle


class Roll:
    """Looks only at nodes of which something may have changed: those that somebody doubts, and
    those that have been silent for long."""

    def __init__(self) -> None:
        self._nodes: tuple[Node, ...] = ()
        self._by_id: dict[str, Node] = {}
        self._ids: list[str] = []
        self._doubted: set[str] = set()
        # Those heard last come last.
        self._heard: dict[str, None] = {}

    def heard(self, node_id: str) -> None:
        """Notes that a message has arrived: a node that was of no use may be so again."""
        self._heard.pop(node_id, None)
        self._heard[node_id] = None
        known = self._by_id.get(node_id)
        if known is not None and known.lifecycle is not NodeLifecycle.READY:
            self._doubted.add(node_id)

    def doubt(self, node_id: str) -> None:
        """Notes that a node may not be any more what it was."""
        self._doubted.add(node_id)

    def doubt_all(self) -> None:
        """The same of every node."""
        self._doubted.update(self._heard)

    def forget(self, node_id: str) -> None:
        """Takes a node off."""
        self._heard.pop(node_id, None)
        self._doubted.add(node_id)

    def nodes(
        self, is_silent: Callable[[str], bool], believe: Callable[[str], Node | None]
    ) -> tuple[Node, ...]:
        """All nodes, by id; how busy a host is (``cpu_load``) is as of its last other change.

        Args:
            is_silent: whether a node has not been heard for so long that it counts.
            believe: the node as it is now, None if it is not one.
        """
        self._doubted.update(takewhile(is_silent, self._heard))
        changed = [node_id for node_id in self._doubted if self._enter(node_id, believe(node_id))]
        self._doubted.clear()
        if changed:
            self._nodes = tuple(self._by_id[node_id] for node_id in self._ids)
        return self._nodes

    def _enter(self, node_id: str, now: Node | None) -> bool:
        """Whether anything but its load has changed."""
        before = self._by_id.get(node_id)
        if now is None:
            if before is not None:
                del self._by_id[node_id]
                self._ids.remove(node_id)
            return before is not None
        if before is None:
            insort(self._ids, node_id)
        elif replace(now, cpu_load=before.cpu_load) == before:
            return False
        self._by_id[node_id] = now
        return True
