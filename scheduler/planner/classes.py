"""Jobs by class: those that no rule can tell apart are planned as one."""

import math
from collections.abc import Sequence

import numpy as np

from policies.classes import Classes, Kept
from policies.scene import Columns, Floats, Ints, Pool
from policies.weights import Weights, urgency
from scheduler.domain.job import JobSpec
from scheduler.planner.kernels.distinct import distinct
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.table import NEVER, JobTable, Records, microseconds
from scheduler.planner.tenants import above_share


def classes_of(snapshot: Snapshot, table: JobTable, rows: Ints) -> Classes:
    """The classes in the order of their oldest jobs.

    Args:
        rows: of the snapshot's jobs in the table.
    """
    jobs, n = table.jobs[rows], len(rows)
    ready_s, overdue_s, deadline_s = _times(snapshot, jobs)
    ruled = [name for name, rule in snapshot.rules.tenants.items() if rule.tells_jobs_apart]
    tenant = table.specs["tenant"][jobs["spec"]]
    tenant = np.where(np.isin(tenant, [table.tenant(name) for name in ruled]), tenant, -1)
    above = np.zeros(n, dtype=bool)
    above[list(above_share(snapshot))] = True
    kept = _kept(snapshot)
    identity = table.specs["identity"][jobs["spec"]]
    times = [ready_s, overdue_s, deadline_s, jobs["done_s"]]
    parts = [*times, identity, tenant, above, kept.pool, kept.slot]
    order = _oldest_first(snapshot, jobs)
    number, first = distinct(np.stack(parts, axis=1, dtype=float)[order])
    members, one = order[np.argsort(number, kind="stable")], order[first]
    spec_rows = jobs["spec"][one]
    return Classes(
        specs=[snapshot.jobs[i].spec for i in one.tolist()],
        members=members,
        jobs_from=np.concatenate(([0], np.cumsum(np.bincount(number, minlength=len(one))))),
        ready_s=ready_s[one],
        overdue_s=overdue_s[one],
        deadline_s=deadline_s[one],
        done_s=jobs["done_s"][one],
        kept=Kept(pools=kept.pools, pool=kept.pool[one], slot=kept.slot[one]),
        above_share=above[one],
        numbering=lambda key: table.numbers(spec_rows, key),
    )


def _oldest_first(snapshot: Snapshot, jobs: Records) -> Ints:
    ids = [job.id for job in snapshot.jobs]
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return by_id[np.argsort(jobs["submitted_us"][by_id], kind="stable")]


def _kept(snapshot: Snapshot) -> Kept:
    """Where and in which slot the round before meant to start each job, (N,)."""
    pools: dict[tuple[str, str], int] = {}
    slots: dict[object, int] = {}
    pool, slot = list[int](), list[int]()
    start_at, slot_s, previous = snapshot.start_at, snapshot.slot_s, snapshot.previous
    for job in snapshot.jobs:
        planned = previous.get(job.id)
        if planned is None:
            pool.append(-1)
            slot.append(0)
            continue
        at = planned.start_at
        if (known := slots.get(at)) is None:
            known = slots[at] = max(int((at - start_at).total_seconds() // slot_s), 0)
        pool.append(pools.setdefault((planned.cluster, planned.accelerator), len(pools)))
        slot.append(known)
    return Kept(
        pools=tuple(pools),
        pool=np.array(pool, dtype=np.int64),
        slot=np.array(slot, dtype=np.int64),
    )


def _times(snapshot: Snapshot, jobs: Records) -> tuple[Floats, Floats, Floats]:
    """When each is ready, overdue, and too late, in seconds since slot 0."""
    start_us, slot_s = microseconds(snapshot.start_at), snapshot.slot_s
    now_s = (snapshot.now_at - snapshot.start_at).total_seconds()
    ready_s = np.maximum((jobs["ready_us"] - start_us) / 1e6, now_s)
    overdue_s = (jobs["earliest_us"] - start_us) / 1e6 + jobs["allowed_s"]
    overdue_s = overdue_s // slot_s * slot_s + jobs["ran_s"]
    none = jobs["deadline_us"] == NEVER
    deadline_us = np.where(none, start_us, jobs["deadline_us"])
    deadline_s = np.where(none, np.inf, (deadline_us - start_us) / 1e6)
    return ready_s, np.maximum(ready_s, overdue_s), deadline_s


def columns_of(
    classes: Classes, table: JobTable, rows: Ints, pools: Sequence[Pool], weights: Weights
) -> tuple[Columns, Floats]:
    """The classes as columns, and the relative speeds (profiles, P).

    Args:
        rows: of the snapshot's jobs in the table.
    """
    jobs = table.jobs[rows[classes.members[classes.jobs_from[:-1]]]]
    specs = table.specs[jobs["spec"]]
    speeds, like = distinct(specs["profile"][:, None].astype(float))
    accelerators = [pool.accelerator for pool in pools]
    profiles = [[_speed(classes.specs[k], model) for model in accelerators] for k in like.tolist()]
    workers, gpus, cpus = (specs[name].copy() for name in ("workers", "gpus", "cpus"))
    gang, like = distinct(np.stack([workers, gpus, cpus, specs["memory_gb"]], axis=1))
    steps, step = np.unique(specs["priority"], return_inverse=True)
    columns = Columns(
        workers=workers,
        gpus=gpus,
        cpus=cpus,
        memory_gb=specs["memory_gb"].copy(),
        size=np.asarray(workers * np.where(gpus > 0, gpus, cpus / weights.cpus_per_gpu), float),
        priority=specs["priority"].copy(),
        urgency=np.array([urgency(int(p)) for p in steps], dtype=float)[step],
        green_share=specs["green_share"].copy(),
        green_by_run=specs["green_by_run"].copy(),
        ready_s=classes.ready_s,
        overdue_s=classes.overdue_s,
        deadline_s=classes.deadline_s,
        left_s=jobs["left_s"].copy(),
        resume_s=jobs["resume_s"].copy(),
        speeds=speeds,
        gang=gang,
        like=like,
    )
    return columns, np.array(profiles, dtype=float).reshape(len(profiles), len(pools))


def _speed(spec: JobSpec, accelerator: str) -> float:
    speed = spec.speed_on(accelerator)
    return math.nan if speed is None or not speed > 0 else speed
