"""What holds nodes already: half of them are busy, 30 % of the busy ones only in part.

The rest of a run is exponential with a mean of 8 h, and so is what lies behind it. Wholly busy
nodes of a pool are taken by gangs of 1, 2, 4 or 8 nodes; a node that is partly busy runs one worker
of 1 to 7 accelerators. Workers have 8 cores and 64 GB per accelerator.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np

from bench.instances.fleet import NODE_GPUS, REGIONS, Fleet
from scheduler.domain.fleet import Node
from scheduler.domain.job import AcceleratorOption, Command, JobSpec, WorkerShape
from scheduler.planner.snapshot import RunningAttempt

BUSY_SHARE, PARTLY_SHARE = 0.5, 0.3
REMAINING_MEAN_H = 8.0
# The sizes of gangs of whole nodes are equally likely.
GANG_NODES = (1, 2, 4, 8)
COMMAND = Command(("true",))
NO_ENV: dict[str, str] = {}
SHAPES = {g: WorkerShape(g, 8.0 * g, 64.0 * g) for g in range(1, NODE_GPUS + 1)}


def draw_running(
    rng: np.random.Generator, fleet: Fleet, now_at: datetime
) -> tuple[RunningAttempt, ...]:
    """Draws the attempts of every pool."""
    made: list[RunningAttempt] = []
    for pool in fleet.pools:
        for nodes, gpus in _gangs(rng, pool):
            made.append(_attempt(rng, f"run-{len(made):06d}", nodes, gpus, now_at))
    return tuple(made)


def _gangs(
    rng: np.random.Generator, pool: Sequence[Node]
) -> Iterator[tuple[tuple[Node, ...], int]]:
    """The nodes of each gang, and how many accelerators it holds on each of them."""
    busy = rng.permutation(len(pool))[: round(BUSY_SHARE * len(pool))]
    whole = busy[rng.random(len(busy)) >= PARTLY_SHARE]
    for n in sorted(set(busy.tolist()) - set(whole.tolist())):
        yield (pool[n],), int(rng.integers(1, NODE_GPUS))
    at = 0
    while at < len(whole):
        take = whole[at : at + GANG_NODES[rng.integers(len(GANG_NODES))]]
        yield tuple(pool[n] for n in take.tolist()), NODE_GPUS
        at += len(take)


def _attempt(
    rng: np.random.Generator, name: str, nodes: tuple[Node, ...], gpus: int, now_at: datetime
) -> RunningAttempt:
    before_s, left_s = np.ceil(rng.exponential(REMAINING_MEAN_H * 60, 2)) * 60
    spec = JobSpec(
        name="running",
        tenant="running",
        region=REGIONS[0],
        work=COMMAND,
        env=NO_ENV,
        expected_duration_s=float(before_s + left_s),
        workers=len(nodes),
        per_worker=SHAPES[gpus],
        accelerators=(AcceleratorOption(nodes[0].accelerator),),
    )
    return RunningAttempt(
        attempt_id=f"{name}-1",
        job_id=name,
        spec=spec,
        cluster=nodes[0].cluster,
        accelerator=nodes[0].accelerator,
        nodes=tuple(node.id for node in nodes),
        started_at=now_at - timedelta(seconds=float(before_s)),
        expected_end_at=now_at + timedelta(seconds=float(left_s)),
    )


def free_gpu_hours(
    fleet: Fleet, running: Sequence[RunningAttempt], now_at: datetime, horizon_s: float
) -> float:
    """Accelerator-hours of the horizon that the attempts leave."""
    free = sum(node.gpus for node in fleet.nodes) * horizon_s / 3600
    for attempt in running:
        left_s = min((attempt.expected_end_at - now_at).total_seconds(), horizon_s)
        free -= attempt.spec.gpus * left_s / 3600
    return free
