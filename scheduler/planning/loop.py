"""The planning loop: snapshot, plan, check, commit what is still true, explain.

Reports and submissions never plan; they wake the loop, which plans at its own pace.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import structlog

from policies.rules import Rules
from scheduler.checker import check
from scheduler.clock import Clock
from scheduler.config import SchedulerConfig
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.domain.transitions import Effect, Event, Step
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import PendingJob, PlannedStart, RunningAttempt, Snapshot
from scheduler.planning.expiry import expired
from scheduler.planning.front import Front, Line, free
from scheduler.planning.interruptions import Interruptions
from scheduler.planning.pace import SUBMITTED, Pace
from scheduler.planning.suspects import Suspects
from scheduler.planning.told import Told
from scheduler.planning.values import (
    next_attempt,
    pending_job,
    placement_record,
    round_record,
    running_attempt,
)
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import Change, JobBook
from scheduler.store import Store
from scheduler.store.errors import StoreError

log = structlog.get_logger()

# A failed round is followed by a pause, so that a lasting fault does not spin.
AFTER_FAULT_S = 1.0


class Planner(Protocol):
    """Plans off the event loop."""

    async def plan(self, snapshot: Snapshot) -> Plan:
        """A round."""

    async def explain(self, job_id: str) -> Explanation | None:
        """What the last round thought of a job, with all candidates; None if it cannot tell."""


class IllegalPlanError(Exception):
    """The checker objects to a plan."""

    def __init__(self, objections: Sequence[str]) -> None:
        more = f" (and {len(objections) - 1} more)" if len(objections) > 1 else ""
        super().__init__(f"the plan breaks a rule: {objections[0]}{more}")


class PlanningLoop:
    """Runs rounds; keeps what the last one thought of every pending job."""

    def __init__(
        self,
        *,
        config: SchedulerConfig,
        clock: Clock,
        book: JobBook,
        fleet: Fleet,
        store: Store,
        planner: Planner,
        rules: Callable[[], Rules] = Rules,
    ) -> None:
        self._config = config
        self._clock = clock
        self._book = book
        self._fleet = fleet
        self._store = store
        self._planner = planner
        self._rules = rules
        self._suspects = Suspects()
        self._line = Line(book.active().values())
        self._told = Told()
        self._pace = Pace(clock, config.round_interval_s)
        self._interruptions = Interruptions(book, config.slot_s)
        self._explained: dict[str, Explanation] = {}
        self._planned: dict[str, PlacementRecord] = {}

    def trigger(self, what: str) -> None:
        """Asks for a round soon; ``what`` is kept with the round."""
        self._pace.ask(what)

    def on_step(self, step: Step) -> None:
        """Listens to the job book."""
        if step.job.state is not JobState.PENDING:
            self._planned.pop(step.job.id, None)
            self._explained.pop(step.job.id, None)
            self._told.forget(step.job.id)
            self._interruptions.forget(step.job.id)
        only_one = self._line.follow(step.job)
        if Effect.REPLAN not in step.effects:
            return
        if step.event.event != Event.SUBMIT:
            self.trigger("attempt ended")
        else:
            # Where others of its kind wait already, it finds no room that they have not found.
            self._pace.ask(SUBMITTED, soon=only_one)

    def planned_start(self, job_id: str) -> PlannedStart | None:
        """Where and when the last round would start a pending job."""
        record = self._planned.get(job_id)
        return PlannedStart(record.cluster, record.accelerator, record.start_at) if record else None

    def planned(self) -> Sequence[PlacementRecord]:
        """The last round's placements that are not committed."""
        return list(self._planned.values())

    def explanation(self, job_id: str) -> Explanation | None:
        """What the last round thought of a pending job."""
        return self._explained.get(job_id)

    async def explain(self, job_id: str) -> Explanation | None:
        """The same with all candidates, if the round is still there to be asked: it tells only the
        first of many that wait more than the reason."""
        told = self._explained.get(job_id)
        if told is None or told.candidates:
            return told
        closely = await self._planner.explain(job_id)
        now = self._explained.get(job_id)
        if closely is None or now is None or closely.decided_at != now.decided_at:
            return now or told
        return replace(
            closely,
            round_id=now.round_id,
            round_objective_yuan=now.round_objective_yuan,
            round_bound_yuan=now.round_bound_yuan,
            round_gap=now.round_gap,
        )

    def waits_because(self, job_id: str) -> Reason | None:
        """Why the last round left a job pending."""
        explanation = self._explained.get(job_id)
        return explanation.reason if explanation else None

    async def run(self) -> None:
        """Plans for ever: when something asks for it, when a planned start is due, and at the
        latest every ``round_interval_s``."""
        while True:
            asked = await self._pace.due(self._next_s)
            try:
                await self.round(asked)
            except StoreError as error:
                log.error("round.not_stored", why=str(error))
                await asyncio.sleep(AFTER_FAULT_S)
            except Exception:
                # Whatever one round trips over must not end planning for everyone.
                log.exception("round.failed")
                await asyncio.sleep(AFTER_FAULT_S)

    def _next_s(self) -> float:
        """Seconds of real time until a job's time comes."""
        now = self._clock.now()
        # A planned start may have come while its round was still being committed.
        due = [max(record.start_at, now) for record in self._planned.values()]
        due += [
            job.not_before_at
            for job in self._book.active().values()
            if job.state is JobState.PENDING
            and job.not_before_at is not None
            and job.not_before_at > now
        ]
        ahead_s = [(at - now).total_seconds() / self._clock.speedup for at in due]
        return min([*ahead_s, self._suspects.due_s - self._clock.monotonic()])

    def _choose(self, now_at: datetime) -> tuple[list[str], Front | None]:
        """The jobs of the next round, and the front of the line if it is a quick one."""
        pending = (j for j in self._book.active().values() if j.state is JobState.PENDING)
        ids = sorted(job.id for job in pending)
        chosen = self._suspects.choose(ids, self._clock.monotonic())
        if self._suspects.apart:
            return chosen, None
        due = any(record.start_at <= now_at for record in self._planned.values())
        if not due and not self._pace.rested:
            front = self._line.front(
                frozenset(chosen),
                now_at=now_at,
                free=free(self._fleet.nodes(), self._book.active().values()),
                explained=self._explained,
                planned=self._planned,
            )
            if len(front.job_ids) < len(chosen):
                return sorted(front.job_ids), front
        self._pace.begin_whole()
        return chosen, None

    def snapshot(self, now_at: datetime, job_ids: Collection[str]) -> Snapshot:
        """The world as a round over some of the pending jobs sees it."""
        pending: list[PendingJob] = []
        running: list[RunningAttempt] = []
        for job in self._book.active().values():
            if job.state is JobState.PENDING:
                if job.id not in job_ids:
                    continue
                pending.append(pending_job(job))
            elif job.attempt is not None and job.state.live:
                running.append(running_attempt(job, job.attempt))
        return Snapshot(
            now_at=now_at.astimezone(),  # explanations tell times in the zone of this process
            slot_s=self._config.slot_s,
            slots=self._config.horizon_slots,
            jobs=tuple(sorted(pending, key=lambda j: j.id)),
            running=tuple(sorted(running, key=lambda r: r.attempt_id)),
            nodes=self._fleet.nodes(),
            sites=self._fleet.sites(),
            regions=self._fleet.regions,
            previous={
                job_id: PlannedStart(r.cluster, r.accelerator, r.start_at)
                for job_id, r in self._planned.items()
            },
            claims=self._interruptions.claims(now_at),
            rules=self._rules(),
        )

    async def round(self, trigger: str) -> None:
        """One pass. A plan that the checker objects to is thrown away whole."""
        began_s = self._clock.monotonic()
        await self._book.apply_many(expired(self._book.active().values(), self._clock.now()))
        now_at = self._clock.now()
        chosen, front = self._choose(now_at)
        try:
            if chosen or self._interruptions.due(now_at):
                await self._plan_jobs(chosen, front, now_at, trigger)
        finally:
            self._pace.end(began_s, whole=front is None)

    async def _plan_jobs(
        self, chosen: Sequence[str], front: Front | None, now_at: datetime, trigger: str
    ) -> None:
        began_s = time.perf_counter()
        snapshot = self.snapshot(now_at, frozenset(chosen))
        versions = {job_id: job.version for job_id, job in self._book.active().items()}
        whole = front is None and not self._suspects.apart
        try:
            plan = await self._planner.plan(snapshot)
            if objections := check(snapshot, plan):
                raise IllegalPlanError(objections)
        except Exception as error:
            self._doubt(chosen, error, now_at)
            return
        if self._suspects.passed():
            self.trigger("planner mended")
        round_id = self._store.rounds.new_id()
        explanations = self._finished(plan, round_id)
        placed = await self._commit(plan, explanations, versions, round_id)
        await self._interruptions.ask(plan, versions, self._clock.now(), whole=whole)
        if not chosen:
            return
        # Nothing is told of places that were overtaken.
        told = {
            job_id: explanation
            for job_id, explanation in explanations.items()
            if explanation.outcome is not Outcome.PLACED or job_id in placed
        }
        if front is None:
            self._keep(plan, told, round_id, chosen)
        else:
            # Beside all others the rest may fare worse: what a whole round thought of it stands.
            told = {k: e for k, e in told.items() if k in placed or k not in self._explained}
            self._keep(plan, told, round_id, told)
            if front.asks_for_more(placed):
                self.trigger("room left")
            if not placed:
                return
        record = round_record(
            plan=plan,
            explanations=explanations,
            round_id=round_id,
            at=now_at,
            trigger=trigger if front is None else f"{trigger} (front of the line)",
            placed=len(placed),
            wall_ms=(time.perf_counter() - began_s) * 1000,
        )
        await self._store_round(record, told, placed)

    async def _store_round(
        self, record: RoundRecord, told: Mapping[str, Explanation], placed: Collection[str]
    ) -> None:
        """Stores a round, and what is new in what it tells; starts are stored with their jobs."""
        news = self._told.news(told[job_id] for job_id in told if job_id not in placed)
        await self._store.rounds.add(record, [told[job_id] for job_id in news])
        self._told.stored({k: gist for k, gist in news.items() if k in self._explained})
        log.info(
            "round",
            id=record.id,
            trigger=record.trigger,
            jobs=record.jobs,
            placed=record.placed,
            planned=record.planned,
            unplaced=record.unplaced,
            gap=round(record.gap, 4),
            wall_ms=round(record.wall_ms, 1),
        )

    def _doubt(self, chosen: Sequence[str], error: Exception, now_at: datetime) -> None:
        """Sees to it that a job which breaks the planner does not hold up the others."""
        pause_s = self._suspects.failed(chosen, self._clock.monotonic())
        log.error("round.failed", jobs=len(chosen), again_in_s=round(pause_s, 1), exc_info=error)
        if len(chosen) != 1 or chosen[0] not in self._book.active():
            return
        told = f"the planner fails on this job: {error!r}; it tries again in {pause_s:.1f} s"
        self._planned.pop(chosen[0], None)
        self._explained[chosen[0]] = Explanation(
            job_id=chosen[0],
            decided_at=now_at,
            outcome=Outcome.UNPLACED,
            reason=Reason(ReasonCode.NOT_PLANNED_YET, told),
            candidates=(),
        )

    def _finished(self, plan: Plan, round_id: int) -> dict[str, Explanation]:
        """The explanations with what only the loop knows, by job."""
        return {
            e.job_id: replace(
                e,
                round_id=round_id,
                round_objective_yuan=plan.objective_yuan,
                round_bound_yuan=plan.bound_yuan,
                round_gap=plan.gap,
                waited=self._waited(e),
            )
            for e in plan.explanations
        }

    async def _commit(
        self,
        plan: Plan,
        explanations: dict[str, Explanation],
        versions: dict[str, int],
        round_id: int,
    ) -> set[str]:
        """Commits what starts now and is still true; returns the jobs that got an attempt."""
        # The plan took its time: nodes and streams may have gone since its snapshot.
        ready = {n.id for n in self._fleet.nodes() if n.lifecycle is NodeLifecycle.READY}
        clusters = {p.cluster for p in plan.placements if p.now}
        reachable = {cluster for cluster in clusters if self._fleet.serves(cluster)}
        changes: list[Change] = []
        for placement in plan.placements:
            job = self._book.active().get(placement.job_id)
            if not placement.now or job is None:
                continue
            if placement.cluster not in reachable or not ready.issuperset(placement.nodes):
                log.info("placement.overtaken", job=job.id, why="its cluster or a node went away")
                continue
            explanation = explanations[job.id]
            attempt = next_attempt(job, placement, self._clock.now())
            changes.append(
                Change(
                    job_id=job.id,
                    event=Event.ASSIGN,
                    actor="planner",
                    reason=explanation.reason,
                    attempt=attempt,
                    expect_version=versions[job.id],
                    placement=placement_record(placement, attempt.id, explanation, round_id),
                    explanation=explanation,
                )
            )
        outcomes = await self._book.apply_many(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.info("placement.overtaken", job=change.job_id, why=str(outcome))
        return {outcome.job.id for outcome in outcomes if isinstance(outcome, Step)}

    def _waited(self, explanation: Explanation) -> Reason | None:
        """Why a job that starts now has not started before, as the round before had it."""
        before = self._explained.get(explanation.job_id)
        if before is None or explanation.outcome is not Outcome.PLACED:
            return None
        return before.reason

    def _keep(
        self,
        plan: Plan,
        told: Mapping[str, Explanation],
        round_id: int,
        decided: Iterable[str],
    ) -> None:
        """Remembers what the round thought of the jobs that are still pending. ``decided``: what
        was planned for them before holds no longer."""
        for job_id in decided:
            self._planned.pop(job_id, None)
        active = self._book.active()
        pending = {i for i in told if i in active and active[i].state is JobState.PENDING}
        self._explained |= {job_id: told[job_id] for job_id in pending}
        self._planned |= {
            p.job_id: placement_record(p, None, told[p.job_id], round_id)
            for p in plan.placements
            if not p.now and p.job_id in pending
        }
