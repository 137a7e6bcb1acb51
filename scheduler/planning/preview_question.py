"""What a question about the plan is."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from scheduler.domain.explanation import Explanation
from scheduler.domain.why import Starts
from scheduler.planner.budget import Budget
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import Snapshot

Given_co = TypeVar("Given_co", covariant=True)


class Thought(Protocol):
    """A plan, and what can be asked about it."""

    @property
    def plan(self) -> Plan:
        """The plan."""

    def explain(self, job_id: str) -> Explanation | None:
        """Closely, one job; None for a stranger."""

    def starts(self, job_id: str) -> Starts | None:
        """What every start would cost one job; None for a stranger."""


Think = Callable[[Snapshot, Budget], Thought]


class Question(Protocol[Given_co]):
    """Something that takes a plan or two to answer. It crosses to the planner's process, and so
    does its answer."""

    def answer(self, snapshot: Snapshot, think: Think, budget: Budget) -> Given_co:
        """The answer, from the snapshot of a whole round; ``think`` is the planner."""
