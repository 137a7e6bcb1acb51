"""Runs that are stopped for a while, to go on in the same place when that costs less.

A run can pause at the end of any slot. It is asked to stop a grace before, so that is when the rest
of it is looked at afresh, beside all that the plan has placed: the cheapest way to go on, with what
pauses may come later, against the cheapest way to stop now. What was planned when it started binds
nobody; but both ways count all that a stop costs, so that nothing pauses for nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from policies.base import Policy
from policies.nongreen import surcharge_yuan_per_kwh
from policies.scene import Floats, Scene
from scheduler.domain.job import JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.decision import Decision
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.kernels.split_pairs import lay_out
from scheduler.planner.kernels.splits import go_or_pause, room_for_runs
from scheduler.planner.migrate import LOOKED_AT
from scheduler.planner.plan import Interruption, InterruptionKind, Placement
from scheduler.planner.search import GAIN_LEAST_YUAN
from scheduler.planner.sites import it_power_kw
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot
from scheduler.planner.splits import stops_of
from scheduler.planner.stopping import planned_stop
from scheduler.planner.what_if import Mover, WhatIf

# A round that comes so much later than the time to ask, in slots and in seconds, still asks.
LATE_SHARE = 0.1
LATE_MOST_S = 60.0
# Times closer than this are the same.
EARLY_S = 0.05


def next_ask_at(now_at: datetime, grace_s: float, slot_s: float) -> datetime:
    """When to look next whether a run should pause: a grace before the next slot that can be."""
    end = math.floor((now_at.timestamp() + grace_s + EARLY_S) / slot_s) + 1
    return datetime.fromtimestamp(end * slot_s - grace_s, now_at.tzinfo)


@dataclass(frozen=True, slots=True)
class Due:
    """A run that could be asked now to be gone at the beginning of a slot."""

    mover: Mover
    slot: int
    at: datetime


def pauses(
    snapshot: Snapshot,
    decision: Decision,
    placements: Sequence[Placement],
    policies: tuple[Policy, ...],
) -> tuple[Interruption, ...]:
    """The pauses of a round."""
    scene = decision.model.scene
    due = [one for attempt in snapshot.running if (one := _due(attempt, snapshot)) is not None]
    promising = _promising(snapshot, scene, due)
    if not promising:
        return ()
    movers = [one.mover for one in promising]
    rests = [_rest(one, snapshot) for one in promising]
    what_if = WhatIf(snapshot, decision, placements, movers, rests, policies=policies)
    return _decided(snapshot, what_if, promising)


def _due(attempt: RunningAttempt, snapshot: Snapshot) -> Due | None:
    """A run, if it could be asked now."""
    now_s, slot_s = (snapshot.now_at - snapshot.start_at).total_seconds(), snapshot.slot_s
    grace_s, speed = attempt.spec.stop_grace_s, attempt.spec.speed_on(attempt.accelerator)
    if not attempt.stoppable or attempt.state is not JobState.RUNNING or speed is None:
        return None
    slot = math.ceil((now_s + grace_s - min(LATE_SHARE * slot_s, LATE_MOST_S)) / slot_s)
    if slot * slot_s - grace_s > now_s + EARLY_S or slot >= snapshot.slots:
        return None
    rest_s = (attempt.unbroken_end_at - snapshot.now_at).total_seconds()
    if attempt.overruns_s or rest_s <= max(slot * slot_s - now_s, grace_s):
        return None
    work_s = min(speed * rest_s, attempt.spec.expected_duration_s)
    return Due(Mover(attempt, rest_s, work_s), slot, snapshot.slot_at(slot))


def _promising(snapshot: Snapshot, scene: Scene, due: Sequence[Due]) -> list[Due]:
    """Those whose rest in the cheapest hours to come would save more than a stop costs."""
    if not due:
        return []
    pools = {(pool.cluster, pool.accelerator): p for p, pool in enumerate(scene.pools)}
    found = list[tuple[float, str, Due]]()
    surcharge = surcharge_yuan_per_kwh(scene)
    for one in due:
        attempt = one.mover.attempt
        if (p := pools.get((attempt.cluster, attempt.accelerator))) is None:
            continue
        pool, view = scene.pools[p], scene.site_of(p)
        it_kw = it_power_kw(attempt.spec, pool.gpu_power_kw, pool.cpu_power_kw)
        rate = view.price_yuan_per_kwh * view.pue
        dear = rate + surcharge[pool.site] * view.pue
        begin, slot_h = one.slot, scene.slot_s / 3600
        rest = one.mover.rest_s / scene.slot_s - (one.slot - scene.now_s / scene.slot_s)
        unbroken = _sum(dear[begin:], rest)
        saved = it_kw * slot_h * (unbroken - _sum(np.sort(rate[begin:]), rest))
        stop_yuan = planned_stop(attempt.spec, scene.weights)[0]
        net = saved - stop_yuan - scene.rules.moving_yuan(attempt.cluster)
        if net > GAIN_LEAST_YUAN:
            found.append((-net, attempt.attempt_id, one))
    return [one for _, _, one in sorted(found, key=lambda item: item[:2])[:LOOKED_AT]]


def _sum(rate: Floats, slots: float) -> float:
    """Of so many slots, the first ones; the last rate goes on."""
    whole = min(int(slots), len(rate))
    rest = rate[whole] if whole < len(rate) else rate[-1]
    return float(rate[:whole].sum() + (slots - whole) * rest)


def _rest(one: Due, snapshot: Snapshot) -> PendingJob:
    """What is left of a run from a slot on, as a job that becomes ready then."""
    attempt, spec = one.mover.attempt, one.mover.attempt.spec
    speed = one.mover.work_s / one.mover.rest_s
    ahead_s = max((one.at - snapshot.now_at).total_seconds(), 0.0)
    left_s = one.mover.work_s - speed * ahead_s
    return PendingJob(
        id=f"{attempt.attempt_id} goes on",
        spec=spec,
        submitted_at=attempt.submitted_at or attempt.started_at,
        not_before_at=one.at,
        done_s=max(spec.expected_duration_s - left_s, 0.0),
    )


def _decided(snapshot: Snapshot, what_if: WhatIf, due: Sequence[Due]) -> tuple[Interruption, ...]:
    model = what_if.model
    problem, stops = model.problem, stops_of(model)
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    room, made = room_for_runs(problem, sums, stops), list[Interruption]()
    for m, one in enumerate(due):
        stay, attempt = what_if.stays[m], one.mover.attempt
        if stay is None:
            continue
        k = what_if.rest_class(m)
        pair = model.candidates.row_of(k, int(model.candidates.pairs.pool[stay.pair]))
        if len(problem.stage_from) and problem.stage_from[pair] < problem.stage_from[pair + 1]:
            continue
        what_if.residual.place(stay, -1)
        lay_out(problem, sums, what_if.residual.left, pair, True, room)
        rest = one.mover.rest_s / snapshot.slot_s
        rest -= max((one.at - snapshot.now_at).total_seconds(), 0.0) / snapshot.slot_s
        ran = (one.at - attempt.started_at).total_seconds() / snapshot.slot_s
        found = go_or_pause(problem, stops, pair, rest, max(ran, 0.0), room)
        go_yuan, pause_yuan, resume, stop_yuan = found
        go_yuan = min(go_yuan, float(model.unplaced_yuan[k]))
        if pause_yuan < go_yuan - GAIN_LEAST_YUAN:
            saved = go_yuan - (pause_yuan - stop_yuan)
            made.append(_interruption(one, model.scene, int(resume), saved, float(stop_yuan)))
        else:
            what_if.residual.place(stay)
    return tuple(made)


def _interruption(
    one: Due, scene: Scene, resume: int, saved_yuan: float, stop_yuan: float
) -> Interruption:
    attempt = one.mover.attempt
    text = (
        f"Paused at {attempt.cluster}/{attempt.accelerator or 'cpu'} from "
        f"{scene.clock((one.at - scene.start_at).total_seconds())}, likely until "
        f"{scene.clock(resume * scene.slot_s)}, with "
        f"{(one.mover.rest_s / 3600):.1f} h to go: that saves {saved_yuan:.2f} yuan and costs "
        f"{stop_yuan:.2f} yuan"
    )
    return Interruption(
        attempt_id=attempt.attempt_id,
        job_id=attempt.job_id,
        kind=InterruptionKind.PAUSE,
        reason=Reason(ReasonCode.PAUSED, text),
        cost_yuan=stop_yuan,
        terms=(("later hours", saved_yuan),),
    )
