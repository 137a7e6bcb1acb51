"""The snapshot as arrays: classes of jobs, pools of nodes, sites over the time axis."""

import math
from collections import defaultdict
from datetime import datetime
from typing import Literal

import numpy as np

from policies.scene import OVERLAP_S, Floats, JobClass, Pool, PoolClaim, Scene, SiteView
from policies.transfer import stage_s
from policies.weights import Weights
from scheduler.domain.fleet import Node, NodeLifecycle, Site
from scheduler.domain.job import JobSpec
from scheduler.domain.remaining import run_s as run_s_of
from scheduler.domain.series import Series
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot

# What a forecast that is missing or not a number stands for.
WORST_PRICE_YUAN_PER_KWH = 2.0
WORST_PUE = 2.0
WORST_GREEN_KW = 0.0
# Slots that are looked at one by one; what runs longer meets the worst of the time after them.
AXIS_SLOTS_MAX = 1024


def build_scene(snapshot: Snapshot, weights: Weights) -> Scene:
    """The picture that the policies judge."""
    start_at = snapshot.start_at
    classes = _classes(snapshot, start_at)
    sites = tuple(snapshot.sites.values())
    pools = _pools(snapshot, sites, start_at)
    run_s, stages_s, it_kw = _runs(classes, pools, sites)
    axis = _axis(snapshot, run_s)
    now_s = (snapshot.now_at - start_at).total_seconds()
    hours = np.full(axis, snapshot.slot_s / 3600)
    hours[0] = (snapshot.slot_s - now_s) / 3600
    return Scene(
        start_at=start_at,
        slot_s=snapshot.slot_s,
        now_s=now_s,
        slots=snapshot.slots,
        hours=hours,
        classes=classes,
        pools=pools,
        sites=tuple(_site_view(site, snapshot, hours) for site in sites),
        regions=snapshot.regions,
        run_s=run_s,
        stage_s=stages_s,
        it_kw=it_kw,
        weights=weights,
        claims=_claims(snapshot, pools),
    )


def _classes(snapshot: Snapshot, start_at: datetime) -> tuple[JobClass, ...]:
    members: dict[object, list[int]] = defaultdict(list)
    times: dict[object, tuple[float, float, float]] = {}
    for i in sorted(range(len(snapshot.jobs)), key=lambda i: _age(snapshot.jobs[i])):
        job = snapshot.jobs[i]
        key = (_times(job, snapshot, start_at), job.done_s, _identity(job.spec))
        times[key] = key[0]
        members[key].append(i)
    return tuple(
        JobClass(
            spec=snapshot.jobs[jobs[0]].spec,
            jobs=tuple(jobs),
            ready_s=times[key][0],
            overdue_s=times[key][1],
            deadline_s=times[key][2],
            done_s=snapshot.jobs[jobs[0]].done_s,
        )
        for key, jobs in members.items()
    )


def _age(job: PendingJob) -> tuple[datetime, str]:
    return (job.submitted_at, job.id)


def _times(job: PendingJob, snapshot: Snapshot, start_at: datetime) -> tuple[float, float, float]:
    """When it is ready, overdue, and too late, in seconds since slot 0."""
    spec = job.spec
    earliest_at = max(job.submitted_at, spec.earliest_start_at or job.submitted_at)
    ready_at = max(snapshot.now_at, earliest_at, job.not_before_at or snapshot.now_at)
    ready_s = (ready_at - start_at).total_seconds()
    latest_s = (earliest_at - start_at).total_seconds() + spec.max_delay_s
    overdue_s = latest_s // snapshot.slot_s * snapshot.slot_s
    deadline_s = math.inf
    if spec.deadline_at is not None:
        deadline_s = (spec.deadline_at - start_at).total_seconds()
    return ready_s, max(ready_s, overdue_s), deadline_s


def _identity(spec: JobSpec) -> tuple[object, ...]:
    """What the rules look at in a spec, its times aside."""
    return (
        spec.region,
        spec.expected_duration_s,
        spec.restart_s,
        spec.workers,
        spec.per_worker,
        spec.accelerators,
        spec.max_rtt_ms,
        spec.min_green_share,
        spec.data,
        spec.must_be_in,
        spec.must_not_be_in,
        spec.priority,
    )


def _pools(snapshot: Snapshot, sites: tuple[Site, ...], start_at: datetime) -> tuple[Pool, ...]:
    site_index = {site.cluster: c for c, site in enumerate(sites)}
    members: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in snapshot.nodes:
        if node.cluster in site_index:
            members[node.cluster, node.accelerator].append(node)
    held = _held(snapshot, start_at)
    pools = []
    for (cluster, accelerator), known in members.items():
        nodes = tuple(node for node in known if node.lifecycle is NodeLifecycle.READY)
        free = np.array([[n.gpus, n.cpus, n.memory_gb] for n in nodes], dtype=float)
        free = np.repeat(free.reshape(len(nodes), 3, 1), snapshot.slots + 1, axis=2)
        for n, node in enumerate(nodes):
            for until, amounts in held.get(node.id, ()):
                free[n, :, : min(until, snapshot.slots)] -= amounts[:, None]
        np.maximum(free, 0.0, out=free)
        pools.append(
            Pool(
                cluster=cluster,
                accelerator=accelerator,
                site=site_index[cluster],
                nodes=nodes,
                known=tuple(known),
                gpu_power_kw=max(node.gpu_power_kw for node in known),
                cpu_power_kw=max(node.cpu_power_kw for node in known),
                free_gpus=free[:, 0],
                free_cpus=free[:, 1],
                free_memory_gb=free[:, 2],
            )
        )
    return tuple(pools)


def _claims(snapshot: Snapshot, pools: tuple[Pool, ...]) -> tuple[PoolClaim, ...]:
    where = {(pool.cluster, pool.accelerator): p for p, pool in enumerate(pools)}
    return tuple(
        PoolClaim(where[claim.cluster, claim.accelerator], claim.job_id, claim.priority)
        for claim in snapshot.claims
        if (claim.cluster, claim.accelerator) in where and claim.until_at > snapshot.now_at
    )


def _held(snapshot: Snapshot, start_at: datetime) -> dict[str, list[tuple[int, Floats]]]:
    """Per node: until which slot (exclusive) each worker on it holds how much."""
    held: dict[str, list[tuple[int, Floats]]] = defaultdict(list)
    for attempt in snapshot.running:
        shape = attempt.spec.per_worker
        amounts = np.array([shape.gpus, shape.cpus, shape.memory_gb], dtype=float)
        until = _last_slot(attempt, snapshot.slot_s, start_at)
        for node in attempt.nodes:
            held[node].append((until, amounts))
    return held


def _last_slot(attempt: RunningAttempt, slot_s: float, start_at: datetime) -> int:
    """The slot from which on it is gone; what overruns holds slot 0 all the same."""
    end_s = (attempt.expected_end_at - start_at).total_seconds()
    return max(1, math.ceil((end_s - OVERLAP_S) / slot_s))


def _runs(
    classes: tuple[JobClass, ...], pools: tuple[Pool, ...], sites: tuple[Site, ...]
) -> tuple[Floats, Floats, Floats]:
    shape = (len(classes), len(pools))
    run_s, stages_s, it_kw = np.full(shape, np.inf), np.zeros(shape), np.zeros(shape)
    by_name = {site.cluster: site for site in sites}
    for k, klass in enumerate(classes):
        spec = klass.spec
        for p, pool in enumerate(pools):
            speed = spec.speed_on(pool.accelerator)
            if spec.data:
                stages_s[k, p] = stage_s(spec, sites[pool.site], by_name)
            if speed is not None and speed > 0:
                run_s[k, p] = stages_s[k, p] + run_s_of(spec, klass.done_s, speed)
            it_kw[k, p] = it_power_kw(spec, pool.gpu_power_kw, pool.cpu_power_kw)
    return run_s, stages_s, it_kw


def it_power_kw(spec: JobSpec, gpu_power_kw: float, cpu_power_kw: float) -> float:
    """IT power of the whole gang: of its accelerators, or of its cores when it has none."""
    if spec.gpus:
        return spec.gpus * gpu_power_kw
    return spec.workers * spec.per_worker.cpus * cpu_power_kw


def _axis(snapshot: Snapshot, run_s: Floats) -> int:
    finite = run_s[np.isfinite(run_s)]
    tail = math.ceil(float(finite.max()) / snapshot.slot_s) if len(finite) else 0
    return snapshot.slots + min(tail, max(AXIS_SLOTS_MAX - snapshot.slots, 0))


def _site_view(site: Site, snapshot: Snapshot, hours: Floats) -> SiteView:
    pue = _sample(site.pue, snapshot, len(hours), WORST_PUE, "max")
    kw, held_kw, kwh, held_kwh = (it * pue for it in _running(site, snapshot, hours))
    price = _sample(site.price_yuan_per_kwh, snapshot, len(hours), WORST_PRICE_YUAN_PER_KWH, "max")
    green_kw = _sample(site.green_supply_kw, snapshot, len(hours), WORST_GREEN_KW, "min")
    return SiteView(
        site=site,
        price_yuan_per_kwh=price,
        pue=pue,
        green_kw=np.maximum(green_kw, 0.0),
        running_kw=kw,
        running_held_kw=held_kw,
        running_kwh=kwh,
        running_held_kwh=held_kwh,
    )


def _sample(
    series: Series, snapshot: Snapshot, axis: int, missing: float, worst: Literal["min", "max"]
) -> Floats:
    """Values at the slots' beginnings; the last one is the worst of all from there on."""
    values = np.array(series.values, dtype=float)
    if not len(values):
        return np.full(axis, missing)
    values[~np.isfinite(values)] = missing
    since_s = (snapshot.start_at - series.start_at).total_seconds()
    at = np.floor((since_s + np.arange(axis) * snapshot.slot_s) / series.step_s)
    index = np.clip(at, 0, len(values) - 1).astype(np.int64)
    sampled = values[index]
    if axis >= max(AXIS_SLOTS_MAX, snapshot.slots):
        rest = values[index[-1] :]
        sampled[-1] = rest.min() if worst == "min" else rest.max()
    return np.asarray(sampled, dtype=np.float64)


def _running(site: Site, snapshot: Snapshot, hours: Floats) -> tuple[Floats, ...]:
    """IT power of what runs in each slot it touches, what of it must be green, and both in kWh."""
    kw, held_kw, kwh, held_kwh = np.zeros((4, len(hours)))
    nodes = {node.id: node for node in snapshot.nodes if node.cluster == site.cluster}
    start_at = snapshot.start_at
    now_s = (snapshot.now_at - start_at).total_seconds()
    for attempt in snapshot.running:
        if attempt.cluster != site.cluster:
            continue
        spec, load_kw = attempt.spec, 0.0
        for name in attempt.nodes:
            node = nodes.get(name)
            if node is not None:
                load_kw += it_power_kw(spec, node.gpu_power_kw, node.cpu_power_kw) / spec.workers
        last = min(_last_slot(attempt, snapshot.slot_s, start_at), len(hours))
        end_s = (attempt.expected_end_at - start_at).total_seconds()
        covered = np.minimum(hours[:last], (end_s - np.arange(last) * snapshot.slot_s) / 3600)
        if end_s <= now_s:  # it overruns; nobody knows for how long
            covered[0] = hours[0]
        elif last == 1:
            covered[0] = (end_s - now_s) / 3600
        share = spec.min_green_share or 0.0
        kw[:last] += load_kw
        held_kw[:last] += load_kw * share
        kwh[:last] += load_kw * np.maximum(covered, 0.0)
        held_kwh[:last] += load_kw * share * np.maximum(covered, 0.0)
    return kw, held_kw, kwh, held_kwh
