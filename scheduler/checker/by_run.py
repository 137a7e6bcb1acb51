"""Runs that are green as a whole: there is a way to give each its share, no kWh twice.

Whether there is one is a question of flow: from each run, which must get its share of its energy,
to the slots it touches, which can take its energy there at most, and from the slots to a sink that
takes the supply that no one else holds.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from ortools.graph.python.max_flow import SimpleMaxFlow

from scheduler.checker.spans import levels, running, touched
from scheduler.checker.view import SLACK, View
from scheduler.domain.fleet import Site
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import RunningAttempt

# A run takes green energy alone for its share of its length and a tenth more, or more where the
# site's PUE varies by more than that.
PUE_WAVE = 1.1
PARTS_PER_KWH = 1_000_000


def check_by_run(view: View, placements: Sequence[Placement]) -> Iterator[str]:
    """What placements break of green shares over whole runs."""
    by_site: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        if _by_run(view.spec(placement)):
            by_site[placement.cluster].append(placement)
            share = view.spec(placement).min_green_share or 0.0
            green_kwh, needs_kwh = placement.green_kwh, share * placement.energy_kwh
            if not green_kwh >= needs_kwh * (1 - SLACK) - SLACK:
                yield f"{placement.job_id}: {green_kwh} green kWh < {needs_kwh} kWh of its run"
    for cluster, own in by_site.items():
        others = [p for p in placements if p.cluster == cluster and not _by_run(view.spec(p))]
        yield from _check_site(view, view.snapshot.sites[cluster], own, others)


def _by_run(spec: JobSpec) -> bool:
    return bool(spec.min_green_share) and spec.green_matching is GreenMatching.RUN


def _check_site(
    view: View, site: Site, own: Sequence[Placement], others: Sequence[Placement]
) -> Iterator[str]:
    energies = [_energy_kwh(view, site, placement) for placement in own]
    stop = 1 + max(max(kwh, default=0) for kwh in energies)
    left_kwh = _left_kwh(view, site, others, stop)
    flow, sink = SimpleMaxFlow(), 1 + len(own) + stop
    wanted = 0
    for j, (placement, kwh) in enumerate(zip(own, energies, strict=True)):
        share = view.spec(placement).min_green_share or 0.0
        needs = int(share * sum(kwh.values()) * (1 - SLACK) * PARTS_PER_KWH)
        wanted += needs
        flow.add_arc_with_capacity(0, 1 + j, needs)
        for slot, most_kwh in kwh.items():
            flow.add_arc_with_capacity(1 + j, 1 + len(own) + slot, _parts(most_kwh))
    for slot, kwh_left in enumerate(left_kwh):
        flow.add_arc_with_capacity(1 + len(own) + slot, sink, _parts(kwh_left))
    flow.solve(0, sink)
    if flow.optimal_flow() < wanted:
        got, asked = flow.optimal_flow() / PARTS_PER_KWH, wanted / PARTS_PER_KWH
        yield f"{site.cluster}: {asked} green kWh held over whole runs, {got} kWh to be had"


def _parts(kwh: float) -> int:
    return round(max(kwh, 0.0) * (1 + SLACK) * PARTS_PER_KWH) + 1


def _energy_kwh(view: View, site: Site, placement: Placement) -> dict[int, float]:
    """By slot, at the door; after the forecasts' reach nothing counts as green."""
    slot_s = view.snapshot.slot_s
    start_s, end_s = view.since_s(placement.start_at), view.since_s(placement.end_at)
    made = {}
    slots = touched(view.snapshot, placement.start_at, placement.end_at)
    it_kw = _it_kw(view, view.spec(placement), (placement.cluster, placement.accelerator))
    for slot in slots:
        hours = (min(end_s, (slot + 1) * slot_s) - max(start_s, slot * slot_s)) / 3600
        made[slot] = it_kw * view.pue(site, slot) * hours
    return made


def _it_kw(view: View, spec: JobSpec, pool: tuple[str, str]) -> float:
    draw = view.pools[pool]
    if spec.gpus:
        return spec.gpus * draw.gpu_kw
    return spec.workers * spec.per_worker.cpus * draw.cpu_kw


def _left_kwh(view: View, site: Site, others: Sequence[Placement], stop: int) -> list[float]:
    """What is left of the supply of each slot when all others hold theirs, in kW all the while."""
    snapshot = view.snapshot
    held = [
        (
            touched(snapshot, p.start_at, p.end_at),
            _it_kw(view, view.spec(p), (p.cluster, p.accelerator))
            * (view.spec(p).min_green_share or 0.0),
        )
        for p in others
    ]
    pues = [view.pue(site, slot) for slot in range(max(stop, view.reach(site)))]
    wave = max(PUE_WAVE, max(pues) / min(pues)) if min(pues) > 0 else math.inf
    for attempt in snapshot.running:
        if attempt.cluster == site.cluster:
            held.append(_running_hold(view, attempt, wave))
    supply_kw, left = view.green_kw(site, stop), list[float]()
    for slot, it_kw in enumerate(levels(held, stop)):
        begins_s = max(slot * snapshot.slot_s, view.now_s)
        hours = ((slot + 1) * snapshot.slot_s - begins_s) / 3600
        left.append((float(supply_kw[slot]) - it_kw * pues[slot]) * hours)
    return left


def _running_hold(view: View, attempt: RunningAttempt, wave: float) -> tuple[range, float]:
    """The slots in which a running attempt holds green power, and the kW of IT."""
    spec, it_kw = attempt.spec, 0.0
    for name in attempt.nodes:
        node = view.nodes.get(name)
        if node is None:
            it_kw += view.unseen_kw(attempt)
        elif node.cluster == attempt.cluster:
            shape = spec.per_worker
            it_kw += shape.gpus * node.gpu_power_kw or shape.cpus * node.cpu_power_kw
    share = spec.min_green_share or 0.0
    if not _by_run(spec):
        return running(view.snapshot, attempt), it_kw * share
    length_s = (attempt.expected_end_at - attempt.started_at).total_seconds()
    green_s = min(share * wave, 1.0) * max(length_s, 0.0)
    until_at = attempt.started_at + timedelta(seconds=green_s)
    if until_at <= view.snapshot.now_at:
        return range(0), 0.0
    return touched(view.snapshot, view.snapshot.now_at, until_at), it_kw
