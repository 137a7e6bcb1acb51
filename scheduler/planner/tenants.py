"""What tenants hold: of their quotas over time, and of the fleet against their fair shares."""

from collections import defaultdict

import numpy as np

from policies.scene import Floats, Quota
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import JobSpec
from scheduler.planner.pools import last_slot
from scheduler.planner.reach import Reach
from scheduler.planner.snapshot import Snapshot


def quotas_of(snapshot: Snapshot, axis: int) -> tuple[Quota, ...]:
    """The quotas in force, and what running attempts hold of them in each slot they touch."""
    rules = snapshot.rules.tenants.items()
    held: dict[str, Floats] = {
        name: np.zeros(axis) for name, rule in rules if rule.quota_gpus is not None
    }
    for attempt in snapshot.running if held else ():
        if (row := held.get(attempt.spec.tenant)) is not None:
            row[: last_slot(attempt, snapshot.slot_s, snapshot.start_at)] += attempt.spec.gpus
    return tuple(
        Quota(name, rule.quota_gpus, held[name])
        for name, rule in rules
        if rule.quota_gpus is not None
    )


def above_share(snapshot: Snapshot) -> frozenset[int]:
    """The pending jobs, as indices, before which their tenant has its fair share already.

    Weighted dominant resource fairness (Ghodsi et al., NSDI 2011): a tenant's share is the larger
    of its parts of all accelerators and of all cores, what runs and what waits before the job
    (higher priority, then older) counted; its fair share is its weight's part of the weights of all
    tenants that have anything running or waiting. What could not start within the horizon anyway
    does not count as waiting. Unless tenants are declared, and jobs of two of them wait, nobody is
    above.
    """
    rules, jobs = snapshot.rules.tenants, snapshot.jobs
    waiting: dict[str, list[int]] = defaultdict(list)
    for i, job in enumerate(jobs) if rules else ():
        waiting[job.spec.tenant].append(i)
    if len(waiting) < 2:
        return frozenset()
    reach = Reach(snapshot)
    waiting = {t: mine for t, mine in waiting.items() if any(reach.holds(jobs[i]) for i in mine)}
    if len(waiting) < 2:
        return frozenset()
    ready = [node for node in snapshot.nodes if node.lifecycle is NodeLifecycle.READY]
    fleet = (sum(node.gpus for node in ready), sum(node.cpus for node in ready))
    has: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for attempt in snapshot.running:
        has[attempt.spec.tenant] = _plus(has[attempt.spec.tenant], attempt.spec)
    weights = {t: rules[t].weight if t in rules else 1.0 for t in {*waiting, *has}}
    total = sum(weights.values())
    above = set[int]()
    for tenant, mine in waiting.items():
        held, fair = has[tenant], weights[tenant] / total
        mine.sort(key=lambda i: (-jobs[i].spec.priority, jobs[i].submitted_at, jobs[i].id))
        for i in mine:
            parts = [h / f for h, f in zip(held, fleet, strict=True) if f > 0]
            if max(parts, default=0.0) >= fair:
                above.add(i)
            elif reach.holds(jobs[i]):
                held = _plus(held, jobs[i].spec)
    return frozenset(above)


def _plus(held: tuple[float, float], spec: JobSpec) -> tuple[float, float]:
    """Accelerators and cores, with those of one more gang."""
    return held[0] + spec.gpus, held[1] + spec.workers * spec.per_worker.cpus
