"""The product's own decisions about one job, each worked out once for each of its states.

A job is a number here: of all that a stored job holds, only its state and its attempts decide what
comes next, so jobs that agree in these are one. Times are all the same moment, messages are empty.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, cast

from agents import lease
from agents import reconcile as agent
from scheduler.dispatch import dispatcher
from scheduler.dispatch.dispatcher import Dispatcher, desired, may_start
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.verdict import Seen, Verdict, judge, lost
from scheduler.domain.job import (
    AttemptState,
    Command,
    Job,
    JobSpec,
    JobState,
    OnUnreachable,
)
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import TRANSITIONS, Effect, Event, advance
from scheduler.planner.plan import Placement
from scheduler.planning.values import next_attempt
from scheduler.state.live import LiveJobs

AT = datetime(2026, 6, 18, tzinfo=UTC)
JOB_ID = "job"
CLUSTERS = ("first", "second")
NOTHING_SAID = Reason(ReasonCode.OK, "")
# What users and the planner may do to a job at any time.
WISHES = (Event.CANCEL, Event.SUSPEND, Event.RESUME, Event.PREEMPT)


@dataclass(frozen=True, slots=True)
class Parts:
    """The product's parts that a bug can be planted in."""

    renewed: Callable[..., lease.Lease] = lease.renewed
    reconcile: Callable[..., list[agent.Action]] = agent.reconcile
    gone: Callable[[Job, bool, bool], Reason | None] = dispatcher._gone
    expires_in_s: Callable[[Leases, str], float] = Leases.expires_in_s


class Look(NamedTuple):
    """How an attempt looks from its head node."""

    state: AttemptState
    code: ReasonCode


STARTING = Look(AttemptState.STARTING, ReasonCode.OK)
RUNNING = Look(AttemptState.RUNNING, ReasonCode.OK)
SUCCEEDED = Look(AttemptState.SUCCEEDED, ReasonCode.OK)
FAILED = Look(AttemptState.FAILED, ReasonCode.NONZERO_EXIT)
RAY_LOST = Look(AttemptState.FAILED, ReasonCode.RAY_LOST)
UNKNOWN_HERE = Look(AttemptState.FAILED, ReasonCode.WORKER_LOST)
STOPPED = Look(AttemptState.STOPPED, ReasonCode.STOPPED)
EXPIRED = Look(AttemptState.STOPPED, ReasonCode.LEASE_EXPIRED)


class Moved(NamedTuple):
    """What a transition made of a job; ``dispatch``: its attempt's cluster is to be told soon."""

    event: Event
    job: int
    dispatch: bool


def attempt_id(number: int) -> str:
    return f"{JOB_ID}-{number}"


class Rules:
    """All that the scheduler decides, for one kind of job and with the parts given."""

    def __init__(
        self, parts: Parts, *, attempts_most: int, on_unreachable: OnUnreachable, ttl_s: float
    ) -> None:
        self._ttl_s = ttl_s
        self.parts = parts
        self.waits = on_unreachable is OnUnreachable.WAIT
        self.attempts_most = attempts_most
        self.jobs: list[Job] = []
        self._known: dict[object, int] = {}
        spec = JobSpec(
            name="job",
            tenant="tenant",
            region="east",
            work=Command(("true",)),
            expected_duration_s=60.0,
            interruptible=True,
            max_attempts=attempts_most,
            on_unreachable=on_unreachable,
        )
        born = Job(
            id=JOB_ID,
            spec=spec,
            state=JobState.PENDING,
            reason=NOTHING_SAID,
            version=1,
            created_at=AT,
            updated_at=AT,
        )
        self.born = self._number(born)
        self.observed = cache(self._observed)
        self.silent = cache(self._silent)
        self.forced = cache(self._forced)
        self.wish = cache(self._wish)
        self.wished = cache(lambda job: [*self._wished(job)])
        self.assigned = cache(self._assigned)

    def _number(self, job: Job) -> int:
        """Jobs whose difference decides nothing have one number."""
        attempts = tuple(
            replace(one, reason=None if one.reason is None else Reason(one.reason.code, ""))
            for one in job.attempts
        )
        key = (job.state, attempts)
        if key not in self._known:
            self._known[key] = len(self.jobs)
            plain = replace(
                job, attempts=attempts, reason=NOTHING_SAID, version=1, not_before_at=None
            )
            self.jobs.append(plain)
        return self._known[key]

    def _moved(self, job: Job, event: Event, **changes: Any) -> Moved:
        step = advance(job, event, at=AT, actor="", reason=NOTHING_SAID, **changes)
        return Moved(event, self._number(step.job), Effect.DISPATCH in step.effects)

    def _judged(self, job: Job, verdict: Verdict | None) -> Moved | None:
        """As the job book does: an event that the table has no row for is left out."""
        if verdict is None or (job.state, verdict.event) not in TRANSITIONS:
            return None
        return self._moved(job, verdict.event, attempt=verdict.attempt)

    def _observed(
        self, number: int, at: int, view: tuple[tuple[int, Look], ...], answers: Any
    ) -> Moved | None:
        """``Dispatcher.observed`` for one job. ``answers``: the newest attempt that the answered
        wish named and the newest named after it; None if the view answers none."""
        job = self.jobs[number]
        attempt = job.attempt
        if attempt is None or attempt.cluster != CLUSTERS[at] or not job.state.live:
            return None
        look = dict(view).get(attempt.number)
        if look is not None:
            seen = Seen(
                attempt_id=attempt.id,
                epoch=attempt.epoch,
                state=look.state,
                reason=Reason(look.code, ""),
            )
            return self._judged(job, judge(job, seen, at=AT, speedup=1.0))
        if answers is None:
            return None
        named, later = (one == attempt.number for one in answers)
        gone = self.parts.gone(job, named, later)
        return self._judged(job, lost(job, gone, at=AT, speedup=1.0)) if gone else None

    def _silent(self, number: int, granted_s: int) -> Moved | None:
        """What a look at a silent cluster does, ``granted_s`` after its last grant."""
        job = self.jobs[number]
        assert job.attempt is not None
        dispatcher = _dispatcher(self._leases(job.attempt.cluster, granted_s))
        return self._judged(job, dispatcher._silent(job, job.attempt))

    def lease_over(self, granted_s: int) -> bool:
        """By the scheduler's book, so long after the last grant."""
        return self._leases(CLUSTERS[0], granted_s).expires_in_s(CLUSTERS[0]) <= 0

    def _leases(self, cluster: str, granted_s: int) -> Leases:
        clock = _Clock()
        leases = _PatchedLeases(clock, self._ttl_s, self.parts.expires_in_s)
        leases.grant(cluster)
        clock.now_s = granted_s
        return leases

    def _forced(self, number: int) -> Moved | None:
        """``force-retry``, where the product allows it, of a job whose cluster is silent."""
        job = self.jobs[number]
        if _dispatcher(None)._needs_no_force(job) is not None:
            return None
        assert job.attempt is not None
        forced = Reason(ReasonCode.FORCED, "")
        attempt = replace(job.attempt, state=AttemptState.LOST, ended_at=AT, reason=forced)
        return self._moved(job, Event.FORCE_RETRY, attempt=attempt)

    def _wish(self, number: int, at: int) -> tuple[int, bool]:
        """The attempt that a cluster should run, 0 for none, and whether it may start there."""
        for job in desired(LiveJobs([self.jobs[number]]).on(CLUSTERS[at]).values()):
            return len(job.attempts), may_start(job)
        return 0, False

    def _wished(self, number: int) -> Iterator[Moved]:
        job = self.jobs[number]
        for event in WISHES:
            if (job.state, event) in TRANSITIONS:
                yield self._moved(job, event)

    def _assigned(self, number: int, at: int) -> Moved | None:
        """The planner's placement; the attempts are as many as the bounds allow."""
        job = self.jobs[number]
        if job.state is not JobState.PENDING or len(job.attempts) >= self.attempts_most:
            return None
        placement = Placement(
            job_id=JOB_ID,
            cluster=CLUSTERS[at],
            accelerator="",
            start_at=AT,
            end_at=AT + timedelta(minutes=1),
            now=True,
            nodes=("node",),
            energy_kwh=0.0,
            green_kwh=0.0,
            green_held_kw=0.0,
            cost_yuan=0.0,
            carbon_kg=0.0,
        )
        return self._moved(job, Event.ASSIGN, attempt=next_attempt(job, placement, AT))


class _Clock:
    """The scheduler's clocks, as far as they are asked."""

    speedup = 1.0

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return self.now_s


class _PatchedLeases(Leases):
    """Leases whose end may have been broken on purpose."""

    def __init__(
        self, clock: Any, lease_ttl_s: float, expires_in_s: Callable[[Leases, str], float]
    ) -> None:
        super().__init__(clock, lease_ttl_s)
        self._asked = expires_in_s

    def expires_in_s(self, cluster: str) -> float:
        return self._asked(self, cluster)


class _NobodyReachable:
    def reachable(self, cluster: str) -> bool:
        return False

    def silent_s(self, cluster: str) -> float:
        return 0.0


def _dispatcher(leases: Leases | None) -> Dispatcher:
    """As much of it as its decisions about a silent cluster need."""
    unused = cast(Any, None)
    return Dispatcher(unused, _NobodyReachable(), cast(Any, leases), unused, cast(Any, _Clock()))
