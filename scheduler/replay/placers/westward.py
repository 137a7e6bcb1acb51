"""Westward itself: the planner with all its policies."""

from dataclasses import replace

from policies.weights import Weights
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan_round
from scheduler.planner.snapshot import Prices, Snapshot
from scheduler.replay.placers.base import Decision

# Nobody asks a replay why a job waits.
UNEXPLAINED = Budget(explained=0)


class Westward:
    """Plans every round, from the prices of the one before."""

    interrupts = True

    def __init__(self, budget: Budget | None = None, weights: Weights | None = None) -> None:
        self._budget = budget or UNEXPLAINED
        self._weights = weights or Weights()
        self._prices: Prices | None = None

    def place(self, snapshot: Snapshot) -> Decision:
        seen = replace(snapshot, prices=self._prices)
        found = plan_round(seen, self._budget, weights=self._weights)
        self._prices, made = found.prices, found.plan
        return Decision(placements=made.placements, interruptions=made.interruptions, gap=made.gap)
