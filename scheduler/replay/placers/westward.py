"""Westward itself: the planner with all its policies."""

from policies.weights import Weights
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from scheduler.planner.snapshot import Snapshot
from scheduler.replay.placers.base import Decision

# Nobody asks a replay why a job waits.
UNEXPLAINED = Budget(explained=0)


class Westward:
    """Plans every round anew, as the service does."""

    interrupts = True

    def __init__(self, budget: Budget | None = None, weights: Weights | None = None) -> None:
        self._budget = budget or UNEXPLAINED
        self._weights = weights or Weights()

    def place(self, snapshot: Snapshot) -> Decision:
        made = plan(snapshot, self._budget, weights=self._weights)
        return Decision(placements=made.placements, interruptions=made.interruptions, gap=made.gap)
