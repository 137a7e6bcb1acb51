"""Questions about the plan: answered in the planner's process, between two rounds.

A question gets the snapshot that a whole round would get at that moment, plans it and forgets it:
what the planner has told and decided stays as it was.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from scheduler.domain.explanation import Explanation
from scheduler.domain.job import JobSpec
from scheduler.planner.budget import Budget
from scheduler.planner.changes import Change, changed
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, PlannedStart, Snapshot
from scheduler.planning.preview_effects import Effect, Side, Standing, Totals, effects, totals
from scheduler.planning.preview_question import Think, Thought

# How long the rounds may have to wait for one question, in seconds of real time.
ANSWER_MOST_S = 30.0
# Ids of jobs that are only thought of: after all others, as newer jobs are.
THOUGHT_OF = "~"


class TooLongError(Exception):
    """A question took longer than rounds may be held up for one."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.limit_s = limit_s

    def __str__(self) -> str:
        return (
            f"planning that takes longer than {self.limit_s:g} s, for which it would hold up the "
            "rounds; ask again when fewer jobs wait"
        )


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Ends what is computed in the block, in the main thread of a process, when time is up.

    Raises:
        TooLongError: it was ended.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(limit_s)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, slots=True)
class PreviewedJob:
    """What would become of a job: its ``placement`` if it has one, why closely for the first of its
    kind, in short for others."""

    explanation: Explanation
    placement: Placement | None


@dataclass(frozen=True, slots=True)
class Previewed:
    """Of all jobs that were thought of, in the order asked; ``effects`` are on all others."""

    jobs: tuple[PreviewedJob, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of jobs if they were submitted now.

    Attributes:
        groups: the specs, those that belong together (the chunks of an array) in one group.
        on_others: tell the effects, too. That takes a second plan, of the same moment without the
            jobs, unless everybody else starts where and when it was told before.
        planned: where the first of them stands planned already, as far as the next round will know.
    """

    groups: tuple[tuple[JobSpec, ...], ...]
    on_others: bool = True
    planned: PlannedStart | None = None

    def answer(self, snapshot: Snapshot, think: Think, budget: Budget) -> Previewed:
        """See ``Question``."""
        fresh = [
            PendingJob(id=f"{THOUGHT_OF}{n:05d}", spec=spec, submitted_at=snapshot.now_at)
            for n, spec in enumerate(spec for group in self.groups for spec in group)
        ]
        beside = replace(snapshot, jobs=(*snapshot.jobs, *fresh))
        if self.planned is not None:
            beside = replace(beside, previous={**snapshot.previous, fresh[0].id: self.planned})
        thought = think(beside, budget)
        found: list[Effect] = []
        if self.on_others and not _all_as_told(snapshot, thought.plan):
            alone = Side(snapshot, think(snapshot, budget).plan)
            found = effects(alone, Side(beside, thought.plan))
        return Previewed(self._jobs(fresh, thought), tuple(found))

    def _jobs(self, fresh: Sequence[PendingJob], thought: Thought) -> tuple[PreviewedJob, ...]:
        """The last of the snapshot's jobs, and so of the explanations."""
        plan, ids = thought.plan, {job.id for job in fresh}
        placed = {p.job_id: p for p in plan.placements if p.job_id in ids}
        told = [*plan.explanations[len(plan.explanations) - len(fresh) :]]
        first = 0
        for group in self.groups:
            closely = thought.explain(fresh[first].id)
            assert closely is not None, "it was planned"
            told[first] = _finished(closely, plan)
            first += len(group)
        pairs = zip(fresh, told, strict=True)
        return tuple(PreviewedJob(told, placed.get(job.id)) for job, told in pairs)


def _finished(explanation: Explanation, plan: Plan) -> Explanation:
    """With the figures of the plan as a whole."""
    return replace(
        explanation,
        round_objective_yuan=plan.objective_yuan,
        round_bound_yuan=plan.bound_yuan,
        round_gap=plan.gap,
    )


def _all_as_told(snapshot: Snapshot, plan: Plan) -> bool:
    """Whether every other job has the place that the last round told it, and nothing is stopped:
    then the jobs that are thought of do nothing to them."""
    if plan.interruptions:
        return False
    stands = {p.job_id: p for p in plan.placements}
    for job in snapshot.jobs:
        was, now = snapshot.previous.get(job.id), stands.get(job.id)
        if was is None or now is None:
            return False
        told = Standing(was.cluster, was.accelerator, max(was.start_at, snapshot.now_at))
        if now.start_at > told.start_at or (now.cluster, now.accelerator) != (
            told.cluster,
            told.accelerator,
        ):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Compared:
    """The queue planned twice."""

    before: Totals
    after: Totals
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would become of the queue after changes of the world."""

    changes: tuple[Change, ...]

    def answer(self, snapshot: Snapshot, think: Think, budget: Budget) -> Compared:
        """See ``Question``.

        Raises:
            ChangeError: a change cannot be made of this world.
        """
        other = changed(snapshot, self.changes)
        before = Side(snapshot, think(snapshot, budget).plan)
        if other is snapshot:
            return Compared(totals(before), totals(before), ())
        after = Side(other, think(other, budget).plan)
        sums = totals(after)
        # What a change has stopped runs in the plan's snapshot no more.
        gone = len(snapshot.running) - len(other.running)
        sums = replace(sums, stopped=sums.stopped + gone)
        return Compared(totals(before), sums, tuple(effects(before, after)))
