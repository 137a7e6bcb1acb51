"""The executor as a model: agents/executor without Ray, its bridge and the file system.

A thin mirror of ``RayExecutor``: the record is kept before the order is sent, an order is sent
again to a site actor that does not know it, and what ran in a lost Ray is given up after FENCE_S.
"""

import asyncio
import random
from collections.abc import Sequence

from agents.executor.base import Assignment, Observation
from agents.lease import Lease
from agents.waiting import wait
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from tests.simulation.loop import Process
from tests.simulation.site import Record, Site

FENCE_S = 5.0
ORDER_S = (0.001, 0.2)
LOST = Reason(ReasonCode.RAY_LOST, "the site actor was lost")
STOPPED = Reason(ReasonCode.STOPPED, "stopped on request")


class SimulatedExecutor:
    """The Executor of one daemon's life, over a site that outlives it."""

    def __init__(self, site: Site, process: Process, chance: random.Random) -> None:
        self._site = site
        self._process = process
        self._chance = chance
        # The Ray it is connected to, and the one that it last looked for.
        self._ray: int | None = None
        self._met: int | str | None = "none yet"
        self._lease: Lease | None = None
        self._news = asyncio.Event()
        self._news.set()

    async def run(self) -> None:
        """Stays connected to the site's Ray for as long as the daemon lives."""
        for attempt_id, record in self._site.records.items():
            # An earlier daemon's order that no Ray was there to take: its lease is long over.
            if record.ray is None and not record.state.final:
                self._site.keep(attempt_id, state=AttemptState.FAILED, reason=LOST)
        while True:
            self._site.changed.clear()
            if self._site.ray != self._met:
                self._ray, self._met = None, self._site.ray
                await self._give_up_others(self._met)
                if self._site.ray == self._met:
                    self._connect(self._site.ray)
            self._observe_gangs()
            await self._site.changed.wait()
            await asyncio.sleep(self._chance.uniform(*ORDER_S))

    def _connect(self, ray: int | None) -> None:
        self._ray = ray
        if ray is None:
            return
        if self._lease is not None:
            self._hold(self._lease, ray)
        for attempt_id in list(self._site.records):
            self._hand_over(attempt_id)

    async def start(self, assignment: Assignment) -> None:
        attempt_id, records = assignment.attempt_id, self._site.records
        if attempt_id in records or not self._process.alive:
            return
        records[attempt_id] = Record(
            assignment.epoch,
            assignment.job_id,
            ray=self._ray,
            granted_grace_s=assignment.stop_grace_s,
            outlives_lease=assignment.outlives_lease,
        )
        self._news.set()
        self._order(attempt_id)

    async def stop(self, attempt_id: str, *, grace_s: float | None = None) -> None:
        record = self._site.records.get(attempt_id)
        if record is None or record.state.final or not self._process.alive:
            return
        if grace_s is None:
            grace_s = record.granted_grace_s
        if record.stop_grace_s is not None and record.stop_grace_s <= grace_s:
            return
        if record.ray is None:
            self._site.keep(attempt_id, state=AttemptState.STOPPED, reason=STOPPED)
            self._news.set()
            return
        self._site.keep(attempt_id, stop_grace_s=grace_s)
        self._order(attempt_id)

    def hold(self, lease: Lease) -> None:
        self._lease = lease
        self._process.later(self._chance.uniform(*ORDER_S), self._hold, lease, self._ray)

    def _hold(self, lease: Lease, ray: int | None) -> None:
        held = self._site.lease
        if self._site.ray == ray and (held is None or held.deadline_s < lease.deadline_s):
            self._site.lease = lease

    def not_serving(self) -> str:
        return "" if self._ray is not None and self._ray == self._site.ray else "no Ray"

    async def observe(self, timeout_s: float) -> Sequence[Observation]:
        await wait(self._news, timeout_s)
        self._news.clear()
        return [
            Observation(
                attempt_id=attempt_id,
                epoch=record.epoch,
                state=record.state,
                exit_code=0 if record.state is AttemptState.SUCCEEDED else None,
                reason=record.reason,
                outlives_lease=record.outlives_lease,
            )
            for attempt_id, record in self._site.records.items()
        ]

    async def forget(self, attempt_id: str) -> None:
        record = self._site.records.get(attempt_id)
        if record is not None and record.state.final and self._process.alive:
            del self._site.records[attempt_id]
            self._site.forgotten(attempt_id)
            self._process.later(self._chance.uniform(*ORDER_S), self._site.forget, attempt_id)

    async def close(self) -> None:
        return

    def _order(self, attempt_id: str) -> None:
        self._process.later(self._chance.uniform(*ORDER_S), self._send, attempt_id)

    def _hand_over(self, attempt_id: str) -> None:
        record = self._site.records[attempt_id]
        if record.ray is None and not record.state.final:
            self._site.keep(attempt_id, ray=self._ray)
        self._send(attempt_id)

    def _send(self, attempt_id: str) -> None:
        record = self._site.records.get(attempt_id)
        if record is None or record.state.final or self._ray is None:
            return
        if record.ray != self._site.ray or self._ray != self._site.ray:
            return
        self._site.start(attempt_id, record)
        if record.stop_grace_s is not None:
            self._site.stop(attempt_id, record.stop_grace_s, STOPPED)

    def _observe_gangs(self) -> None:
        """Takes over what the site actor tells; only of the Ray that the daemon is connected to."""
        if self._ray is None or self._site.ray != self._ray:
            return
        for attempt_id, gang in self._site.gangs.items():
            record = self._site.records.get(attempt_id)
            if record is None:
                record = self._site.records[attempt_id] = Record(
                    gang.epoch, "", ray=self._ray, outlives_lease=gang.outlives_lease
                )
            if not record.state.final:
                self._site.keep(attempt_id, state=gang.state, reason=gang.reason, ray=self._ray)
        self._news.set()

    async def _give_up_others(self, ray: int | None) -> None:
        """Attempts of another Ray are over once no process of theirs can be alive."""
        lost = [
            attempt_id
            for attempt_id, record in self._site.records.items()
            if not record.state.final and record.ray not in (None, ray)
        ]
        if not lost:
            return
        await asyncio.sleep(FENCE_S)
        for attempt_id in lost:
            self._site.end_attempt(attempt_id)
            stopping = self._site.records[attempt_id].stop_grace_s is not None
            state = AttemptState.STOPPED if stopping else AttemptState.FAILED
            self._site.keep(attempt_id, state=state, reason=STOPPED if stopping else LOST)
        self._news.set()
