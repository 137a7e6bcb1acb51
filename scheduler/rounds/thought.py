"""The planner with a clock: how long each stage took, beside the plan."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scheduler.domain.explanation import Explanation
from scheduler.domain.why import Obstacles, Starts
from scheduler.planner.budget import Budget
from scheduler.planner.plan import Plan, StageTime
from scheduler.planner.snapshot import Prices, Snapshot
from scheduler.planner.table import JobTable

if TYPE_CHECKING:
    from scheduler.planner.pipeline import Round


@dataclass(frozen=True, slots=True)
class Thought:
    """A round, and its plan with how long each stage took."""

    round: "Round"
    plan: Plan

    @property
    def prices(self) -> Prices:
        """What a round over nearly the same jobs may start from."""
        return self.round.prices

    def explain(self, job_id: str) -> Explanation | None:
        """Closely, one job; None for a stranger."""
        return self.round.explain(job_id)

    def obstacles(self, job_id: str) -> Obstacles | None:
        """What keeps a job from a start, and what would change that; None for a stranger."""
        from scheduler.planner.relax.obstacles import obstacles  # noqa: PLC0415 - as below

        made, told = self.round, self.explain(job_id)
        return obstacles(made.snapshot, made.decision, made.plan, told) if told else None

    def starts(self, job_id: str) -> Starts | None:
        """What every start would cost a job; None for a stranger."""
        from scheduler.planner.relax.obstacles import starts  # noqa: PLC0415 - as below

        made, told = self.round, self.explain(job_id)
        return starts(made.snapshot, made.decision, made.plan, told) if told else None


def think(snapshot: Snapshot, budget: Budget, table: JobTable | None = None) -> Thought:
    """Plans, and notes how long each stage took: the planner itself has no clock.

    Args:
        table: what rounds before have put together of the jobs.
    """
    # Loads the compiler, which the scheduler's own process has no use for.
    from scheduler.planner.pipeline import plan_round  # noqa: PLC0415

    stages: list[StageTime] = []
    began_s = time.perf_counter()

    def on_stage(name: str) -> None:
        nonlocal began_s
        now_s = time.perf_counter()
        stages.append(StageTime(name, (now_s - began_s) * 1000))
        began_s = now_s

    made = plan_round(snapshot, budget, on_stage=on_stage, table=table)
    return Thought(made, replace(made.plan, stages=tuple(stages)))
