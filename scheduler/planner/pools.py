"""Nodes as pools, and what running attempts leave of them over time."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from policies.scene import OVERLAP_S, Floats, Pool, PoolClaim, shapes
from scheduler.domain.fleet import Node, NodeLifecycle, Site
from scheduler.domain.job import JobSpec
from scheduler.planner.snapshot import RunningAttempt, Snapshot


def pools_of(snapshot: Snapshot, sites: Sequence[Site]) -> tuple[Pool, ...]:
    """The pools of known sites, in the order of their first nodes."""
    site_index = {site.cluster: c for c, site in enumerate(sites)}
    members: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in snapshot.nodes:
        if node.cluster in site_index:
            members[node.cluster, node.accelerator].append(node)
    held = _held(snapshot)
    pools = []
    for (cluster, accelerator), known in members.items():
        nodes = tuple(node for node in known if node.lifecycle is NodeLifecycle.READY)
        free = _has(nodes)[:, :, None].repeat(snapshot.slots + 1, axis=2)
        for n, node in enumerate(nodes):
            for until, amounts in held.get(node.id, ()):
                free[n, :, : min(until, snapshot.slots)] -= amounts[:, None]
        over = np.maximum(-free[:, :, 0], 0.0)
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
                over=over,
                ready_shapes=shapes(_has(nodes)),
                known_shapes=shapes(_has(known)),
            )
        )
    return tuple(pools)


def need_of(spec: JobSpec) -> Floats:
    """Accelerators, cores and GB of one worker, (3,)."""
    shape = spec.per_worker
    return np.array([shape.gpus, shape.cpus, shape.memory_gb], dtype=float)


def _has(nodes: Sequence[Node]) -> Floats:
    has = [[n.gpus, n.cpus, n.memory_gb] for n in nodes]
    return np.array(has, dtype=float).reshape(len(nodes), 3)


def claims_of(snapshot: Snapshot, pools: Sequence[Pool]) -> tuple[PoolClaim, ...]:
    """The claims that still hold."""
    where = {(pool.cluster, pool.accelerator): p for p, pool in enumerate(pools)}
    return tuple(
        PoolClaim(where[claim.cluster, claim.accelerator], claim.job_id, claim.priority)
        for claim in snapshot.claims
        if (claim.cluster, claim.accelerator) in where and claim.until_at > snapshot.now_at
    )


def _held(snapshot: Snapshot) -> dict[str, list[tuple[int, Floats]]]:
    """Per node: until which slot (exclusive) each worker on it holds how much."""
    held: dict[str, list[tuple[int, Floats]]] = defaultdict(list)
    start_at = snapshot.start_at
    for attempt in snapshot.running:
        amounts = need_of(attempt.spec)
        until = last_slot(attempt, snapshot.slot_s, start_at)
        for node in attempt.nodes:
            held[node].append((until, amounts))
    return held


def last_slot(attempt: RunningAttempt, slot_s: float, start_at: datetime) -> int:
    """The slot from which on it is gone; what overruns holds slot 0 all the same."""
    end_s = (attempt.expected_end_at - start_at).total_seconds()
    return max(1, math.ceil((end_s - OVERLAP_S) / slot_s))
