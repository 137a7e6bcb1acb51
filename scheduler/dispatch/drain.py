"""Empties the nodes that operators drain."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import structlog

from scheduler.clock import Clock
from scheduler.domain.fleet import Mark
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.state.jobs import Change, JobBook
from scheduler.store.errors import StoreError

log = structlog.get_logger()

CHECK_S = 1.0


class Drain:
    """Stops at once what can go on elsewhere, with its grace and its checkpoint, and at the
    deadline what has to begin anew there."""

    def __init__(self, book: JobBook, marks: Mapping[str, Mark], clock: Clock) -> None:
        """``marks`` by node, as they are at any time."""
        self._book = book
        self._marks = marks
        self._clock = clock

    async def watch(self) -> None:
        """Looks for ever."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.check()
            except StoreError as error:
                log.error("drain.not_stored", why=str(error))

    async def check(self) -> None:
        """One look at the draining nodes. A gang leaves as a whole, if one of its nodes is drained;
        one whose cluster is silent, when it is back."""
        draining = {n: m for n, m in self._marks.items() if m.drain_until_at is not None}
        if not draining:
            return
        now_at = self._clock.now()
        changes = [
            _change(job, node_id, draining[node_id])
            for job in self._book.live
            if (node_id := _leaves(job, draining, now_at)) is not None
        ]
        outcomes = await self._book.apply_many(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.info("drain.overtaken", job=change.job_id, why=str(outcome))
            else:
                log.info("drain", job=change.job_id, why=change.reason.message)


def _leaves(job: Job, draining: Mapping[str, Mark], now_at: datetime) -> str | None:
    """The drained node that a job is to leave now; None if it may go on."""
    if job.attempt is None or job.state not in (JobState.ASSIGNED, JobState.RUNNING):
        return None
    for node_id in job.attempt.nodes:
        mark = draining.get(node_id)
        if mark is None or mark.drain_until_at is None:
            continue
        if job.spec.interruptible or now_at >= mark.drain_until_at:
            return node_id
    return None


def _change(job: Job, node_id: str, mark: Mark) -> Change:
    told = f"{mark.actor} drains {node_id}" + (f": {mark.reason}" if mark.reason else "")
    return Change(
        job_id=job.id,
        event=Event.PREEMPT,
        actor=mark.actor,
        reason=Reason(ReasonCode.DRAINED, told),
        expect_version=job.version,
    )
