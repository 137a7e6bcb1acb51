"""The ways from one cluster to the regions, as a few of its nodes have measured them."""

from scheduler.domain.fleet import Rtt

# Older measurements say nothing about the way as it is now.
RTT_STALE_S = 60.0


class Ways:
    """What each node has told of each region, the newest of each. A node whose own network card is
    in trouble, or which lies, must not speak for a whole cluster: of several the middle counts."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, tuple[Rtt, float]]] = {}

    def told(self, node_id: str, rtt: Rtt, at_s: float) -> bool:
        """Takes a measurement in; whether it is the first of its region."""
        first = rtt.region not in self._told
        self._told.setdefault(rtt.region, {})[node_id] = (rtt, at_s)
        return first

    def newest_s(self, region: str) -> float:
        """When a region was last measured.

        Raises:
            KeyError: never.
        """
        return max(at_s for _, at_s in self._told[region].values())

    def believed(self, now_s: float) -> dict[str, Rtt]:
        """By region, of the fresh measurements the one with the middle p95; of two in the middle
        the lower: what only one of them sees is not the way."""
        believed: dict[str, Rtt] = {}
        for region, told in self._told.items():
            for stale in [n for n, (_, at_s) in told.items() if now_s - at_s > RTT_STALE_S]:
                if len(told) > 1:
                    del told[stale]
            fresh = [rtt for rtt, at_s in told.values() if now_s - at_s <= RTT_STALE_S]
            if fresh:
                fresh.sort(key=lambda rtt: rtt.p95_ms)
                believed[region] = fresh[(len(fresh) - 1) // 2]
        return believed
