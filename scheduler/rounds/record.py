"""A round as it was planned: what it saw, and enough of the plan to recognise it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from pydantic import ConfigDict, TypeAdapter

from scheduler.planner.budget import Budget
from scheduler.planner.plan import Plan, Verdict
from scheduler.planner.snapshot import Snapshot

_PLAN: TypeAdapter[tuple[Plan, list[Verdict]]] = TypeAdapter(
    tuple[Plan, list[Verdict]], config=ConfigDict(ser_json_inf_nan="constants")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFigures:
    """What a plan came to. ``sha256`` is of all of it but the time it took and the sentences that
    explain it: two plans have the same one if they are the same to the last bit, with the same
    reason for every job."""

    sha256: str
    objective_yuan: float
    bound_yuan: float
    gap: float
    now: int
    later: int
    unplaced: int
    interruptions: int
    stages: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRound:
    """A round that can be planned again.

    ``plan`` is None where the planner failed; ``failure`` says with what, or what the checker had
    against the plan; it is empty where all went well.
    """

    software: str
    round_id: int
    snapshot: Snapshot
    budget: Budget
    plan: PlanFigures | None
    failure: str = ""


def recorded(
    round_id: int, snapshot: Snapshot, budget: Budget, plan: Plan | None, failure: str = ""
) -> RecordedRound:
    """A round of this software."""
    return RecordedRound(
        software=version("westward"),
        round_id=round_id,
        snapshot=snapshot,
        budget=budget,
        plan=None if plan is None else figures(plan),
        failure=failure,
    )


def objection(found: Sequence[str]) -> str:
    """What the checker has against a plan, in one sentence; empty for a legal one."""
    if not found:
        return ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"the plan breaks a rule: {found[0]}{more}"


def failed(error: Exception) -> str:
    """What the planner failed with."""
    return f"the planner fails: {type(error).__name__}: {error}"


def figures(plan: Plan) -> PlanFigures:
    """What a plan came to."""
    text = _PLAN.dump_json((replace(plan, explanations=(), stages=()), [*plan.verdicts]))
    now = sum(placement.now for placement in plan.placements)
    return PlanFigures(
        sha256=hashlib.sha256(text).hexdigest(),
        objective_yuan=plan.objective_yuan,
        bound_yuan=plan.bound_yuan,
        gap=plan.gap,
        now=now,
        later=len(plan.placements) - now,
        unplaced=len(plan.explanations) - len(plan.placements),
        interruptions=len(plan.interruptions),
        stages=tuple((stage.name, stage.ms) for stage in plan.stages),
    )
