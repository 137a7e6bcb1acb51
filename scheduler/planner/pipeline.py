"""One round: a snapshot in, a plan out. Pure and deterministic."""

from collections.abc import Callable
from dataclasses import dataclass

from policies.base import Policy
from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import CLOSE, Duals, find_duals, reduced_yuan
from scheduler.planner.explain import Decision, explain
from scheduler.planner.greedy import empty, improve, insert_all, loaded
from scheduler.planner.interrupt import interrupt
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Assignment, Model, build_model, objective_yuan
from scheduler.planner.neighbourhoods import improve_exactly
from scheduler.planner.placements import placements_of
from scheduler.planner.plan import Plan
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.starting import start_now

# How many starts a job could lose before it regrets it; see ``insert_all``.
REGRET_DEPTHS = (5, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much work a round may do; counted, not timed, so that a round can be repeated.

    Attributes:
        dual_iterations: passes over all options for the shadow prices.
        sweeps: passes of single moves over all jobs, each time the plan is improved so.
        exact_options: up to so many options in all, CP-SAT plans everything at once, above it one
            neighbourhood after another; 0 leaves it out.
        exact_work: CP-SAT's deterministic time, about seconds of one core.
    """

    dual_iterations: int = 60
    sweeps: int = 4
    exact_options: int = 2000
    exact_work: float = 0.1


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
        on_stage: called with a stage's name when it is done, for the caller to time it.
    """
    budget, done = budget or Budget(), on_stage or (lambda _: None)
    scene = build_scene(snapshot, weights or Weights())
    done("scene")
    candidates = find_candidates(scene, policies)
    model = build_model(scene, candidates)
    done("candidates")
    assignment, duals = _search(model, budget, done)
    residual = loaded(model, assignment)
    nodes = start_now(model, assignment, residual)
    _oldest_first(assignment)
    done("nodes")
    objective = objective_yuan(model, assignment)
    bound = min(duals.bound_yuan, objective)
    gap = (objective - bound) / abs(objective) if objective else 0.0
    ledger = Ledger(model, assignment)
    placements = placements_of(snapshot, model, assignment, ledger, nodes)
    decision = Decision(
        model=model,
        assignment=assignment,
        residual=residual,
        duals=duals,
        ledger=ledger,
        decided_at=snapshot.now_at,
        objective_yuan=objective,
        bound_yuan=bound,
        gap=gap,
    )
    explanations = explain(snapshot, decision)
    done("explain")
    interrupted = interrupt(snapshot, decision, placements, explanations, policies)
    done("interrupt")
    return Plan(
        placements=placements,
        explanations=interrupted.explanations,
        objective_yuan=objective,
        bound_yuan=bound,
        gap=gap,
        interruptions=interrupted.interruptions,
    )


def _oldest_first(assignment: Assignment) -> None:
    """Gives the earlier places to those of a class that have waited longer."""
    for jobs in assignment:
        jobs.sort(key=lambda choice: (choice is None, choice.slot if choice else 0))


def _search(model: Model, budget: Budget, done: Callable[[str], None]) -> tuple[Assignment, Duals]:
    """The best assignment found, and the shadow prices with the best certified bound."""
    if not len(model.active):
        return empty(model), Duals(tuple(r.capacity * 0 for r in model.families), 0.0)
    best = insert_all(model, model.cost_yuan, REGRET_DEPTHS[0])
    improve(model, best, loaded(model, best), budget.sweeps)
    best_yuan = objective_yuan(model, best)
    done("greedy")
    duals = find_duals(model, best_yuan, budget.dual_iterations)
    reduced = reduced_yuan(model, duals.prices)
    done("duals")
    if best_yuan - duals.bound_yuan > CLOSE * abs(best_yuan):
        tries = [insert_all(model, reduced, depth) for depth in REGRET_DEPTHS]
        other = min(tries, key=lambda assignment: objective_yuan(model, assignment))
        improve(model, other, loaded(model, other), budget.sweeps)
        if objective_yuan(model, other) < best_yuan:
            best, best_yuan = other, objective_yuan(model, other)
        done("greedy at shadow prices")
    open_yuan = best_yuan - duals.bound_yuan
    if budget.exact_options and open_yuan > CLOSE * abs(best_yuan):
        options, work = budget.exact_options, budget.exact_work
        found = improve_exactly(model, best, best_yuan, reduced, options=options, work=work)
        best = found.assignment
        improve(model, best, loaded(model, best), budget.sweeps)
        duals = Duals(duals.prices, max(duals.bound_yuan, found.bound_yuan))
        done("exact")
    return best, duals
