"""Which agents of a cluster measure the way to which region."""

import hashlib
from collections.abc import Iterable

# As many as it takes for one that is mistaken, or lies, to be outvoted.
EACH = 3


class Probers:
    """For each cluster and region the ``EACH`` connected nodes that rank highest (by a hash of both
    names: rendezvous hashing). Who comes or goes changes no duty but those that it takes or leaves,
    and the work spreads over the cluster."""

    def __init__(self, regions: Iterable[str]) -> None:
        self._regions = tuple(regions)
        self._nodes: dict[str, dict[str, tuple[bytes, ...]]] = {}
        self._chosen: dict[tuple[str, str], list[str]] = {}

    def join(self, cluster: str, node_id: str) -> set[str]:
        """Takes a node in; answers which others have fewer duties now."""
        nodes = self._nodes.setdefault(cluster, {})
        nodes[node_id] = tuple(_rank(region, node_id) for region in self._regions)
        relieved: set[str] = set()
        for at, region in enumerate(self._regions):
            chosen = self._chosen.setdefault((cluster, region), [])
            if node_id in chosen:
                continue
            chosen.append(node_id)
            chosen.sort(key=lambda n: nodes[n][at])
            relieved |= {*chosen[EACH:]} - {node_id}
            del chosen[EACH:]
        return relieved

    def leave(self, cluster: str, node_id: str) -> set[str]:
        """Lets a node go; answers which others have more duties now."""
        nodes = self._nodes[cluster]
        del nodes[node_id]
        burdened: set[str] = set()
        for at, region in enumerate(self._regions):
            chosen = self._chosen[cluster, region]
            if node_id not in chosen:
                continue
            chosen.remove(node_id)
            others = (n for n in nodes if n not in chosen)
            heir = min(others, key=lambda n: nodes[n][at], default=None)
            if heir is not None:
                chosen.append(heir)
                burdened.add(heir)
        return burdened

    def regions_of(self, cluster: str, node_id: str) -> list[str]:
        """What a node measures."""
        return [r for r in self._regions if node_id in self._chosen.get((cluster, r), ())]


def _rank(region: str, node_id: str) -> bytes:
    return hashlib.blake2b(f"{region}/{node_id}".encode(), digest_size=8).digest()
