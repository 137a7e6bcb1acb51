"""The planning loop: tell the planner what has changed, commit what is still true, explain.

Reports and submissions never plan; they wake the loop, which plans at its own pace. The planner
works beside the event loop and knows the world from what it is told: all that is done here for a
round is in proportion to what has changed, or cut into pieces of about a millisecond.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import structlog

from policies.rules import Rules
from scheduler.clock import Clock
from scheduler.config import SchedulerConfig
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.domain.transitions import Effect, Event, Step
from scheduler.domain.why import Starts, Why
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.calendar import Calendar
from scheduler.planning.expected import expected
from scheduler.planning.expiry import Expiry
from scheduler.planning.first_plans import FirstPlans
from scheduler.planning.front import Front, Kinds
from scheduler.planning.in_turn import in_turn
from scheduler.planning.interruptions import Interruptions
from scheduler.planning.listening import RoundListener
from scheduler.planning.messages import Ask, Asked, Decided, DriftedError, Part, Planner, Start
from scheduler.planning.pace import SUBMITTED, Pace
from scheduler.planning.preview_question import Question
from scheduler.planning.standing import Standing, closer
from scheduler.planning.suspects import Suspects
from scheduler.planning.unsent import Unsent
from scheduler.planning.values import next_attempt, placement_record, round_record
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import Change, JobBook
from scheduler.store import Store
from scheduler.store.errors import StoreError

log = structlog.get_logger()

# A failed round is followed by a pause, so that a lasting fault does not spin.
AFTER_FAULT_S = 1.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The jobs of a round: ``only`` these, or all that are above suspicion. ``front`` is theirs if
    it is a quick one."""

    now_at: datetime
    jobs: int
    only: tuple[str, ...] | None = None
    front: Front | None = None


class PlanningLoop:
    """Runs rounds; keeps what the last ones thought of every pending job."""

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
        self._listeners: list[RoundListener] = []
        self._suspects = Suspects()
        self._pace = Pace(clock, config.round_interval_s)
        self._interruptions = Interruptions(book, config.slot_s)
        self._standing = Standing(book.active())
        self._unsent = Unsent(book.active(), fleet, rules, self._standing.planned_start)
        self._first_plans = FirstPlans()
        self._kinds = Kinds()
        self._expiry = Expiry()
        self._back_offs: Calendar[datetime] = Calendar()
        self._pending: set[str] = set()
        # Rounds and questions come one after the other: both tell the planner what has changed.
        self._turn = asyncio.Lock()
        for job in book.active().values():
            self._follow(job)

    @property
    def slot_s(self) -> float:
        """How long the slots of its plans are."""
        return self._config.slot_s

    def on_round(self, listener: RoundListener) -> None:
        """Tells ``listener`` of every round from now on."""
        self._listeners.append(listener)

    def trigger(self, what: str) -> None:
        """Asks for a round soon; ``what`` is kept with the round."""
        self._pace.ask(what)

    def on_step(self, step: Step) -> None:
        """Listens to the job book."""
        only_one = self._follow(step.job)
        if Effect.REPLAN not in step.effects:
            return
        if step.event.event != Event.SUBMIT:
            self.trigger("attempt ended")
        else:
            # Where others of its kind wait already, it finds no room that they have not found.
            self._pace.ask(SUBMITTED, soon=only_one)

    def _follow(self, job: Job) -> bool:
        """Takes in what became of a job; tells whether it is the only one of its kind to wait."""
        waits = job.state is JobState.PENDING
        self._unsent.job(job.id)
        self._expiry.follow(job)
        self._back_offs.put(job.id, job.not_before_at if waits else None)
        if waits:
            self._pending.add(job.id)
        else:
            self._pending.discard(job.id)
            self._first_plans.left(job)
            self._standing.forget(job.id)
            self._interruptions.forget(job.id)
            self._suspects.forget(job.id)
        return self._kinds.follow(job)

    def planned_start(self, job_id: str) -> PlannedStart | None:
        """Where and when the last round would start a pending job."""
        return self._standing.planned_start(job_id)

    def planned(self) -> Sequence[PlacementRecord]:
        """Where pending jobs are planned to start, as told when that last changed."""
        return self._standing.planned()

    def explanation(self, job_id: str) -> Explanation | None:
        """What was thought of a pending job when that last changed."""
        return self._standing.explanation(job_id)

    async def explain(self, job_id: str) -> Explanation | None:
        """The same with all candidates and today's figures, as of the last round that planned it,
        if that is still there to be asked: what stands here is as old as the answer itself."""
        told = self._standing.explanation(job_id)
        if told is None:
            return None
        closely = await self._planner.explain(job_id)
        return closer(self._standing.explanation(job_id) or told, closely)

    async def answer(self, question: Question[Answer]) -> Answer:
        """What would be planned now, with all that has changed since the last round; nothing of it
        is kept. Waits for a round in progress, and holds up the next one as long as it takes."""
        async with self._turn:
            choice = Choice(now_at=self._clock.now(), jobs=len(self._pending))
            return await self._asked(
                lambda ask: self._planner.answer(Asked(ask, question)), choice, 0
            )

    async def why(self, job: Job) -> Why:
        """Why a job is where it is: of one that waits what keeps it from a start, as of the last
        round that planned it, and when it should start; of others what was said last."""
        if job.state is not JobState.PENDING:
            return Why(job_id=job.id, state=job.state, reason=job.reason)
        found = await self._planner.obstacles(job.id)
        told = self._standing.explanation(job.id)
        planned = self._standing.planned_start(job.id)
        when = expected(job, planned, found, self._first_plans.moved())
        return Why(
            job_id=job.id,
            state=job.state,
            reason=found.reason if found else told.reason if told else job.reason,
            obstacles=found,
            expected=replace(when, first_planned_at=self._first_plans.of(job.id)),
        )

    async def starts(self, job_id: str) -> Starts | None:
        """What every start would cost a job that waits; None where the planner cannot tell."""
        return await self._planner.starts(job_id)

    def expect(self, record: PlacementRecord) -> None:
        """A new job stands planned, so that the next round, a whole one if its start is due, begins
        from what it was told when it was submitted."""
        self._standing.expect(record)
        self._unsent.job(record.job_id)

    def waiting(self) -> Mapping[ReasonCode, int]:
        """How many pending jobs wait for which reason, as of when that was last told of each."""
        return self._standing.codes

    def waits_because(self, job_id: str) -> Reason | None:
        """Why the last round left a job pending."""
        explanation = self._standing.explanation(job_id)
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
        start_at, back_at = self._standing.next_start_at, self._back_offs.after(now)
        # A planned start may have come while its round was still being committed.
        due = [max(start_at, now)] if start_at else []
        due += [back_at] if back_at else []
        if (ask_at := self._interruptions.ask_at(now)) is not None:
            due.append(ask_at)
        ahead_s = [(at - now).total_seconds() / self._clock.speedup for at in due]
        return min([*ahead_s, self._suspects.due_s - self._clock.monotonic()])

    async def round(self, trigger: str) -> None:
        """One pass. A plan that the checker objects to is thrown away whole."""
        async with self._turn:
            await self._round(trigger)

    async def _round(self, trigger: str) -> None:
        began_s = self._clock.monotonic()
        await self._book.apply_many(self._expiry.expired(self._clock.now()))
        choice = None
        try:
            choice = await self._choose()
            if self._interruptions.due(choice.now_at) or choice.jobs:
                await self._plan_jobs(choice, trigger)
        finally:
            self._pace.end(began_s, whole=choice is None or choice.front is None)

    async def _choose(self) -> Choice:
        """The jobs of the next round."""
        now_at = self._clock.now()
        apart = self._suspects.choose(len(self._pending), self._clock.monotonic())
        if apart is not None:
            return Choice(now_at=now_at, jobs=len(apart), only=apart)
        sound = len(self._pending) - len(self._suspects.suspected)
        next_at = self._standing.next_start_at
        due = next_at is not None and next_at <= now_at
        if sound and not due and not self._pace.rested:
            front = await self._asked(self._planner.front, Choice(now_at=now_at, jobs=sound), 0)
            if front is not None:
                only = tuple(sorted(front.job_ids))
                return Choice(now_at=now_at, jobs=len(only), only=only, front=front)
        self._pace.begin_whole()
        return Choice(now_at=now_at, jobs=sound)

    async def _asked(
        self, ask: Callable[[Ask], Awaitable[Answer]], choice: Choice, round_id: int
    ) -> Answer:
        """Tells the planner what has changed and asks; tells it everything anew where it has lost
        track, as a fresh process has."""
        try:
            return await ask(await self._question(choice, round_id))
        except DriftedError:
            log.info("planner.told_anew", jobs=len(self._book.active()))
            self._unsent.everything()
            return await ask(await self._question(choice, round_id))

    async def _question(self, choice: Choice, round_id: int) -> Ask:
        pages = (self._planner.tell(page) for page in self._unsent.pages_before_the_last())
        async with aclosing(in_turn(pages)) as told:
            async for _ in told:
                pass
        changes = self._unsent.page()
        if self._unsent.drifted:
            raise DriftedError("the loop has not heard of every change of the job book")
        return Ask(
            round_id=round_id,
            now_at=choice.now_at.astimezone(),  # explanations tell times in this process' zone
            slot_s=self._config.slot_s,
            slots=self._config.horizon_slots,
            changes=changes,
            stamp=self._unsent.stamp,
            claims=self._interruptions.claims(choice.now_at),
            only=choice.only,
            without=frozenset() if self._suspects.apart else self._suspects.suspected,
            quick=choice.front is not None,
        )

    async def _plan_jobs(self, choice: Choice, trigger: str) -> None:
        began_s = time.perf_counter()
        round_id = self._store.rounds.new_id()
        try:
            decided = await self._asked(self._planner.plan, choice, round_id)
        except DriftedError:
            raise  # the jobs are not to blame
        except Exception as error:
            self._doubt(choice, error, round_id)
            return
        if self._suspects.passed():
            self.trigger("planner mended")
        placed = await self._take(decided)
        whole = choice.only is None
        await self._interruptions.ask(
            decided.interruptions, self._unsent.versions, self._clock.now(), whole=whole
        )
        if not choice.jobs:
            return
        if choice.front is not None:
            if choice.front.asks_for_more(placed):
                self.trigger("room left")
            if not placed:
                return
        record = round_record(
            decided,
            at=choice.now_at,
            trigger=trigger if choice.front is None else f"{trigger} (front of the line)",
            placed=len(placed),
            wall_ms=(time.perf_counter() - began_s) * 1000,
            quick=choice.front is not None,
        )
        await self._store_round(record)

    async def _take(self, decided: Decided) -> set[str]:
        """Takes in what a round has decided, part by part; returns the jobs that got an attempt."""
        try:
            placed = await self._take_part(decided.first, decided.round_id)
            rest = (self._planner.part(number) for number in range(1, decided.parts))
            async with aclosing(in_turn(rest)) as parts:
                async for part in parts:
                    placed |= await self._take_part(part, decided.round_id)
        except Exception:
            # The planner takes it for known; told everything anew, it tells everything again.
            self._unsent.everything()
            raise
        return placed

    async def _take_part(self, part: Part, round_id: int) -> set[str]:
        placed = await self._commit(part.starts, round_id)
        self._first_plans.take([made for made in part.planned if made.job_id in self._pending])
        self._standing.take(part)
        return placed

    async def _store_round(self, record: RoundRecord) -> None:
        """Stores a round, and what is new in what it tells; starts are stored with their jobs."""
        news = self._standing.unstored()
        await self._store.rounds.add(record, news)
        self._standing.stored(news)
        for listener in self._listeners:
            listener.made(record)
        log.info(
            "round",
            id=record.id,
            trigger=record.trigger,
            jobs=record.jobs,
            placed=record.placed,
            planned=record.planned,
            unplaced=record.unplaced,
            moved=record.moved,
            kept=record.kept,
            gap=round(record.gap, 4),
            wall_ms=round(record.wall_ms, 1),
        )

    def _doubt(self, choice: Choice, error: Exception, round_id: int) -> None:
        """Sees to it that a job which breaks the planner does not hold up the others."""
        planned = choice.only
        if planned is None:
            planned = tuple(sorted(self._pending - self._suspects.suspected))
        pause_s = self._suspects.failed(planned, self._clock.monotonic())
        for job_id in planned:
            if job_id not in self._pending:
                self._suspects.forget(job_id)
        told = {"id": round_id, "jobs": len(planned), "again_in_s": round(pause_s, 1)}
        log.error("round.failed", **told, exc_info=error)
        for listener in self._listeners:
            listener.failed(round_id, f"{type(error).__name__}: {error}")
        if len(planned) != 1 or planned[0] not in self._pending:
            return
        why = f"the planner fails on this job: {error!r}; it tries again in {pause_s:.1f} s"
        self._standing.doubt(
            Explanation(
                job_id=planned[0],
                decided_at=choice.now_at,
                outcome=Outcome.UNPLACED,
                reason=Reason(ReasonCode.NOT_PLANNED_YET, why),
                candidates=(),
            )
        )
        self._unsent.job(planned[0])

    async def _commit(self, starts: Sequence[Start], round_id: int) -> set[str]:
        """Commits what is still true; returns the jobs that got an attempt."""
        # The plan took its time: nodes and streams may have gone since its snapshot.
        clusters = {start.placement.cluster for start in starts}
        reachable = {cluster for cluster in clusters if self._fleet.serves(cluster)}
        changes: list[Change] = []
        for placement, explanation in ((s.placement, s.explanation) for s in starts):
            job = self._book.active().get(placement.job_id)
            if job is None:
                continue
            ready = placement.cluster in reachable
            if not ready or not all(map(self._fleet.takes_work, placement.nodes)):
                log.info("placement.overtaken", job=job.id, why="its cluster or a node went away")
                continue
            # Why it had not started before, as the round before had it.
            explained = replace(
                explanation,
                waited=self.waits_because(job.id),
                first_planned_at=self._first_plans.of(job.id),
            )
            attempt = next_attempt(job, placement, self._clock.now())
            changes.append(
                Change(
                    job_id=job.id,
                    event=Event.ASSIGN,
                    actor="planner",
                    reason=explained.reason,
                    attempt=attempt,
                    expect_version=self._unsent.versions[job.id],
                    placement=placement_record(placement, attempt.id, explained, round_id),
                    explanation=explained,
                )
            )
        outcomes = await self._book.apply_many(changes)
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.info("placement.overtaken", job=change.job_id, why=str(outcome))
                # Should the planner not have heard of what came between, it does now.
                self._unsent.job(change.job_id)
        done = [c.placement for c, o in zip(changes, outcomes, strict=True) if isinstance(o, Step)]
        for listener in self._listeners:
            listener.placed([placement for placement in done if placement is not None])
        return {outcome.job.id for outcome in outcomes if isinstance(outcome, Step)}
