"""Makes rounds over a mirror of the world: the same code in the planner's process and beside it.

A round is planned and checked here, and only what is new of it goes back to the loop.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, replace
from typing import Protocol

from scheduler.checker import check
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.reason import Reason
from scheduler.domain.round import PlacementRecord
from scheduler.domain.why import Obstacles, Starts
from scheduler.planner.budget import Budget
from scheduler.planner.changes import ChangeError
from scheduler.planner.plan import Placement, Plan, Verdict
from scheduler.planner.snapshot import PlannedStart, Prices, Snapshot
from scheduler.planner.stability import changed
from scheduler.planner.table import JobTable
from scheduler.planning.front import Front
from scheduler.planning.messages import (
    PAGE_MOST,
    STARTS_MOST,
    Answer,
    Ask,
    Asked,
    Changes,
    Decided,
    IllegalPlanError,
    Part,
    Start,
)
from scheduler.planning.mirror import Mirror
from scheduler.planning.preview import ANSWER_MOST_S, within
from scheduler.planning.told import Told
from scheduler.planning.values import placement_record
from scheduler.rounds.file import to_bytes
from scheduler.rounds.record import failed, objection, recorded

# As many rounds beside the last whole one can be exported as have so many jobs together.
KEPT_JOBS = 20_000
KEPT_MOST = 64


class Thought(Protocol):
    """A plan, and what can be asked about it later."""

    @property
    def plan(self) -> Plan:
        """The plan, with how long its stages took."""

    @property
    def prices(self) -> Prices | None:
        """What a round over nearly the same jobs may start from."""

    def explain(self, job_id: str) -> Explanation | None:
        """Closely, one job; None for a stranger."""

    def obstacles(self, job_id: str) -> Obstacles | None:
        """What keeps one job from a start; None for a stranger."""

    def starts(self, job_id: str) -> Starts | None:
        """What every start would cost one job; None for a stranger."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A round that can be exported; its jobs and nodes are shared with the mirror."""

    ask: Ask
    snapshot: Snapshot
    plan: Plan | None
    failure: str


class RoundMaker:
    """Keeps what it is told and what it has decided, from round to round."""

    def __init__(self, think: Callable[[Snapshot, Budget, JobTable | None], Thought]) -> None:
        """``think`` is the planner; it gets what whole rounds keep of the jobs, if it is one."""
        self._think = think
        self._budget = Budget()
        self._mirror = Mirror()
        self._table = JobTable()
        self._told = Told()
        # The last whole round, and the last of those between: what is asked is asked of them.
        self._whole: tuple[Ask, Thought] | None = None
        self._other: tuple[Ask, Thought] | None = None
        self._prices: Prices | None = None
        self._news: _News | None = None
        self._last_whole: Kept | None = None
        self._kept: deque[Kept] = deque(maxlen=KEPT_MOST)

    def tell(self, changes: Changes) -> None:
        """Takes in a page of changes."""
        if changes.anew:
            self._told = Told()
        for job_id in (*changes.jobs_gone, *(news.job_id for news in changes.jobs)):
            self._told.forget(job_id)
        self._mirror.take(changes)

    def front(self, ask: Ask) -> Front | None:
        """The front of the line; None where that is all who wait."""
        self._take_in(ask)
        front = self._mirror.front(ask, self._told.code)
        apart = sum(job_id in self._mirror.pending for job_id in ask.without)
        return front if len(front.job_ids) < len(self._mirror.pending) - apart else None

    def plan(self, ask: Ask) -> Decided:
        """A round; see ``messages.Planner``."""
        self._take_in(ask)
        snapshot, thought = self._planned(ask)
        plan = thought.plan
        if ask.only is None:
            self._whole, self._other = (ask, thought), None
            self._prices = thought.prices
        else:
            self._other = (ask, thought)
        news = _News(ask, plan)
        placed = {placement.job_id: placement for placement in plan.placements}
        for i, verdict in enumerate(plan.verdicts):
            self._digest(news, i, verdict, placed.get(verdict.job_id))
        self._news = news
        return _decided(news, snapshot, plan, placed.keys())

    def part(self, number: int) -> Part:
        """One of the parts of what the last round has decided."""
        assert self._news is not None, "asked for after a round"
        return self._news.part(number)

    def export(self, round_id: int) -> bytes | None:
        """A round as a file, 0 for the last whole one; None if it is no longer kept."""
        rounds = [self._last_whole] if self._last_whole is not None else []
        rounds += self._kept
        for kept in rounds:
            if round_id in (0, kept.ask.round_id):
                made = (kept.ask.round_id, kept.snapshot, self._budget, kept.plan, kept.failure)
                return to_bytes(recorded(*made))
        return None

    def explain(self, job_id: str) -> Explanation | None:
        """What the last rounds thought of a job, closely; None if it was in none of them."""
        for made in (self._whole, self._other):
            if made is not None and (told := made[1].explain(job_id)) is not None:
                return _finished(told, made[0], made[1].plan)
        return None

    def obstacles(self, job_id: str) -> Obstacles | None:
        """What keeps a job from a start in the last rounds; None if it was in none of them."""
        for ask, thought in filter(None, (self._whole, self._other)):
            if (found := thought.obstacles(job_id)) is not None:
                return replace(found, round_id=ask.round_id)
        return None

    def starts(self, job_id: str) -> Starts | None:
        """What every start would have cost a job in the last rounds; None as above."""
        for _, thought in filter(None, (self._whole, self._other)):
            if (found := thought.starts(job_id)) is not None:
                return found
        return None

    def answer(self, asked: Asked[Answer]) -> Answer:
        """What somebody wants to know of the plan as it would be now; nothing of it is kept."""
        self._take_in(asked.ask)
        snapshot = self._snapshot(asked.ask)

        def think(snapshot: Snapshot, budget: Budget) -> Thought:
            return self._think(snapshot, budget, self._table)

        try:
            with within(ANSWER_MOST_S):
                return asked.question.answer(snapshot, think, self._budget)
        except ChangeError:
            raise
        except BaseException:  # whatever it was, it may have come while a row was being written
            self._table = JobTable()
            raise

    def _take_in(self, ask: Ask) -> None:
        self.tell(ask.changes)
        self._mirror.check(ask.stamp)

    def _snapshot(self, ask: Ask) -> Snapshot:
        """All that a round may know: what the mirror shows and, for one over all jobs, what the
        last such round found."""
        snapshot = self._mirror.snapshot(ask)
        return replace(snapshot, prices=self._prices) if ask.only is None else snapshot

    def _planned(self, ask: Ask) -> tuple[Snapshot, Thought]:
        """What the planner sees, and what it thinks if that is legal; the round can be exported
        even if it is not."""
        snapshot = self._snapshot(ask)
        if ask.only is None:
            # A round over all jobs takes the place of the one before, also in memory.
            self._whole = self._other = self._news = self._last_whole = None
        try:
            table = self._table if ask.only is None else None
            thought = self._think(snapshot, self._budget, table)
        except Exception as error:
            # It may have come while a row was being written.
            self._table = JobTable()
            self._keep(Kept(ask, snapshot, None, failed(error)))
            raise
        illegal = objection(check(snapshot, thought.plan))
        self._keep(Kept(ask, snapshot, thought.plan.without_sentences, illegal))
        if illegal:
            raise IllegalPlanError(illegal)
        return snapshot, thought

    def _keep(self, made: Kept) -> None:
        if made.ask.only is None:
            self._last_whole = made
        if len(made.snapshot.jobs) <= KEPT_JOBS:
            self._kept.append(made)
        while sum(len(kept.snapshot.jobs) for kept in self._kept) > KEPT_JOBS:
            self._kept.popleft()

    def _digest(self, news: "_News", i: int, verdict: Verdict, placed: Placement | None) -> None:
        """Notes what of a job's fate is new; only of that is an explanation made."""
        job_id, mirror = verdict.job_id, self._mirror
        before = mirror.planned.get(job_id)
        if verdict.outcome is Outcome.PLACED and placed is not None:
            news.starts.append((placed, i))
            if before is not None and not news.ask.quick:
                mirror.plan_for(job_id, None)
                news.unplanned.append(job_id)
            return
        # Beside all others the rest may fare worse: what a whole round thought of it stands.
        if news.ask.quick and self._told.code(job_id) is not None:
            return
        now = None
        if placed is not None:
            now = PlannedStart(placed.cluster, placed.accelerator, placed.start_at)
        if self._told.is_news(verdict, now):
            news.told.append(i)
        if now == before:
            return
        mirror.plan_for(job_id, now)
        if placed is None:
            news.unplanned.append(job_id)
        else:
            news.planned.append((placed, i))


class _News:
    """What of a round is new to the loop, page by page."""

    def __init__(self, ask: Ask, plan: Plan) -> None:
        self.ask = ask
        self._plan = plan
        # With the index of each job's explanation, which is made when its page is asked for.
        self.starts: list[tuple[Placement, int]] = []
        self.planned: list[tuple[Placement, int]] = []
        self.unplanned: list[str] = []
        self.told: list[int] = []

    @property
    def parts(self) -> int:
        """How many pages there are, at least one."""
        others: list[Sized] = [self.planned, self.unplanned, self.told]
        most = max(map(len, others))
        return max(1, -(-most // PAGE_MOST), -(-len(self.starts) // STARTS_MOST))

    def part(self, number: int) -> Part:
        """A page."""
        starts = slice(number * STARTS_MOST, (number + 1) * STARTS_MOST)
        page = slice(number * PAGE_MOST, (number + 1) * PAGE_MOST)
        return Part(
            starts=[Start(p, self._explanation(i)) for p, i in self.starts[starts]],
            planned=[self._record(p, i) for p, i in self.planned[page]],
            unplanned=self.unplanned[page],
            news=[self._explanation(i) for i in self.told[page]],
        )

    def _record(self, placement: Placement, i: int) -> PlacementRecord:
        return placement_record(placement, None, self._explanation(i), self.ask.round_id)

    def _explanation(self, i: int) -> Explanation:
        try:
            told = self._plan.explanations[i]
        except Exception as error:  # whatever ails the words for one job, the plan for all stands
            told = _untold(self._plan.verdicts[i], self.ask, error)
        return _finished(told, self.ask, self._plan)


def _untold(verdict: Verdict, ask: Ask, error: Exception) -> Explanation:
    """What remains to be said of a job where saying more fails."""
    text = f"Nothing more can be said of it: {type(error).__name__}: {error}."
    return Explanation(
        job_id=verdict.job_id,
        decided_at=ask.now_at,
        outcome=verdict.outcome,
        reason=Reason(verdict.code, text),
        candidates=(),
    )


def _finished(explanation: Explanation, ask: Ask, plan: Plan) -> Explanation:
    """An explanation with the figures of its round."""
    return replace(
        explanation,
        round_id=ask.round_id,
        round_objective_yuan=plan.objective_yuan,
        round_bound_yuan=plan.bound_yuan,
        round_gap=plan.gap,
    )


def _decided(news: _News, snapshot: Snapshot, plan: Plan, placed: Iterable[str]) -> Decided:
    # Of a quick round later starts are not taken over: what a whole one planned stands.
    before = {} if news.ask.quick else snapshot.previous
    change = changed(before, snapshot.now_at, plan.placements)
    unplaced = {verdict.job_id: verdict.code.value for verdict in plan.verdicts}
    for job_id in placed:
        unplaced.pop(job_id, None)
    return Decided(
        round_id=news.ask.round_id,
        jobs=len(plan.verdicts),
        planned=sum(not placement.now for placement in plan.placements),
        unplaced=len(unplaced),
        reasons=dict(Counter(unplaced.values())),
        objective_yuan=plan.objective_yuan,
        bound_yuan=plan.bound_yuan,
        gap=plan.gap,
        stages=plan.stages,
        interruptions=plan.interruptions,
        running=len(snapshot.running),
        nodes=len(snapshot.nodes),
        clusters=len(snapshot.sites),
        moved=change.moved,
        kept=change.ahead - change.moved,
        parts=news.parts,
        first=news.part(0),
    )
