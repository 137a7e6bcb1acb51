"""Why one job of a round waits: every reason that applies, and what would change it."""

from collections.abc import Iterator, Sequence

import numpy as np

from scheduler.domain.explanation import Candidate, Explanation, Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.why import Applies, Obstacles, PoolStarts, Starts
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.decision import Decision
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.relax.beside import Beside, Wishes
from scheduler.planner.relax.priority import by_priority
from scheduler.planner.relax.smallest import Found, relaxations
from scheduler.planner.snapshot import Snapshot

# Sentences of single pools that go with the dominant reason.
EVIDENCE_MOST = 5
# Not a reason to wait: these candidates are in the running.
_LOST = frozenset({ReasonCode.DEARER, ReasonCode.CHOSEN})


def obstacles(snapshot: Snapshot, decision: Decision, plan: Plan, told: Explanation) -> Obstacles:
    """What keeps a job of the round from a start, or from one now where it has a place later.

    Args:
        told: its explanation, with all candidates.
    """
    beside = _beside(snapshot, decision, plan.placements, told.job_id)
    sooner = told.outcome is Outcome.PLANNED
    making_room = any(one.for_job == told.job_id for one in plan.interruptions)
    making_room = making_room or any(one.job_id == told.job_id for one in snapshot.claims)
    last_slot = 0 if sooner else None
    tried = relaxations(beside, last_slot)
    found = list(tried.found)
    if not tried.fits and not making_room:
        raised = by_priority(beside, decision, plan.placements, told)
        found += [raised] if raised is not None else []
    own = told.reason.code
    ruled = [c for c in told.candidates if c.reason.code is own]
    return Obstacles(
        reason=told.reason,
        evidence=tuple(_evidence(c) for c in ruled[:EVIDENCE_MOST]),
        others=_others(tried.asked, told, last_slot),
        relaxations=tuple(one.relaxation for one in sorted(found, key=_size)),
        pools=len(told.candidates),
        sooner=sooner,
        fits=tried.fits,
        making_room=making_room,
        decided_at=told.decided_at,
        until_at=snapshot.slot_at(snapshot.slots),
    )


def starts(snapshot: Snapshot, decision: Decision, plan: Plan, told: Explanation) -> Starts:
    """What every start would cost a job of the round beside the others.

    Args:
        told: its explanation, with all candidates.
    """
    beside = _beside(snapshot, decision, plan.placements, told.job_id)
    wishes = beside.wishes([beside.job.spec])
    scene, pairs, yuan = wishes.model.scene, wishes.model.candidates.pairs, wishes.starts(0)
    row_of = {int(pool): row for row, pool in enumerate(pairs.pool)}
    pool_of = {(p.cluster, p.accelerator): n for n, p in enumerate(scene.pools)}
    made = []
    for candidate in told.candidates:
        row = row_of.get(pool_of[candidate.cluster, candidate.accelerator])
        costs = np.full(scene.slots, np.inf) if row is None else yuan[row]
        chosen = None
        if candidate.chosen and candidate.start_at is not None:
            since_s = (candidate.start_at - scene.start_at).total_seconds()
            chosen = int(since_s // scene.slot_s)
        made.append(
            PoolStarts(
                cluster=candidate.cluster,
                accelerator=candidate.accelerator,
                yuan=tuple(c if np.isfinite(c) else None for c in costs.tolist()),
                chosen=chosen,
                reason=None if candidate.feasible else candidate.reason,
            )
        )
    return Starts(scene.start_at, scene.slot_s, tuple(made))


def _beside(
    snapshot: Snapshot, decision: Decision, placements: Sequence[Placement], job_id: str
) -> Beside:
    index = next(i for i, job in enumerate(snapshot.jobs) if job.id == job_id)
    return Beside(snapshot, decision, placements, index)


def _size(found: Found) -> float:
    return found.relaxation.size


def _evidence(candidate: Candidate) -> Reason:
    where = f"{candidate.cluster}/{candidate.accelerator or 'cpu'}"
    return Reason(candidate.reason.code, f"{where}: {candidate.reason.message}")


def _others(wishes: Wishes, told: Explanation, last_slot: int | None) -> tuple[Applies, ...]:
    """Every reason but the dominant, with the pools in which it alone leaves no start, or in which
    it was what the plan met first."""
    pools = {(p.cluster, p.accelerator): n for n, p in enumerate(wishes.model.scene.pools)}
    found: dict[ReasonCode, dict[int, str]] = {}
    for candidate in told.candidates:
        if candidate.reason.code not in _LOST:
            pool = pools[candidate.cluster, candidate.accelerator]
            message = _evidence(candidate).message
            found.setdefault(candidate.reason.code, {})[pool] = message
    for pool, reason in _alone(wishes, last_slot):
        found.setdefault(reason.code, {}).setdefault(pool, reason.message)
    found.pop(told.reason.code, None)
    return tuple(
        Applies(Reason(code, next(iter(found[code].values()))), len(found[code]))
        for code in sorted(found, key=lambda code: PRECEDENCE[code])
    )


def _alone(wishes: Wishes, last_slot: int | None) -> Iterator[tuple[int, Reason]]:
    """Pools, and each rule that leaves no start there whatever the others say."""
    scene, candidates, klass = wishes.model.scene, wishes.model.candidates, wishes.klass(0)
    too_big = set[int]()
    for judge in candidates.pair_filters:
        ruled = set(np.flatnonzero(~judge.allows(scene)[klass]).tolist())
        if judge.code is ReasonCode.TOO_BIG:
            too_big = ruled
        if judge.code is ReasonCode.CLUSTER_UNREACHABLE:
            ruled -= too_big  # what all nodes cannot hold, those that are ready cannot either
        for pool in sorted(ruled):
            text = f"{scene.pools[pool].name}: {judge.why(scene, klass, pool)}"
            yield pool, Reason(judge.code, text)
    block = wishes.block(klass)
    for one in block.judges:
        allows = one.allows[:, : None if last_slot is None else last_slot + 1]
        for row in np.flatnonzero(~allows.any(axis=1)).tolist():
            pool = int(block.pools[row])
            yield pool, Reason(one.code, f"{scene.pools[pool].name}: {one.why(row, 0)}")
