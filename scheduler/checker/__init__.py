"""Judges a plan against the snapshot it was made from, sharing nothing with what made it.

Plain arithmetic in exact units. A run touches a slot that it overlaps by more than TOUCH_S. In
every slot a pool, a power cap and the green supply count each run that touches the slot in full;
a link counts the GB that really cross it. Forecasts that are missing or not numbers count as the
worst.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from scheduler.checker.forecasts import as_planned
from scheduler.checker.interruptions import check_interruptions, moved
from scheduler.checker.maintenance import check_maintenance
from scheduler.checker.quotas import check_quotas
from scheduler.checker.view import (
    SLACK,
    TOUCH_S,
    WORST_GREEN_KW,
    Tally,
    View,
    amounts_of,
    gbps_of,
    has_of,
    loads_gb,
    over,
    reach,
    stage_s_of,
)
from scheduler.domain.explanation import Outcome
from scheduler.domain.fleet import NodeLifecycle, Site
from scheduler.domain.remaining import run_s
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, Snapshot

ROUNDING_S = 1e-4
RTT_SAMPLES_MIN = 5
WHAT = ("accelerators", "cores", "GB")


def check(snapshot: Snapshot, plan: Plan) -> list[str]:
    """Every violation as a sentence that names the job or the resource; empty for a legal plan."""
    snapshot = as_planned(snapshot)
    found = list(_check_completeness(snapshot, plan))
    found += _check_placements(snapshot, plan.placements)
    if plan.interruptions:
        found += check_interruptions(snapshot, plan)
        then, moves = moved(snapshot, plan)
        if moves:
            found += _check_placements(then, (*plan.placements, *moves))
    return found


def _check_placements(snapshot: Snapshot, placements: Sequence[Placement]) -> list[str]:
    """What the placements break, each by itself and all together."""
    view, found, sound = View(snapshot), list[str](), []
    for placement in [p for p in placements if p.job_id in view.jobs]:
        found += _check_placement(view, placement)
        if placement.cluster in snapshot.sites and view.ready(placement):
            sound.append(placement)
    found += _check_nodes(view, sound)
    found += _check_pools(view, sound)
    for cluster in snapshot.sites:
        found += _check_site(view, cluster, [p for p in sound if p.cluster == cluster])
    found += _check_links(view, sound)
    found += check_maintenance(view, sound)
    found += check_quotas(view, sound)
    return found


def _check_completeness(snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    """Each job explained once, placed at most once, and the two agree."""
    pending = {job.id for job in snapshot.jobs}
    placed = {placement.job_id: placement for placement in plan.placements}
    for job_id, times in Counter(p.job_id for p in plan.placements).items():
        if job_id not in pending:
            yield f"{job_id} is placed but not pending"
        if times > 1:
            yield f"{job_id} is placed {times} times"
    told = Counter(e.job_id for e in plan.explanations)
    for job_id in pending - told.keys():
        yield f"{job_id} is not explained"
    for explanation in plan.explanations:
        job_id, placement = explanation.job_id, placed.get(explanation.job_id)
        if job_id not in pending or told[job_id] > 1:
            yield f"{job_id} is explained {told[job_id]} times, pending: {job_id in pending}"
        want = Outcome.UNPLACED
        if placement is not None:
            want = Outcome.PLACED if placement.now else Outcome.PLANNED
        if explanation.outcome is not want:
            yield f"{job_id} is explained as {explanation.outcome} but is {want}"
    if not plan.bound_yuan <= plan.objective_yuan + SLACK * abs(plan.objective_yuan):
        yield f"the bound {plan.bound_yuan} exceeds the objective {plan.objective_yuan}"


def _check_placement(view: View, placement: Placement) -> Iterator[str]:
    """What one placement breaks by itself."""
    job, site = view.jobs[placement.job_id], view.snapshot.sites.get(placement.cluster)
    if site is None:
        yield f"{job.id}: {placement.cluster} is not a known cluster"
        return
    if not site.reachable:
        yield f"{job.id}: {placement.cluster} is not reachable"
    if site.not_serving:
        yield f"{job.id}: {placement.cluster} starts nothing: {site.not_serving}"
    if not view.ready(placement):
        yield f"{job.id}: {placement.cluster}/{placement.accelerator} has no ready node"
        return
    yield from _check_place(job, site)
    yield from _check_times(view, job, placement, site)
    yield from _check_green_share(view, job, placement, site)
    shape = job.spec.per_worker
    for name in placement.nodes:
        if name not in view.ready(placement):
            yield f"{job.id}: {name} is not a ready node of {placement.cluster}"
    if len(placement.nodes) != (job.spec.workers if placement.now else 0):
        yield f"{job.id}: {len(placement.nodes)} nodes for {job.spec.workers} workers"
    fits = view.room(placement, job.spec)
    if fits < job.spec.workers:
        yield f"{job.id}: {shape} fits {fits} times on the ready nodes, not {job.spec.workers}"


def _check_place(job: PendingJob, site: Site) -> Iterator[str]:
    spec, here = job.spec, {site.cluster, site.province}
    if here & set(spec.must_not_be_in):
        yield f"{job.id}: must not be in {site.cluster}"
    if spec.must_be_in and not here & set(spec.must_be_in):
        yield f"{job.id}: must be in {spec.must_be_in}, not in {site.cluster}"
    if spec.max_rtt_ms is not None:
        rtt = site.rtt.get(spec.region)
        if rtt is None or rtt.samples < RTT_SAMPLES_MIN:
            yield f"{job.id}: no sound round trip from {spec.region} to {site.cluster}"
        elif not rtt.p95_ms <= spec.max_rtt_ms:
            yield f"{job.id}: {rtt.p95_ms} ms to {site.cluster} > {spec.max_rtt_ms} ms"


def _check_times(view: View, job: PendingJob, placement: Placement, site: Site) -> Iterator[str]:
    spec, snapshot = job.spec, view.snapshot
    for name, limit_at in (
        ("now", snapshot.now_at),
        ("its earliest start", spec.earliest_start_at),
        ("the end of its back-off", job.not_before_at),
    ):
        if limit_at is not None and (limit_at - placement.start_at).total_seconds() > ROUNDING_S:
            yield f"{job.id}: starts at {placement.start_at}, before {name} at {limit_at}"
    starts_now = abs((placement.start_at - snapshot.now_at).total_seconds()) <= ROUNDING_S
    if placement.now != starts_now:
        yield f"{job.id}: now is {placement.now} but it starts at {placement.start_at}"
    if placement.start_at >= snapshot.slot_at(snapshot.slots):
        yield f"{job.id}: starts at {placement.start_at}, after the horizon"
    if spec.deadline_at is not None:
        late_s = (placement.end_at - spec.deadline_at).total_seconds()
        if late_s > ROUNDING_S:
            yield f"{job.id}: ends at {placement.end_at}, after its deadline {spec.deadline_at}"
    speed = spec.speed_on(placement.accelerator)
    if speed is None or speed <= 0:
        yield f"{job.id}: does not accept {placement.accelerator}"
        return
    staged_s = stage_s_of(spec, site, snapshot)
    needs_s = run_s(spec, job.done_s, speed) + staged_s
    has_s = (placement.end_at - placement.start_at).total_seconds()
    if not abs(needs_s - has_s) <= ROUNDING_S:
        yield f"{job.id}: gets {has_s} s, needs {needs_s} s"


def _check_green_share(
    view: View, job: PendingJob, placement: Placement, site: Site
) -> Iterator[str]:
    """The figures of the placement keep the promise; the supply is judged per site."""
    share, energy = job.spec.min_green_share or 0.0, placement.energy_kwh
    if not 0 <= placement.green_kwh <= energy * (1 + SLACK) + SLACK:
        yield f"{job.id}: {placement.green_kwh} green of {energy} kWh"
    if not placement.green_kwh >= share * energy * (1 - SLACK) - SLACK:
        yield f"{job.id}: {placement.green_kwh} green kWh < {share} of {energy} kWh"
    it_kw, hours = view.it_kw(placement), (placement.end_at - placement.start_at).total_seconds()
    pues = [view.pue(site, t) for t in _sampled(view, placement, site)]
    if not energy >= it_kw * hours / 3600 * min(pues) * (1 - SLACK) - SLACK:
        yield f"{job.id}: {energy} kWh is less than {it_kw} kW IT needs in {hours} s"
    if not placement.green_held_kw >= share * it_kw * max(pues) * (1 - SLACK) - SLACK:
        yield f"{job.id}: holds {placement.green_held_kw} kW, needs {share} of {it_kw} kW × PUE"


def _sampled(view: View, placement: Placement, site: Site) -> range:
    """The slots of a run, as far as its site's forecasts differ."""
    touched = view.slots(placement.start_at, placement.end_at)
    return range(touched.start, max(touched.start + 1, min(touched.stop, reach(view, site))))


def _check_nodes(view: View, placements: list[Placement]) -> Iterator[str]:
    """No node is given away twice at the time of the snapshot."""
    held: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    given: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for used, nodes, spec in [
        *((held, a.nodes, a.spec) for a in view.snapshot.running),
        *((given, p.nodes, view.jobs[p.job_id].spec) for p in placements),
    ]:
        for name in nodes:
            for i, amount in enumerate(amounts_of(spec)):
                used[name][i] += amount
    for name in sorted(given.keys() & view.nodes.keys()):
        has = has_of(view.nodes[name])
        for what, limit, before, more in zip(WHAT, has, held[name], given[name], strict=True):
            if more > SLACK and over(before + more, limit):
                yield f"{name} has {limit} {what}: {before} are held and {more} given away now"


def _check_pools(view: View, placements: list[Placement]) -> Iterator[str]:
    """In every slot, what is planned fits in sum what running attempts leave of the ready nodes."""
    planned: dict[tuple[str, str], list[Tally]] = {}
    for placement in placements:
        pool = (placement.cluster, placement.accelerator)
        tallies = planned.setdefault(pool, [Tally(), Tally(), Tally()])
        slots, spec = view.slots(placement.start_at, placement.end_at), view.spec(placement)
        for tally, amount in zip(tallies, amounts_of(spec), strict=True):
            tally.add(slots, spec.workers * amount)
    held: dict[str, list[Tally]] = defaultdict(lambda: [Tally(), Tally(), Tally()])
    for attempt in view.snapshot.running:
        for name in attempt.nodes:
            for tally, amount in zip(held[name], amounts_of(attempt.spec), strict=True):
                tally.add(view.running_slots(attempt), amount)
    stop = view.snapshot.slots
    for (cluster, accelerator), tallies in planned.items():
        ready = [n for n in view.pools[cluster, accelerator] if n.lifecycle is NodeLifecycle.READY]
        for i, what in enumerate(WHAT):
            free = [sum(has_of(node)[i] for node in ready)] * stop
            for node in ready:
                levels = held[node.id][i].levels(stop) if node.id in held else ()
                for slot, level in enumerate(levels):
                    free[slot] -= min(level, has_of(node)[i])
            for slot, level in enumerate(tallies[i].levels(stop)):
                if level > SLACK and over(level, free[slot]):
                    when = view.snapshot.slot_at(slot)
                    yield f"{cluster}/{accelerator} at {when}: {level} {what} > {free[slot]} free"


def _check_site(view: View, cluster: str, placements: list[Placement]) -> Iterator[str]:
    """The power cap and the green supply of a site, slot by slot; what runs comes first."""
    if not placements:
        return
    site, snapshot = view.snapshot.sites[cluster], view.snapshot
    running, running_held, planned, planned_held = Tally(), Tally(), Tally(), Tally()
    for attempt in snapshot.running:
        if attempt.cluster == cluster:
            slots, kw = view.running_slots(attempt), view.running_kw(attempt)
            running.add(slots, kw)
            running_held.add(slots, kw * (attempt.spec.min_green_share or 0.0))
    ends = 0
    for placement in placements:
        slots, kw = view.slots(placement.start_at, placement.end_at), view.it_kw(placement)
        planned.add(slots, kw)
        planned_held.add(slots, kw * (view.spec(placement).min_green_share or 0.0))
        ends = max(ends, slots.stop)
    stop, supply_kwh = min(ends, reach(view, site)), 0.0
    series = (running, planned, running_held, planned_held)
    for slot, (runs, more, holds, wants) in enumerate(
        zip(*(tally.levels(stop) for tally in series), strict=True)
    ):
        pue, when = view.pue(site, slot), snapshot.slot_at(slot)
        green_kw = max(view.value(site.green_supply_kw, slot, WORST_GREEN_KW), 0.0)
        supply_kwh += green_kw * snapshot.slot_s / 3600
        cap_kw = math.inf if site.power_cap_kw is None else site.power_cap_kw
        if more > SLACK and over((runs + more) * pue, cap_kw):
            yield f"{cluster} at {when}: {(runs + more) * pue} kW > the power cap of {cap_kw} kW"
        if wants > SLACK and over((holds + wants) * pue, green_kw):
            yield f"{cluster} at {when}: {(holds + wants) * pue} kW of green held > {green_kw} kW"
    green_kwh = sum(p.green_kwh for p in placements)
    if ends <= stop and over(green_kwh, supply_kwh):
        yield f"{cluster}: {green_kwh} green kWh promised > {supply_kwh} kWh supplied"


def _check_links(view: View, placements: list[Placement]) -> Iterator[str]:
    """No link carries more in a slot than its bandwidth allows, each transfer at an even pace."""
    snapshot, carried_gb = view.snapshot, defaultdict[tuple[str, str, int], float](float)
    for placement in placements:
        site, spec = snapshot.sites[placement.cluster], view.jobs[placement.job_id].spec
        staged_s = stage_s_of(spec, site, snapshot) if spec.data else 0.0
        if not 0 < staged_s < math.inf:
            continue
        start_s = view.since_s(placement.start_at)
        first, last = int(start_s // snapshot.slot_s), (start_s + staged_s) / snapshot.slot_s
        for location, size_gb in loads_gb(spec, site).items():
            for slot in range(first, math.ceil(last)):
                low = max(start_s, slot * snapshot.slot_s)
                high = min(start_s + staged_s, (slot + 1) * snapshot.slot_s)
                carried_gb[location, site.cluster, slot] += size_gb * (high - low) / staged_s
    now_s = view.since_s(snapshot.now_at)
    for (location, cluster, slot), gb in sorted(carried_gb.items()):
        left_s = (slot + 1) * snapshot.slot_s - max(now_s, slot * snapshot.slot_s)
        most_gb = gbps_of(snapshot.sites[cluster], location, snapshot) * left_s / 8
        if gb > most_gb * (1 + SLACK) + most_gb * TOUCH_S / snapshot.slot_s + SLACK:
            when = snapshot.slot_at(slot)
            yield f"link {location}-{cluster} at {when}: {gb} GB > {most_gb} GB"
