"""Why a job waits, asked again: of a plan of the world as it is now, which is forgotten then."""

from dataclasses import dataclass, replace

from scheduler.domain.explanation import Explanation
from scheduler.domain.why import Starts
from scheduler.planner.budget import Budget
from scheduler.planner.snapshot import Snapshot
from scheduler.planning.preview_question import Think


@dataclass(frozen=True, slots=True)
class Again:
    """What would be told of a job now, closely; None if it waits no longer. ``starts`` are there if
    they were asked for."""

    explanation: Explanation | None
    starts: Starts | None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A job that somebody asks about, and whether also what each of its starts would cost."""

    job_id: str
    slots: bool = False

    def answer(self, snapshot: Snapshot, think: Think, budget: Budget) -> Again:
        """See ``Question``."""
        thought = think(snapshot, replace(budget, explained=0))
        told = thought.explain(self.job_id)
        if told is not None:
            told = replace(
                told,
                round_objective_yuan=thought.plan.objective_yuan,
                round_bound_yuan=thought.plan.bound_yuan,
                round_gap=thought.plan.gap,
            )
        return Again(told, thought.starts(self.job_id) if self.slots else None)
