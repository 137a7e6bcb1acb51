"""Places in the model as the placements that a plan tells of."""

from datetime import timedelta

from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Assignment, Choice, Model
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.starting import StartNodes, starts_now


def placements_of(
    snapshot: Snapshot, model: Model, assignment: Assignment, ledger: Ledger, nodes: StartNodes
) -> tuple[Placement, ...]:
    """Placements in the order of the snapshot's jobs."""
    placed: dict[int, Placement] = {}
    for klass, jobs in zip(model.scene.classes, assignment, strict=True):
        for i, choice in zip(klass.jobs, jobs, strict=True):
            if choice is not None:
                ledger.add(choice, -1)
                own = nodes[choice.pair].pop(0) if starts_now(model, choice) else ()
                placed[i] = placement_of(snapshot.jobs[i].id, model, choice, ledger, own)
                ledger.add(choice)
    return tuple(placed[i] for i in sorted(placed))


def placement_of(
    job_id: str, model: Model, choice: Choice, ledger: Ledger, nodes: tuple[str, ...]
) -> Placement:
    """One placement; the ledger holds all others."""
    options = model.candidates.options
    pool = model.scene.pools[options.pool[choice.pair]]
    start_at = model.scene.time_at(float(options.start_s[choice.pair, choice.slot]))
    price = dict(model.candidates.terms).get("price")
    energy = ledger.energy(choice)
    return Placement(
        job_id=job_id,
        cluster=pool.cluster,
        accelerator=pool.accelerator,
        start_at=start_at,
        end_at=start_at + timedelta(seconds=float(options.run_s[choice.pair])),
        now=starts_now(model, choice),
        nodes=nodes,
        energy_kwh=energy.kwh,
        green_kwh=energy.green_kwh,
        green_held_kw=ledger.held_kw(choice),
        cost_yuan=float(price[choice.pair, choice.slot]) if price is not None else 0.0,
        carbon_kg=energy.carbon_kg,
    )
