"""Places in the model as the placements that a plan tells of."""

from datetime import timedelta
from functools import partial
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np

from policies.scene import Floats, Ints
from scheduler.domain.span import Span
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
    job, pair, slot = places.runs()
    each = np.stack([*ledger.energies(pair, slot), price_yuan(model, pair, slot)])
    begins = np.flatnonzero(np.diff(job, prepend=-1))
    figures = np.add.reduceat(each, begins, axis=1) if len(begins) else each
    figures[3] = np.maximum.reduceat(each[3], begins) if len(begins) else each[3]
    members, jobs = model.scene.classes.members, np.flatnonzero(places.pair >= 0)
    order = np.argsort(members[jobs])
    jobs, figures = jobs[order], figures[:, order]
    ids = [snapshot.jobs[member].id for member in members[jobs].tolist()]
    where = _in_one_run(model, places.pair[jobs], places.slot[jobs])
    here = [nodes.get(j, ()) for j in jobs.tolist()]
    kwh, green_kwh, carbon_kg, held_kw, yuan = figures.tolist()
    made = list(map(Placement, ids, *where, here, kwh, green_kwh, held_kw, yuan, carbon_kg))
    for n in np.flatnonzero(np.isin(jobs, list(places.split))).tolist():
        choice = places.choice(int(jobs[n]))
        assert choice is not None, "it has a place"
        made[n] = _placement(ids[n], model, choice, figures[:, n].tolist(), here[n])
    return tuple(made)


def _in_one_run(model: Model, pair: Ints, slot: Ints) -> tuple[list[Any], ...]:
    """Of options: cluster, accelerator, begin, end, and whether that is now."""
    pairs, scene = model.candidates.pairs, model.scene
    ready_s = pairs.start_s(pair)
    start_s = np.maximum(slot * scene.slot_s, ready_s)
    starts = list(map(scene.time_at, start_s.tolist()))
    ends = list(map(add, starts, map(partial(timedelta, 0), pairs.run_s[pair].tolist())))
    pools = list(map(scene.pools.__getitem__, pairs.pool[pair].tolist()))
    clusters, accelerators = [p.cluster for p in pools], [p.accelerator for p in pools]
    now = ((slot == 0) & (ready_s <= scene.now_s)).tolist()
    return clusters, accelerators, starts, ends, now


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
    price = float(price_yuan(model, *np.array(choice.runs, dtype=np.int64).T).sum())
    figures = [energy.kwh, energy.green_kwh, energy.carbon_kg, energy.held_kw, price]
    return _placement(job_id, model, choice, figures, nodes)


def _placement(
    job_id: str, model: Model, choice: Choice, figures: list[float], nodes: tuple[str, ...]
) -> Placement:
    pool = model.scene.pools[model.candidates.pairs.pool[choice.pair]]
    runs = spans_of(model, choice)
    kwh, green_kwh, carbon_kg, held_kw, price_yuan = figures
    return Placement(
        job_id=job_id,
        cluster=pool.cluster,
        accelerator=pool.accelerator,
        start_at=runs[0].start_at,
        end_at=runs[-1].end_at,
        now=starts_now(model, choice),
        nodes=nodes,
        energy_kwh=kwh,
        green_kwh=green_kwh,
        green_held_kw=held_kw,
        cost_yuan=price_yuan,
        carbon_kg=carbon_kg,
        pauses=tuple(Span(a.end_at, b.start_at) for a, b in pairwise(runs)),
    )


def spans_of(model: Model, choice: Choice) -> tuple[Span, ...]:
    """When a job runs."""
    pairs, scene = model.candidates.pairs, model.scene
    ready_s, found = float(pairs.start_s(choice.pair)), list[Span]()
    lengths_s = [float(pairs.run_s[choice.pair])]
    if choice.split is not None:
        lengths = model.problem.pairs["run"][[pair for pair, _ in choice.runs]]
        lengths_s = (lengths * scene.slot_s).tolist()
    for (_, slot), length_s in zip(choice.runs, lengths_s, strict=True):
        start_at = scene.time_at(max(slot * scene.slot_s, ready_s))
        found.append(Span(start_at, start_at + timedelta(seconds=length_s)))
    return tuple(found)
