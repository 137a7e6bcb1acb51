"""Places in the model as the placements that a plan tells of."""

from datetime import timedelta

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.kernels.placing import energy_costs
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import Model
from scheduler.planner.places import Choice, Places
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.starting import StartNodes, starts_now


def placements_of(
    snapshot: Snapshot, model: Model, places: Places, ledger: Ledger, nodes: StartNodes
) -> tuple[Placement, ...]:
    """Placements in the order of the snapshot's jobs."""
    where = np.flatnonzero(places.pair >= 0)
    pair, slot = places.pair[where], places.slot[where]
    figures = np.stack([*ledger.energies(pair, slot), price_yuan(model, pair, slot)]).T.tolist()
    jobs = [i for klass in model.scene.classes for i in klass.jobs]
    placed: dict[int, Placement] = {}
    for row, j in enumerate(where.tolist()):
        choice = Choice(int(pair[row]), int(slot[row]))
        own = nodes.get(j, ())
        placed[jobs[j]] = _placement(snapshot.jobs[jobs[j]].id, model, choice, figures[row], own)
    return tuple(placed[i] for i in sorted(placed))


def price_yuan(model: Model, pair: Ints, slot: Ints) -> Floats:
    """What the energy of options costs by the tariff alone, (n,)."""
    tariff = next((c.energy for c in model.candidates.costs if c.name == "price"), None)
    if tariff is None:
        return np.zeros(len(pair))
    pue = np.array([view.pue for view in model.scene.sites]).reshape(tariff.inside.shape)
    beyond = tariff.beyond * pue[:, -1]
    return energy_costs(model.problem, tariff.inside * pue, beyond, pair, slot)


def placement_of(
    job_id: str, model: Model, choice: Choice, ledger: Ledger, nodes: tuple[str, ...]
) -> Placement:
    """One placement; the ledger holds all others."""
    energy = ledger.energy(choice)
    price = price_yuan(model, np.array([choice.pair]), np.array([choice.slot]))
    figures = [energy.kwh, energy.green_kwh, energy.carbon_kg, energy.held_kw, float(price[0])]
    return _placement(job_id, model, choice, figures, nodes)


def _placement(
    job_id: str, model: Model, choice: Choice, figures: list[float], nodes: tuple[str, ...]
) -> Placement:
    pairs, scene = model.candidates.pairs, model.scene
    pool = scene.pools[pairs.pool[choice.pair]]
    start_s = max(choice.slot * scene.slot_s, float(pairs.start_s[choice.pair]))
    start_at = scene.time_at(start_s)
    kwh, green_kwh, carbon_kg, held_kw, price_yuan = figures
    return Placement(
        job_id=job_id,
        cluster=pool.cluster,
        accelerator=pool.accelerator,
        start_at=start_at,
        end_at=start_at + timedelta(seconds=float(pairs.run_s[choice.pair])),
        now=starts_now(model, choice),
        nodes=nodes,
        energy_kwh=kwh,
        green_kwh=green_kwh,
        green_held_kw=held_kw,
        cost_yuan=price_yuan,
        carbon_kg=carbon_kg,
    )
