"""Carries out what a plan wants stopped, and remembers for whom, until that job starts."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from scheduler.domain.job import Job, JobState
from scheduler.domain.transitions import Event
from scheduler.planner.pauses import next_ask_at
from scheduler.planner.plan import Interruption, InterruptionKind
from scheduler.planner.snapshot import Claim
from scheduler.state.jobs import Change, JobBook

log = structlog.get_logger()


class Interruptions:
    """The claims of jobs for which room is being made, at most one per job, the newest. They need
    not outlive a restart: without them, others may take the room, and more has to be made."""

    def __init__(self, book: JobBook, slot_s: float) -> None:
        self._book = book
        self._slot_s = slot_s
        self._claims: dict[str, Claim] = {}
        # The slot in which running attempts were last looked at although nothing waited.
        self._looked_slot = -1
        self._ask_at: datetime | None = None

    def claims(self, now_at: datetime) -> tuple[Claim, ...]:
        """Those whose time is not up, in the order of their jobs' ids."""
        self._claims = {k: c for k, c in self._claims.items() if c.until_at > now_at}
        return tuple(claim for _, claim in sorted(self._claims.items()))

    def forget(self, job_id: str) -> None:
        """The job waits no longer."""
        self._claims.pop(job_id, None)

    def due(self, now_at: datetime) -> bool:
        """Whether to look, once in a slot, for a better place for what runs though nothing waits;
        prices change with the slots."""
        slot = int(now_at.timestamp() // self._slot_s)
        asked = self._ask_at is not None and self._ask_at <= now_at
        if slot == self._looked_slot and not asked:
            return False
        self._looked_slot, self._ask_at = slot, None
        return bool(self._graces_s())

    def ask_at(self, now_at: datetime) -> datetime | None:
        """When to look next whether a run should pause, a grace before a slot ends; None: nothing
        that runs may."""
        if self._ask_at is None:
            times = [next_ask_at(now_at, s, self._slot_s) for s in self._graces_s()]
            self._ask_at = min(times, default=None)
        return self._ask_at

    def _graces_s(self) -> set[float]:
        """Of what runs and may be stopped."""
        return {
            job.spec.stop_grace_s
            for job in self._book.active().values()
            if job.spec.interruptible and job.state is JobState.RUNNING
        }

    async def ask(
        self,
        interruptions: Iterable[Interruption],
        versions: Mapping[str, int],
        now_at: datetime,
        *,
        whole: bool,
    ) -> None:
        """Asks attempts to stop, if their jobs are still as the round saw them.

        Args:
            versions: of the jobs in the round's snapshot.
            whole: the round saw all jobs; one that did not does not know what is free elsewhere,
                and moves nothing.
        """
        active = self._book.active()
        wanted = [
            i
            for i in interruptions
            if i.job_id in active and (whole or i.kind is not InterruptionKind.MIGRATE)
        ]
        outcomes = await self._book.apply_many([_change(i, versions[i.job_id]) for i in wanted])
        for interruption, outcome in zip(wanted, outcomes, strict=True):
            told = {"kind": interruption.kind.value, "job": interruption.job_id}
            if isinstance(outcome, Exception):
                log.info("interruption.overtaken", **told, why=str(outcome))
                continue
            log.info("interruption", **told, why=interruption.reason.message)
            waiting = active.get(interruption.for_job)
            if waiting is not None and waiting.state is JobState.PENDING:
                self._claims[waiting.id] = self._claim(waiting, outcome.job, now_at)

    def _claim(self, waiting: Job, stopping: Job, now_at: datetime) -> Claim:
        """The room that a stopping job leaves to a waiting one: until a slot after its grace."""
        assert stopping.attempt is not None, "only what runs is stopped"
        return Claim(
            job_id=waiting.id,
            priority=waiting.spec.priority,
            cluster=stopping.attempt.cluster,
            accelerator=stopping.attempt.accelerator,
            until_at=now_at + timedelta(seconds=stopping.spec.stop_grace_s + self._slot_s),
        )


def _change(interruption: Interruption, version: int) -> Change:
    return Change(
        job_id=interruption.job_id,
        event=Event.PREEMPT,
        actor="planner",
        reason=interruption.reason,
        expect_version=version,
    )
