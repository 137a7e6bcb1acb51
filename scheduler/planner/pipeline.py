"""One round: a snapshot in, a plan out. Pure and deterministic."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from policies.base import Policy
from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.domain.explanation import Explanation
from scheduler.domain.reason import Reason
from scheduler.planner.budget import Budget
from scheduler.planner.candidates import find_candidates
from scheduler.planner.decision import Decision
from scheduler.planner.explain import Explainer
from scheduler.planner.interrupt import Interrupted, interrupt
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import build_model
from scheduler.planner.placements import placements_of
from scheduler.planner.places import Places, Residual, objective_yuan
from scheduler.planner.plan import Explanations, Plan
from scheduler.planner.recall import recalled, to_recall
from scheduler.planner.scene import build_scene
from scheduler.planner.search import search
from scheduler.planner.snapshot import Prices, Snapshot
from scheduler.planner.splits import split
from scheduler.planner.starting import start_now
from scheduler.planner.table import JobTable


def plan(
    snapshot: Snapshot,
    budget: Budget | None = None,
    *,
    weights: Weights | None = None,
    policies: tuple[Policy, ...] = POLICIES,
    on_stage: Callable[[str], None] | None = None,
) -> Plan:
    """Plans every pending job of a snapshot and explains each.

    Args:
        weights: in place of those of the snapshot's rules.
        on_stage: called with a stage's name when it is done, for the caller to time it.
    """
    made = plan_round(snapshot, budget, weights=weights, policies=policies, on_stage=on_stage)
    return made.plan


@dataclass(frozen=True, slots=True)
class Round:
    """A plan, and what it takes to explain it further: ``closely`` a job of the snapshot, by its
    index."""

    snapshot: Snapshot
    decision: Decision
    plan: Plan
    closely: Callable[[int], Explanation]

    @property
    def prices(self) -> Prices:
        """What the next round may start from."""
        return to_recall(self.decision.model, self.decision.duals)

    def explain(self, job_id: str) -> Explanation | None:
        """Closely, one job of the round; None for a stranger."""
        for i, job in enumerate(self.snapshot.jobs):
            if job.id == job_id:
                return self.closely(i)
        return None


def plan_round(
    snapshot: Snapshot,
    budget: Budget | None = None,
    *,
    weights: Weights | None = None,
    policies: tuple[Policy, ...] = POLICIES,
    on_stage: Callable[[str], None] | None = None,
    table: JobTable | None = None,
) -> Round:
    """The same, keeping what the plan was made from.

    Args:
        table: what rounds before have put together of the jobs; it saves work and changes nothing.
    """
    budget, done = budget or Budget(), on_stage or (lambda _: None)
    scene = build_scene(snapshot, weights, table)
    done("scene")
    model = build_model(scene, find_candidates(scene, policies))
    done("candidates")
    found = search(model, budget, done, recalled(model, snapshot.prices))
    splitted = split(model, found, budget)
    model, places = splitted.model, splitted.places
    done("split")
    residual = Residual(model, places)
    nodes = start_now(model, places, residual)
    _oldest_first(places, nodes)
    done("nodes")
    objective = objective_yuan(model, places, found.active)
    bound = min(splitted.duals.bound_yuan, objective)
    gap = (objective - bound) / abs(objective) if objective else 0.0
    ledger = Ledger(model, places)
    placements = placements_of(snapshot, model, places, ledger, nodes)
    decision = Decision(
        model=model,
        places=places,
        active=np.isin(np.arange(len(model.jobs)), found.active),
        residual=residual,
        duals=splitted.duals,
        ledger=ledger,
        decided_at=snapshot.now_at,
        objective_yuan=objective,
        bound_yuan=bound,
        gap=gap,
    )
    explainer = Explainer(snapshot, decision, budget.explained)
    verdicts = explainer.verdicts()
    done("explain")
    interrupted = interrupt(snapshot, decision, placements, verdicts, policies)
    done("interrupt")
    made = Plan(
        placements=interrupted.placements,
        explanations=Explanations(verdicts, _with_more(snapshot, explainer.explain, interrupted)),
        objective_yuan=objective,
        bound_yuan=bound,
        gap=gap,
        interruptions=interrupted.interruptions,
    )
    closely = _with_more(snapshot, explainer.closely, interrupted)
    return Round(snapshot, decision, made, closely)


def _with_more(
    snapshot: Snapshot, tell: Callable[[int], Explanation], interrupted: Interrupted
) -> Callable[[int], Explanation]:
    """The explanations, with what is done for a job, and why it was stopped before."""

    def make(i: int) -> Explanation:
        job, explanation = snapshot.jobs[i], tell(i)
        more = [*interrupted.told.get(job.id, ())]
        if job.stopped is not None:
            more.append(f"Stopped before: {job.stopped.message}.")
        if not more:
            return explanation
        reason = explanation.reason
        reason = Reason(reason.code, " ".join([reason.message, *more]))
        return replace(explanation, reason=reason)

    return make


def _oldest_first(places: Places, nodes: dict[int, tuple[str, ...]]) -> None:
    """Gives the earlier places to those of a class that have waited longer."""
    order = np.lexsort((places.slot, places.pair < 0, places.klass))
    places.pair, places.slot = places.pair[order], places.slot[order]
    held = nodes.keys() | places.split.keys()
    moved = {old: new for new, old in enumerate(order.tolist()) if old in held}
    places.split = {moved[old]: own for old, own in places.split.items()}
    known = {moved[old]: own for old, own in nodes.items()}
    nodes.clear()
    nodes.update(known)
