"""What attempts have used, as the agents of their nodes meter it. Nothing is settled by it.

What is told goes to the database every half minute; agents tell again, of what ended within the
hour too, so that a scheduler that dies in between loses nothing.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import datetime

import structlog

from scheduler.domain.energy import Energy
from scheduler.domain.fleet import Rejection
from scheduler.domain.job import Job
from scheduler.store.energy import EnergyStore
from scheduler.store.errors import StoreError

log = structlog.get_logger()

# An accelerator and its share of a host draw less than 5 kW, a host has 64 at most: a year of that.
KWH_MOST = 5 * 64 * 24 * 366
REMEMBERED_ATTEMPTS = 100_000
KEEP_EVERY_S = 30.0


class Meters:
    """The newest word of every node on every attempt; what is told of longest ago is forgotten."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, dict[str, Energy]] = OrderedDict()
        self._news: dict[tuple[str, str], Energy] = {}
        # Of these all that was stored is among what was told.
        self._recalled: set[str] = set()

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
            if self._apply(attempt_id, node_id, energy):
                self._news[attempt_id, node_id] = energy
        return rejections

    def _apply(self, attempt_id: str, node_id: str, energy: Energy) -> bool:
        """Whether it is news."""
        by_node = self._told.setdefault(attempt_id, {})
        self._told.move_to_end(attempt_id)
        before = by_node.get(node_id)
        if before is not None and (energy.kwh < before.kwh or energy == before):
            return False
        by_node[node_id] = energy
        while len(self._told) > REMEMBERED_ATTEMPTS:
            gone, _ = self._told.popitem(last=False)
            self._recalled.discard(gone)
        return True

    async def keep(self, store: EnergyStore) -> None:
        """Stores what was told since the last time.

        Raises:
            StoreError: nothing was stored; the next time it is tried again.
        """
        news, self._news = self._news, {}
        if not news:
            return
        try:
            await store.put([(*key, energy) for key, energy in news.items()])
        except StoreError:
            self._news = news | self._news
            raise

    async def keep_always(self, store: EnergyStore) -> None:
        """The same, again and again."""
        while True:
            # A report every few seconds of every attempt is not worth a write each.
            await asyncio.sleep(KEEP_EVERY_S)
            try:
                await self.keep(store)
            except StoreError as error:
                log.warning("energy.not_stored", why=str(error))

    async def recall(self, jobs: Iterable[Job], store: EnergyStore) -> None:
        """Looks up what an earlier scheduler, or this one long ago, was told of these jobs.

        Raises:
            StoreError: the database could not.
        """
        wanted = [a.id for job in jobs for a in job.attempts if a.id not in self._recalled]
        for attempt_id, node_id, energy in await store.of(wanted) if wanted else ():
            self._apply(attempt_id, node_id, energy)
        self._recalled.update(attempt_id for attempt_id in wanted if attempt_id in self._told)

    def of(self, attempt_id: str, nodes: Collection[str]) -> Energy | None:
        """What an attempt has used on its nodes; None while none of them has told."""
        by_node = self._told.get(attempt_id, {})
        known = [by_node[node_id] for node_id in set(nodes) if node_id in by_node]
        if not known:
            return None
        return Energy(sum(one.kwh for one in known), sum(one.estimated_kwh for one in known))
