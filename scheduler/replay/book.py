"""The replayed jobs: every change of state by the service's own table, and what nodes have free."""

import itertools
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.domain.job import Attempt, AttemptState, Job, JobState
from scheduler.domain.progress import settled
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event, advance
from scheduler.planner.plan import Interruption, Placement
from scheduler.planner.snapshot import PendingJob, RunningAttempt
from scheduler.planning.values import as_of, least_s, next_attempt, pending_job, running_attempt
from scheduler.replay.case import ReplayJob
from scheduler.replay.fleet import SLACK, Fleet
from scheduler.replay.outcome import Run

# What a process that ended on SIGTERM leaves behind: it has saved its work.
SIGTERM_EXIT_CODE = 143
_SUBMITTED = Reason(ReasonCode.NOT_PLANNED_YET, "submitted")
_PLACED = Reason(ReasonCode.CHOSEN, "placed")
_DONE = Reason(ReasonCode.OK, "succeeded")
_LATE = Reason(ReasonCode.DEADLINE, "its deadline can no longer be met")


class IllegalStartError(Exception):
    """A placer gave away what is not there."""


@dataclass(slots=True)
class Live:
    """An attempt under way: when it really ends, and whether that is because it was told to."""

    traced: ReplayJob
    run: Run
    end_at: datetime
    stopping: bool = False


class ReplayBook:
    """Jobs that wait and attempts that run, as the next snapshot shows them."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._jobs: dict[str, Job] = {}
        self._traced: dict[str, ReplayJob] = {}
        self._free = fleet.capacity.tolist()
        # Work really done by ended attempts, in seconds at relative speed 1.
        self._worked_s: dict[str, float] = {}
        self.pending: dict[str, PendingJob] = {}
        self.running: dict[str, RunningAttempt] = {}
        self.live: dict[str, Live] = {}
        self.runs: list[Run] = []
        # Attempts that the planner may ask to stop.
        self.stoppable: set[str] = set()

    def submit(self, traced: ReplayJob) -> None:
        """A job arrives, PENDING."""
        job = Job(
            id=traced.id,
            spec=traced.spec,
            state=JobState.PENDING,
            reason=_SUBMITTED,
            version=1,
            created_at=traced.submitted_at,
            updated_at=traced.submitted_at,
        )
        self._jobs[job.id], self._traced[job.id] = job, traced
        self.pending[job.id] = pending_job(job)

    def start(self, placement: Placement, now_at: datetime) -> Live:
        """Carries out a placement: the attempt runs from now until its work is really done.

        Raises:
            IllegalStartError: a node has not got what the placement takes.
        """
        job, traced = self._jobs[placement.job_id], self._traced[placement.job_id]
        if len(placement.nodes) != job.spec.workers:
            told = f"{len(placement.nodes)} nodes for {job.spec.workers} workers"
            raise IllegalStartError(f"job {job.id}: {told}")
        self._hold(job, placement.nodes, -1)
        assigned = next_attempt(job, placement, now_at)
        self._advance(job, Event.ASSIGN, now_at, _PLACED, assigned)
        started = replace(assigned, state=AttemptState.RUNNING, started_at=now_at)
        job = self._advance(self._jobs[job.id], Event.START, now_at, _PLACED, started)
        site = self._fleet.sites[placement.cluster]
        overhead_s = self._fleet.stage_s(job.spec, site) + self._restart_s(job)
        speed = job.spec.speed_on(placement.accelerator) or 1.0
        left_s = max(traced.actual_s - self._worked_s.get(job.id, 0.0), 0.0)
        end_at = now_at + timedelta(seconds=overhead_s + left_s / speed)
        run = Run(
            job_id=job.id,
            attempt_id=started.id,
            cluster=started.cluster,
            accelerator=started.accelerator,
            nodes=started.nodes,
            started_at=now_at,
            expected_end_at=started.expected_end_at,
            ended_at=end_at,
            it_kw=self._fleet.run_kw(job.spec, started.nodes),
            stopped=False,
        )
        del self.pending[job.id]
        self.running[started.id] = running_attempt(job, started)
        self.live[started.id] = live = Live(traced, run, end_at)
        if job.spec.interruptible:
            self.stoppable.add(started.id)
        return live

    def stop(self, interruption: Interruption, now_at: datetime) -> Live | None:
        """Asks an attempt to stop: it is gone when its grace is over, or done before."""
        live = self.live.get(interruption.attempt_id)
        job = self._jobs[interruption.job_id]
        if live is None or job.state is not JobState.RUNNING:
            return None
        job = self._advance(job, Event.PREEMPT, now_at, interruption.reason, None)
        assert job.attempt is not None, "it runs"
        self.running[live.run.attempt_id] = running_attempt(job, job.attempt)
        self.stoppable.discard(live.run.attempt_id)
        gone_at = now_at + timedelta(seconds=job.spec.stop_grace_s)
        if gone_at < live.end_at:
            live.end_at, live.stopping = gone_at, True
        return live

    def end(self, attempt_id: str, now_at: datetime) -> None:
        """An attempt is over: its job has succeeded, or waits to go on."""
        live = self.live.pop(attempt_id)
        job = self._jobs[live.run.job_id]
        assert job.attempt is not None, "it ran"
        del self.running[attempt_id]
        self.stoppable.discard(attempt_id)
        self._hold(job, live.run.nodes, 1)
        state = AttemptState.STOPPED if live.stopping else AttemptState.SUCCEEDED
        code = SIGTERM_EXIT_CODE if live.stopping else 0
        over = replace(job.attempt, state=state, ended_at=now_at, exit_code=code)
        over = settled(job.spec, over, done_s=job.done_s)
        self.runs.append(replace(live.run, ended_at=now_at, stopped=live.stopping))
        if not live.stopping:
            self._advance(job, Event.SUCCEED, now_at, _DONE, over)
            return
        self._worked_s[job.id] = self._worked_s.get(job.id, 0.0) + self._progress_s(
            job, live.run, now_at
        )
        job = self._advance(job, Event.STOPPED, now_at, job.reason, over)
        self.pending[job.id] = pending_job(job)

    def expire_at(self, job_id: str) -> datetime | None:
        """When a pending job can no longer meet its deadline on any accelerator."""
        job = self._jobs[job_id]
        needs_s = least_s(job)
        if job.spec.deadline_at is None or not math.isfinite(needs_s):
            return None
        return job.spec.deadline_at - timedelta(seconds=needs_s)

    def expire(self, job_id: str, now_at: datetime) -> bool:
        """Fails a job whose deadline is lost, if it still waits; says whether it did."""
        expire_at = self.expire_at(job_id)
        if job_id not in self.pending or expire_at is None or now_at <= expire_at:
            return False
        self._advance(self._jobs[job_id], Event.EXPIRE, now_at, _LATE, None)
        del self.pending[job_id]
        return True

    def running_at(self, now_at: datetime) -> tuple[RunningAttempt, ...]:
        """What runs, with the ends that it is taken to have now."""
        return tuple(as_of(attempt, now_at) for attempt in self.running.values())

    def graces_s(self) -> set[float]:
        """Of the attempts that may be asked to stop."""
        return {self.running[name].spec.stop_grace_s for name in self.stoppable}

    def states(self) -> dict[str, JobState]:
        """What became of every job so far."""
        return {job_id: job.state for job_id, job in self._jobs.items()}

    def _restart_s(self, job: Job) -> float:
        return job.spec.restart_s if job.done_s > 0 else 0.0

    def _progress_s(self, job: Job, run: Run, now_at: datetime) -> float:
        """What a stopped run really got done; it worked until it was gone. ``job``: as it was
        during the run."""
        site = self._fleet.sites[run.cluster]
        overhead_s = self._fleet.stage_s(job.spec, site) + self._restart_s(job)
        ran_s = (now_at - run.started_at).total_seconds()
        return max(ran_s - overhead_s, 0.0) * (job.spec.speed_on(run.accelerator) or 1.0)

    def _advance(
        self, job: Job, event: Event, at: datetime, reason: Reason, attempt: Attempt | None
    ) -> Job:
        step = advance(job, event, at=at, actor="replay", reason=reason, attempt=attempt)
        self._jobs[job.id] = step.job
        return step.job

    def _hold(self, job: Job, nodes: tuple[str, ...], sign: int) -> None:
        """Takes (-1) or gives back (+1) what a gang holds on its nodes."""
        shape = job.spec.per_worker
        amounts = (shape.gpus, shape.cpus, shape.memory_gb)
        for name, (what, amount) in itertools.product(nodes, enumerate(amounts)):
            free = self._free[self._fleet.row[name]]
            free[what] += sign * amount
            if free[what] < -SLACK * max(1.0, amount):
                kind = ("accelerators", "cores", "GB")[what]
                raise IllegalStartError(
                    f"job {job.id} takes {amount:g} {kind} of {name}, which had "
                    f"{free[what] + amount:g} free"
                )
