"""What attempts have used, as the agents of their nodes meter it: in memory, like all reports.

After a restart of the scheduler the agents tell it again, of attempts that ended within the hour as
well. Nothing is settled by it.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from scheduler.domain.fleet import Rejection

# An accelerator and its share of a host draw less than 5 kW, a host has 64 at most: a year of that.
KWH_MOST = 5 * 64 * 24 * 366
REMEMBERED_ATTEMPTS = 100_000


@dataclass(frozen=True, slots=True)
class Energy:
    """PUE left out; ``estimated_kwh`` is the part for which no power could be read."""

    kwh: float
    estimated_kwh: float


class Meters:
    """The newest word of every node on every attempt; what is told of longest ago is forgotten."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, dict[str, Energy]] = OrderedDict()

    def report(
        self, node_id: str, told: Iterable[tuple[str, Energy]], at: datetime
    ) -> list[Rejection]:
        """Applies what a node tells; an account never shrinks."""
        rejections: list[Rejection] = []
        for attempt_id, energy in told:
            believable = 0 <= energy.estimated_kwh <= energy.kwh <= KWH_MOST
            if not believable or not math.isfinite(energy.kwh):
                value = f"{energy.kwh:g} kWh, {energy.estimated_kwh:g} of it estimated"
                reason = f"not within 0 to {KWH_MOST} kWh, with the estimate a part of it"
                rejections.append(Rejection(f"energy[{attempt_id}]", value, reason, at))
                continue
            by_node = self._told.setdefault(attempt_id, {})
            before = by_node.get(node_id)
            if before is None or energy.kwh >= before.kwh:
                by_node[node_id] = energy
            self._told.move_to_end(attempt_id)
        while len(self._told) > REMEMBERED_ATTEMPTS:
            self._told.popitem(last=False)
        return rejections

    def of(self, attempt_id: str, nodes: Collection[str]) -> Energy | None:
        """What an attempt has used on its nodes; None while none of them has told."""
        by_node = self._told.get(attempt_id, {})
        known = [by_node[node_id] for node_id in set(nodes) if node_id in by_node]
        if not known:
            return None
        return Energy(sum(one.kwh for one in known), sum(one.estimated_kwh for one in known))
