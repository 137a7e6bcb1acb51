"""Keeps every cluster's desired state sent, and turns what is observed into job events."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from scheduler.clock import Clock
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import HeadStream, Streams
from scheduler.dispatch.verdict import Seen, Verdict, judge, lost
from scheduler.domain.job import (
    STOPPING_STATES,
    Attempt,
    AttemptState,
    Command,
    Job,
    JobSpec,
    JobState,
    OnUnreachable,
)
from scheduler.domain.progress import settled
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Effect, Event, Step
from scheduler.state.jobs import Change, JobBook
from scheduler.store.errors import LeadershipLostError, StoreError

log = structlog.get_logger()

# Which live jobs' attempts should be running.
DESIRED_STATES = frozenset({JobState.ASSIGNED, JobState.RUNNING, JobState.UNREACHABLE})
CONTACT_CHECK_S = 1.0
# Of the specs in one desired state; agents take messages of up to 64 MiB.
SPECS_MOST_BYTES = 16 * 1024 * 1024
# Of a spec's bounded parts together.
SPEC_BYTES = 4096


class Reachability(Protocol):
    """What the dispatcher asks of the fleet."""

    def reachable(self, cluster: str) -> bool: ...

    def silent_s(self, cluster: str) -> float: ...


def desired(jobs: Iterable[Job]) -> list[Job]:
    """Of a cluster's live jobs those whose newest attempt should be running, the longest assigned
    first.

    Those that have not started are named only as far as their specs fit into one message. None
    that was named once is left out later: what stands before it only gets smaller.
    """
    wanted = [
        (job, job.attempt)
        for job in jobs
        if job.state in DESIRED_STATES and job.attempt is not None
    ]
    wanted.sort(key=lambda pair: (pair[1].assigned_at, pair[1].id))
    named: list[Job] = []
    room_bytes = SPECS_MOST_BYTES
    for job, _ in wanted:
        if may_start(job):
            room_bytes -= spec_bytes(job.spec)
            if room_bytes < 0:
                continue
        named.append(job)
    return named


def may_start(job: Job) -> bool:
    """Whether an agent that does not know the attempt is to start it: nobody has seen it run."""
    running = job.state is JobState.RUNNING
    return job.attempt is not None and job.attempt.started_at is None and not running


def spec_bytes(spec: JobSpec) -> int:
    """About what a spec takes on the wire: the parts that users can make large."""
    work = spec.work.argv if isinstance(spec.work, Command) else (spec.work.entrypoint,)
    texts = [*work, *spec.env, *spec.env.values()]
    bitmap_bytes = spec.array.tasks // 8 if spec.array is not None else 0
    return SPEC_BYTES + bitmap_bytes + sum(len(text.encode()) for text in texts)


class NotForcedError(Exception):
    """An attempt that nobody needs to give up."""


class Dispatcher:
    """Level-triggered: every exchange carries the whole wish or the whole view of a cluster."""

    def __init__(
        self, book: JobBook, fleet: Reachability, leases: Leases, streams: Streams, clock: Clock
    ) -> None:
        self._book = book
        self._fleet = fleet
        self._leases = leases
        self._streams = streams
        self._clock = clock

    def on_step(self, step: Step) -> None:
        """Listens to the job book: a changed wish leaves at once."""
        if Effect.DISPATCH in step.effects and step.job.attempt is not None:
            stream = self._streams.head_of(step.job.attempt.cluster)
            if stream is not None:
                stream.wish_changed()

    def wish(self, stream: HeadStream, seq: int) -> list[Job]:
        """What the cluster should run, as it leaves with ``seq``: this renews their leases.

        The stream must be the cluster's current one: a lease granted on another is not counted.
        """
        assert self._streams.current(stream), f"{stream.cluster}: not the current stream"
        jobs = desired(self._book.live.on(stream.cluster).values())
        self._leases.grant(stream.cluster)
        ids = frozenset(job.attempt.id for job in jobs if job.attempt is not None)
        self._streams.remember(stream.cluster, seq, ids)
        return jobs

    async def observed(
        self, stream: HeadStream, seq: int, seen: Sequence[Seen], answers_seq: int
    ) -> None:
        """Applies a head agent's whole view, then renews its leases. Only once all of it is stored
        does the agent hear that it may forget the ends it has told of with ``seq``.

        Raises:
            LeadershipLostError: this scheduler has no say any more, so it renews nothing.
        """
        if not self._streams.current(stream):
            return
        cluster = stream.cluster
        listed = {one.attempt_id: one for one in seen}
        named = self._streams.named(cluster, answers_seq)
        at, speedup = self._clock.now(), self._clock.speedup
        verdicts: list[tuple[Job, Verdict | None]] = []
        for job in self._book.live.on(cluster).values():
            attempt = job.attempt
            assert attempt is not None, f"job {job.id} is live without an attempt"
            if attempt.id in listed:
                self._book.progress.heard(job, attempt.id, listed[attempt.id].tasks)
                verdicts.append((job, judge(job, listed[attempt.id], at=at, speedup=speedup)))
                continue
            later = self._streams.named_after(cluster, answers_seq, attempt.id)
            if named is not None and (gone := _gone(job, attempt.id in named, later)):
                verdicts.append((job, lost(job, gone, at=at, speedup=speedup)))
        try:
            if await self._apply(verdicts, actor=f"agent/{cluster}"):
                stream.stored_seq = seq
        except LeadershipLostError:
            raise
        except StoreError as error:
            # The agent will tell again. Its attempts keep their lease: it is not the one to blame.
            log.error("observation.not_stored", cluster=cluster, why=str(error))
        stream.wish_changed()

    def alive_for_s(self, cluster: str) -> float:
        """How long attempts may still be alive on a cluster that is heard of no more, in seconds
        of real time; 0 when there are none, and for ever when one of them waits for it."""
        live = self._book.live.on(cluster).values()
        if any(job.spec.on_unreachable is OnUnreachable.WAIT for job in live):
            return math.inf
        return max(0.0, self._leases.expires_in_s(cluster)) if live else 0.0

    async def watch_contact(self) -> None:
        """Marks jobs of silent clusters, and gives up on them when their leases have expired."""
        while True:
            await asyncio.sleep(CONTACT_CHECK_S)
            try:
                await self.check_contact()
            except StoreError as error:
                log.error("contact.not_stored", why=str(error))

    async def check_contact(self) -> None:
        """One look at every cluster that has live attempts."""
        live = self._book.live
        silent = [cluster for cluster in live.clusters() if not self._fleet.reachable(cluster)]
        verdicts = [
            (job, self._silent(job, job.attempt))
            for cluster in silent
            for job in live.on(cluster).values()
            if job.attempt
        ]
        await self._apply(verdicts, actor="scheduler")

    def _silent(self, job: Job, attempt: Attempt) -> Verdict | None:
        cluster = attempt.cluster
        expires_in_s = self._leases.expires_in_s(cluster)
        silent_s = self._fleet.silent_s(cluster)
        waits = job.spec.on_unreachable is OnUnreachable.WAIT
        if expires_in_s <= 0 and not waits:
            told = (
                f"{cluster} was silent past the attempt's lease of {self._leases.lease_ttl_s:g} s"
            )
            reason = Reason(ReasonCode.LEASE_EXPIRED, told)
            return lost(job, reason, at=self._clock.now(), speedup=self._clock.speedup)
        if job.state not in (JobState.ASSIGNED, JobState.RUNNING):
            return None
        since = f"for {silent_s:.0f} s" if silent_s < float("inf") else "since the restart"
        told = f"{cluster} is silent {since}; its lease ends in {expires_in_s:.0f} s"
        if waits:
            told = f"{cluster} is silent {since}; the job waits for it, as it asked to"
        reason = Reason(ReasonCode.UNREACHABLE, told)
        return Verdict(event=Event.LOSE_CONTACT, reason=reason, attempt=attempt)

    async def force_retry(self, job_id: str, reason: str, actor: str) -> Job:
        """Gives up on an attempt that may still be alive on a silent cluster. Two attempts of the
        job may then run at once until the cluster is back: the operator has been warned.

        Raises:
            NotForcedError: nothing needs to be forced here.
            UnknownJobError: there is no such job.
            StoreError: nothing was stored.
        """
        job = await self._book.get(job_id)
        if (why := self._needs_no_force(job)) is not None:
            raise NotForcedError(f"job {job.id} is {job.state}: {why}")
        assert job.attempt is not None
        at = self._clock.now()
        told = f"given up on {job.attempt.cluster} by {actor}, perhaps alive there"
        forced = Reason(ReasonCode.FORCED, told + (f": {reason}" if reason else ""))
        attempt = replace(job.attempt, state=AttemptState.LOST, ended_at=at, reason=forced)
        change = Change(
            job_id=job.id,
            event=Event.FORCE_RETRY,
            actor=actor,
            reason=forced,
            attempt=settled(job.spec, attempt, done_s=job.done_s),
            expect_version=job.version,
        )
        return (await self._book.apply(change)).job

    def _needs_no_force(self, job: Job) -> str | None:
        if not job.state.live or job.attempt is None:
            return "no attempt of it can be alive"
        cluster = job.attempt.cluster
        if job.spec.on_unreachable is not OnUnreachable.WAIT:
            return "it does not wait for its cluster; it goes on by itself once the lease is over"
        if self._fleet.reachable(cluster):
            return f"{cluster} can be reached; cancel or suspend it instead"
        if job.state not in (JobState.UNREACHABLE, *STOPPING_STATES):
            return f"{cluster} has only just fallen silent; ask again in a few seconds"
        return None

    async def _apply(self, verdicts: Sequence[tuple[Job, Verdict | None]], *, actor: str) -> bool:
        """All in one transaction. What another event has overtaken, a cancel for instance, is
        left out; the next exchange tells again. Whether nothing was."""
        changes = [
            Change(
                job_id=job.id,
                event=verdict.event,
                actor=actor,
                reason=verdict.reason,
                attempt=verdict.attempt,
                not_before_at=verdict.not_before_at,
            )
            for job, verdict in verdicts
            if verdict is not None
        ]
        whole = True
        for change, outcome in zip(changes, await self._book.apply_many(changes), strict=True):
            if isinstance(outcome, Exception):
                whole = False
                log.info("observation.overtaken", job=change.job_id, why=str(outcome))
        return whole


def _gone(job: Job, wished: bool, wished_later: bool) -> Reason | None:
    """Why an attempt that is missing from a full view is certainly gone; None if it may come:
    a view from before the agent was told of it proves nothing."""
    stopping = job.state in STOPPING_STATES
    if stopping and not wished and not wished_later:
        return Reason(ReasonCode.STOPPED, "no process of the attempt is left")
    if not stopping and wished:
        return Reason(ReasonCode.WORKER_LOST, "the agent no longer knows the attempt")
    return None
