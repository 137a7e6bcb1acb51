"""Judges what a plan wants stopped: who, for whom, and whether it is worth it.

A run that is moved is judged as a placement of a snapshot in which it is not running but pending;
``moved`` makes that snapshot. Here is what else must hold.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from scheduler.checker.view import SLACK, View, amounts_of, has_of, over
from scheduler.domain.job import JobState
from scheduler.planner.plan import Interruption, InterruptionKind, Placement, Plan
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot

WORST_PRICE_YUAN_PER_KWH = 2.0
# Of two sums over many slots.
YUAN_SLACK = 1e-3

# Accelerators, cores and GB by node.
Used = dict[str, list[float]]


def check_interruptions(view: View, plan: Plan) -> Iterator[str]:
    """What any interruption breaks by itself, and what those for one job break together."""
    running = {attempt.attempt_id: attempt for attempt in view.snapshot.running}
    for attempt_id, times in Counter(i.attempt_id for i in plan.interruptions).items():
        if times > 1:
            yield f"{attempt_id} is stopped {times} times"
    per_job: dict[str, list[Interruption]] = defaultdict(list)
    for one in plan.interruptions:
        attempt = running.get(one.attempt_id)
        if attempt is None or attempt.job_id != one.job_id:
            yield f"{one.attempt_id} is stopped but does not run for {one.job_id}"
            continue
        if not attempt.spec.interruptible:
            yield f"{one.attempt_id} is stopped but not interruptible"
        if attempt.state not in (JobState.ASSIGNED, JobState.RUNNING):
            yield f"{one.attempt_id} is stopped but {attempt.state}"
        # A stop may cost nothing where the weights say so; it still has to gain.
        if not one.cost_yuan >= 0 or not math.isfinite(one.gain_yuan):
            yield f"{one.attempt_id}: stopping costs {one.cost_yuan}, gains {one.gain_yuan} yuan"
        if one.kind is InterruptionKind.PREEMPT:
            per_job[one.for_job].append(one)
        else:
            check = _check_pause if one.kind is InterruptionKind.PAUSE else _check_move
            yield from check(view, one, attempt)
    used = _used(view, plan) if per_job else {}
    starts_now = {placement.job_id for placement in plan.placements if placement.now}
    for job_id, group in per_job.items():
        if job_id not in view.jobs:
            yield f"{job_id} has attempts stopped for it but is not pending"
            continue
        if job_id in starts_now:
            yield f"{job_id} has attempts stopped for it but starts now"
        stops = [(one, running[one.attempt_id]) for one in group]
        yield from _check_preemption(view, view.jobs[job_id], stops, used)


def _check_preemption(
    view: View,
    job: PendingJob,
    group: Sequence[tuple[Interruption, RunningAttempt]],
    used: Used,
) -> Iterator[str]:
    """The room for the waiting job is there once they have gone, and worth it."""
    for _, attempt in group:
        if attempt.spec.priority >= job.spec.priority:
            above = f"{attempt.spec.priority} >= {job.spec.priority}"
            yield f"{attempt.attempt_id} is stopped for {job.id} of no higher priority: {above}"
    cost_yuan, gain_yuan = sum(one.cost_yuan for one, _ in group), group[0][0].gain_yuan
    if not gain_yuan > cost_yuan:
        yield f"{job.id}: stopping others costs {cost_yuan} yuan and gains {gain_yuan}"
    pools = {(attempt.cluster, attempt.accelerator) for _, attempt in group}
    gone = {attempt.attempt_id: attempt for _, attempt in group}
    fits = max(_workers_after(view, job, pool, gone.values(), used) for pool in pools)
    if fits < job.spec.workers:
        yield f"{job.id}: {fits} of {job.spec.workers} workers fit where others are stopped for it"


def _used(view: View, plan: Plan) -> Used:
    """What is held on each node or given away now, without what is leaving."""
    used: Used = defaultdict(lambda: [0.0, 0.0, 0.0])
    holders = [(a.nodes, a.spec) for a in view.snapshot.running if not a.leaving]
    holders += [(p.nodes, view.spec(p)) for p in plan.placements if p.job_id in view.jobs]
    for nodes, spec in holders:
        for name in nodes:
            for i, amount in enumerate(amounts_of(spec)):
                used[name][i] += amount
    return used


def _workers_after(
    view: View,
    job: PendingJob,
    pool: tuple[str, str],
    gone: Iterable[RunningAttempt],
    used: Used,
) -> int:
    """Workers that fit in a pool when its victims and all that is leaving have gone."""
    freed: Used = defaultdict(lambda: [0.0, 0.0, 0.0])
    for attempt in gone:
        for name in attempt.nodes if not attempt.leaving else ():
            for i, amount in enumerate(amounts_of(attempt.spec)):
                freed[name][i] += amount
    fits = 0
    for name, node in view.ready_in(pool).items():
        room = [
            math.floor((has - held + back) / need + SLACK)
            for has, held, back, need in zip(
                has_of(node), used[name], freed[name], amounts_of(job.spec), strict=True
            )
            if need > 0
        ]
        fits += max(0, min(room))
    return fits


def _check_pause(view: View, one: Interruption, attempt: RunningAttempt) -> Iterator[str]:
    """A pause is worth its cost, and work is left when its grace is over."""
    if not one.gain_yuan > one.cost_yuan:
        yield f"{one.attempt_id}: pausing costs {one.cost_yuan} yuan and saves {one.gain_yuan}"
    left_s = (attempt.unbroken_end_at - view.snapshot.now_at).total_seconds()
    if not left_s > attempt.spec.stop_grace_s:
        yield f"{one.attempt_id}: pauses although it ends in {left_s} s"


def _check_move(view: View, one: Interruption, attempt: RunningAttempt) -> Iterator[str]:
    """A move goes elsewhere, counts no work twice, and saves more than it costs."""
    place = one.place
    if place is None or (place.cluster, place.accelerator) == (
        attempt.cluster,
        attempt.accelerator,
    ):
        yield f"{one.attempt_id}: is moved nowhere else"
        return
    there = (place.cluster, place.accelerator)
    if place.cluster not in view.site_codes or not view.ready_in(there):
        yield f"{one.attempt_id}: is moved to {'/'.join(there)}, which has no ready node"
        return
    if not one.gain_yuan > one.cost_yuan:
        yield f"{one.attempt_id}: moving costs {one.cost_yuan} yuan and saves {one.gain_yuan}"
    now_at = view.snapshot.now_at
    ready_s = (place.start_at - now_at).total_seconds()
    if not ready_s >= attempt.spec.stop_grace_s * (1 - SLACK):
        yield f"{one.attempt_id}: goes on after {ready_s} s, within its grace"
    left_s = (attempt.unbroken_end_at - now_at).total_seconds()
    speed = attempt.spec.speed_on(attempt.accelerator) or 0.0
    most_s = attempt.spec.expected_duration_s - left_s * speed
    if over(one.done_s, max(most_s, 0.0)):
        yield f"{one.attempt_id}: has {one.done_s} s of work done, {most_s} s at most"
    told = dict(one.terms).get("price", 0.0)
    saved = _price_yuan(
        view, attempt.cluster, view.pool_kw(attempt), (now_at, attempt.unbroken_end_at)
    )
    saved -= _price_yuan(
        view, place.cluster, view.pool_kw(attempt, place), (place.start_at, place.end_at)
    )
    if abs(told - saved) > YUAN_SLACK * max(1.0, abs(saved)):
        yield f"{one.attempt_id}: moving saves {saved} yuan of energy, not {told}"


def _price_yuan(view: View, cluster: str, it_kw: float, span: tuple[datetime, datetime]) -> float:
    """What a load costs over a span of time, slot by slot."""
    site, (start_at, end_at) = view.snapshot.sites[cluster], span
    start_s, end_s, slot_s = view.since_s(start_at), view.since_s(end_at), view.snapshot.slot_s
    yuan = 0.0
    for slot in range(int(start_s // slot_s), math.ceil(end_s / slot_s)):
        hours = (min(end_s, (slot + 1) * slot_s) - max(start_s, slot * slot_s)) / 3600
        price = view.value(site.price_yuan_per_kwh, slot, WORST_PRICE_YUAN_PER_KWH)
        yuan += it_kw * view.pue(site, slot) * price * hours
    return yuan


def moved(snapshot: Snapshot, plan: Plan) -> tuple[Snapshot, list[Placement]]:
    """The snapshot with the moved runs pending, and where they go on."""
    moves = {
        one.attempt_id: (one, one.place)
        for one in plan.interruptions
        if one.kind is InterruptionKind.MIGRATE and one.place is not None
    }
    leaving = [attempt for attempt in snapshot.running if attempt.attempt_id in moves]
    jobs = [
        PendingJob(
            id=attempt.job_id,
            spec=attempt.spec,
            submitted_at=snapshot.now_at,
            done_s=moves[attempt.attempt_id][0].done_s,
        )
        for attempt in leaving
    ]
    stay = tuple(attempt for attempt in snapshot.running if attempt.attempt_id not in moves)
    places = [place for _, place in moves.values() if place.job_id in {job.id for job in jobs}]
    return replace(snapshot, jobs=(*snapshot.jobs, *jobs), running=stay), places
