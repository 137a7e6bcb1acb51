"""Notes what happens to nodes, clusters and rounds, as events that outlive the scheduler.

What comes in from outside is noted at a bounded rate: an agent that flaps or lies must not fill the
disk. A change of contact that may not be noted now is noted when it may, if it still holds.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import structlog

from scheduler.clock import Clock
from scheduler.domain.audit import AuditEvent, Happening, Subject
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.state.allowance import Allowance
from scheduler.state.bell import Bell
from scheduler.state.contacts import HAPPENINGS, Contacts
from scheduler.state.fleet import LOST_AFTER_REPORTS, Fleet
from scheduler.store.errors import LeadershipLostError, StoreError
from scheduler.store.events import EventStore

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
AT_ONE_GO = 200
# Of each node, cluster or other source of events: so many at once, then one in ten minutes.
ONE_BURST, ONE_EVERY_S = 10, 600.0
# Of all together: a nation's nodes at once, then one a second.
ALL_BURST, ALL_EVERY_S = 50_000, 1.0
# A field that is refused again within a day is no news.
REFUSED_AGAIN_S = 86_400.0
REFUSED_MOST = 10_000
# Not stored yet; while the database is away, the oldest are let go.
QUEUE_MOST = 50_000
# Characters of what agents say.
NAME_MOST, VALUE_MOST, WHY_MOST = 80, 80, 300


class Audit:
    """Watches the fleet, and takes notes of others. Lives on the event loop."""

    def __init__(
        self, store: EventStore, fleet: Fleet, clock: Clock, report_interval_s: float
    ) -> None:
        self.bell = Bell()
        self._store = store
        self._fleet = fleet
        self._clock = clock
        # Until then, who is not heard may just not have called yet.
        self._settled_s = clock.monotonic() + LOST_AFTER_REPORTS * report_interval_s
        self._contacts = Contacts(())
        self._ones = Allowance(ONE_BURST, ONE_EVERY_S)
        self._all = Allowance(ALL_BURST, ALL_EVERY_S)
        self._left_out: dict[str, int] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self._queue: deque[AuditEvent] = deque(maxlen=QUEUE_MOST)
        self._storing: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Reads what was last told of each node and cluster, and notes that a scheduler starts.

        Raises:
            StoreError: the database could not.
        """
        self._contacts = Contacts(await self._store.last(HAPPENINGS))
        self._scheduler(Happening.STARTED, f"version {version('westward')}")
        await self.flush()

    async def end(self) -> None:
        """Notes that the scheduler ends, and stores what is not stored yet."""
        self._scheduler(Happening.STOPPED, "asked to stop")
        try:
            await self.flush()
        except StoreError as error:
            log.warning("audit.not_stored", events=len(self._queue), why=str(error))

    async def watch(self) -> None:
        """Looks and stores, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)  # the pace of an audit trail
            await self.look()
            try:
                await self.flush()
            except LeadershipLostError:
                raise
            except StoreError as error:
                log.error("audit.not_stored", events=len(self._queue), why=str(error))

    async def look(self) -> None:
        """Notes what has become of nodes and clusters since the last look."""
        at, settled = self._clock.now(), self._clock.monotonic() >= self._settled_s
        for number, event in enumerate(self._contacts.nodes(self._fleet.nodes(), at, self._may)):
            self._queue.append(event)
            if number % AT_ONE_GO == AT_ONE_GO - 1:
                await asyncio.sleep(0)  # a nation's nodes may join at once: others go first
        contacts = self._fleet.contacts()
        self._queue.extend(self._contacts.clusters(contacts, at, self._may, settled=settled))
        if settled:
            self._queue.extend(self._contacts.missing(at, self._may))

    def refused_field(
        self, node_id: str, cluster: str, field: str, value: str, reason: str
    ) -> None:
        """Notes the first time that a field of a node is not believed."""
        key, now_s = (node_id, field[:NAME_MOST]), self._clock.monotonic()
        if now_s - self._refused.get(key, -REFUSED_AGAIN_S) < REFUSED_AGAIN_S:
            return
        told = f"{key[1]} = {value[:VALUE_MOST]!r}: {reason[:WHY_MOST]}"
        event = AuditEvent(
            at=self._clock.now(),
            actor=f"agent/{node_id}",
            subject=Subject.NODE,
            name=node_id,
            cluster=cluster,
            event=Happening.FIELD_REFUSED.value,
            message=told,
        )
        if self._note(f"fields of {node_id}", event):
            self._refused[key] = now_s
            while len(self._refused) > REFUSED_MOST:
                del self._refused[next(iter(self._refused))]

    def refused_agent(self, node_id: str, cluster: str, why: str) -> None:
        """Notes that an agent was not let in because another has its place. Whoever calls may
        call himself anything, so all such notes have one allowance."""
        event = AuditEvent(
            at=self._clock.now(),
            actor=f"agent/{node_id[:NAME_MOST]}",
            subject=Subject.NODE,
            name=node_id[:NAME_MOST],
            cluster=cluster[:NAME_MOST],
            event=Happening.AGENT_REFUSED.value,
            message=why[:WHY_MOST],
        )
        self._note("agents", event)

    def made(self, record: RoundRecord) -> None:
        """A round is stored as such."""

    def placed(self, placements: Sequence[PlacementRecord]) -> None:
        """Stored with the jobs."""

    def failed(self, round_id: int, why: str) -> None:
        """Notes that a round has failed: planned nothing, or something illegal."""
        event = AuditEvent(
            at=self._clock.now(),
            actor="planner",
            subject=Subject.ROUND,
            name=str(round_id),
            event=Happening.FAILED.value,
            message=why[:WHY_MOST],
        )
        self._note("rounds", event)

    def _scheduler(self, happening: Happening, message: str) -> None:
        self._queue.append(
            AuditEvent(
                at=self._clock.now(),
                actor="scheduler",
                subject=Subject.SCHEDULER,
                name="scheduler",
                event=happening.value,
                message=message,
            )
        )

    def _note(self, source: str, event: AuditEvent) -> bool:
        """Notes an event if its source may have one more; the next that may says how many did
        not."""
        if not self._take(source):
            self._left_out[source] = self._left_out.get(source, 0) + 1
            return False
        if left_out := self._left_out.pop(source, 0):
            event = replace(event, message=f"{event.message} (and {left_out} more before)")
        self._queue.append(event)
        return True

    def _may(self, subject: Subject, name: str) -> bool:
        return self._take(f"{subject} {name}")

    def _take(self, source: str) -> bool:
        now_s = self._clock.monotonic()
        return self._ones.take(source, now_s) and self._all.take("", now_s)

    async def flush(self) -> None:
        """Stores what was noted, and wakes who follows.

        Raises:
            StoreError: the database could not; it is tried again with the next.
        """
        # A caller may be cancelled, what the writer has been given is committed all the same: who
        # flushes next waits for it, or would store it again.
        self._storing = asyncio.create_task(self._store_after(self._storing))
        await asyncio.shield(self._storing)

    async def _store_after(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        if not self._queue:
            return
        events = list(self._queue)
        await self._store.add(events)
        # More may have come meanwhile; of a full queue, some of the oldest may have gone.
        for event in events:
            if self._queue and self._queue[0] is event:
                self._queue.popleft()
        self.bell.ring()
