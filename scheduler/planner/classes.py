"""Jobs by class: those that no rule can tell apart are planned as one."""

import math
from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np

from policies.scene import Columns, Floats, JobClass, Pool
from policies.weights import Weights, urgency
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.domain.remaining import left_s, ran_s
from scheduler.planner.kernels.distinct import distinct
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.planner.tenants import above_share


def classes_of(snapshot: Snapshot) -> tuple[JobClass, ...]:
    """The classes in the order of their oldest jobs."""
    start_at, members = snapshot.start_at, dict[object, list[int]]()
    identities, parts = dict[int, object](), Parts()
    now_s = (snapshot.now_at - start_at).total_seconds()
    jobs, above = snapshot.jobs, above_share(snapshot)
    ruled = {name for name, rule in snapshot.rules.tenants.items() if rule.tells_jobs_apart}
    times: dict[object, tuple[float, float, float]] = {}
    for i in sorted(range(len(jobs)), key=lambda i: (jobs[i].submitted_at, jobs[i].id)):
        job = jobs[i]
        if (identity := identities.get(id(job.spec))) is None:
            identity = identities[id(job.spec)] = _identity(job.spec, ruled, parts)
        when = _times(job, snapshot.slot_s, start_at, now_s)
        key = (when, job.done_s, identity, i in above, _kept(job, snapshot))
        if (known := members.get(key)) is None:
            members[key], times[key] = [i], when
        else:
            known.append(i)
    return tuple(
        JobClass(
            spec=jobs[alike[0]].spec,
            jobs=tuple(alike),
            ready_s=times[key][0],
            overdue_s=times[key][1],
            deadline_s=times[key][2],
            done_s=jobs[alike[0]].done_s,
            kept=_kept(jobs[alike[0]], snapshot),
            above_share=alike[0] in above,
        )
        for key, alike in members.items()
    )


def _kept(job: PendingJob, snapshot: Snapshot) -> tuple[str, str, int] | None:
    """Where and in which slot the round before meant to start it."""
    planned = snapshot.previous.get(job.id)
    if planned is None:
        return None
    slot = int((planned.start_at - snapshot.start_at).total_seconds() // snapshot.slot_s)
    return planned.cluster, planned.accelerator, max(slot, 0)


def _times(
    job: PendingJob, slot_s: float, start_at: datetime, now_s: float
) -> tuple[float, float, float]:
    """When it is ready, overdue, and too late, in seconds since slot 0."""
    spec = job.spec
    earliest_s = (job.submitted_at - start_at).total_seconds()
    if spec.earliest_start_at is not None:
        earliest_s = max(earliest_s, (spec.earliest_start_at - start_at).total_seconds())
    ready_s = max(now_s, earliest_s)
    if job.not_before_at is not None:
        ready_s = max(ready_s, (job.not_before_at - start_at).total_seconds())
    overdue_s = (earliest_s + spec.max_delay_s) // slot_s * slot_s
    if job.done_s > 0:
        # While it ran it did not wait; but for its restart.
        overdue_s += max(ran_s(spec, job.done_s) - spec.restart_s, 0.0)
    deadline_s = math.inf
    if spec.deadline_at is not None:
        deadline_s = (spec.deadline_at - start_at).total_seconds()
    return ready_s, max(ready_s, overdue_s), deadline_s


class Parts:
    """Numbers for the parts of specs: the same for equal ones. Equal parts are the same object more
    often than not, and an object's identity is cheaper than the hash of what it holds."""

    def __init__(self) -> None:
        self._by_id: dict[int, int] = {}
        self._by_value: dict[object, int] = {}

    def number(self, part: object) -> int:
        """The part must live as long as this."""
        if (number := self._by_id.get(id(part))) is None:
            number = self._by_value.setdefault(part, len(self._by_value))
            self._by_id[id(part)] = number
        return number


def _identity(spec: JobSpec, ruled: Collection[str], parts: Parts) -> tuple[object, ...]:
    """What the rules look at in a spec, its times aside; its tenant where it has rules."""
    return (
        spec.tenant if spec.tenant in ruled else None,
        spec.region,
        spec.expected_duration_s,
        spec.restart_s,
        spec.workers,
        parts.number(spec.per_worker),
        parts.number(spec.accelerators),
        spec.max_rtt_ms,
        spec.min_green_share,
        spec.green_matching,
        spec.data,
        spec.must_be_in,
        spec.must_not_be_in,
        spec.priority,
        (spec.stop_grace_s, spec.checkpoint_interval_s) if spec.interruptible else None,
    )


def columns_of(
    classes: Sequence[JobClass], pools: Sequence[Pool], weights: Weights
) -> tuple[Columns, Floats]:
    """The classes as columns, and the relative speeds (profiles, P)."""
    specs = [klass.spec for klass in classes]
    profiles: dict[object, int] = {}
    rows, speeds = list[list[float]](), list[int]()
    for spec in specs:
        accepted = spec.accelerators if spec.per_worker.gpus else ()
        if (row := profiles.get(accepted)) is None:
            row = profiles[accepted] = len(rows)
            rows.append([_speed(spec, pool.accelerator) for pool in pools])
        speeds.append(row)
    gpus = np.array([spec.per_worker.gpus for spec in specs], dtype=np.int64)
    workers = np.array([spec.workers for spec in specs], dtype=np.int64)
    cpus = np.array([spec.per_worker.cpus for spec in specs], dtype=float)
    memory_gb = np.array([spec.per_worker.memory_gb for spec in specs], dtype=float)
    gang, like = distinct(np.stack([workers, gpus, cpus, memory_gb], axis=1))
    columns = Columns(
        workers=workers,
        gpus=gpus,
        cpus=cpus,
        memory_gb=memory_gb,
        size=np.asarray(workers * np.where(gpus > 0, gpus, cpus / weights.cpus_per_gpu), float),
        priority=np.array([spec.priority for spec in specs], dtype=np.int64),
        urgency=np.array([urgency(spec.priority) for spec in specs], dtype=float),
        green_share=np.array([spec.min_green_share or 0.0 for spec in specs], dtype=float),
        green_by_run=np.array(
            [bool(s.min_green_share) and s.green_matching is GreenMatching.RUN for s in specs],
            dtype=bool,
        ),
        ready_s=np.array([klass.ready_s for klass in classes], dtype=float),
        overdue_s=np.array([klass.overdue_s for klass in classes], dtype=float),
        deadline_s=np.array([klass.deadline_s for klass in classes], dtype=float),
        left_s=np.array([left_s(k.spec, k.done_s) for k in classes], dtype=float),
        resume_s=np.array([k.spec.restart_s if k.done_s > 0 else 0.0 for k in classes]),
        speeds=np.array(speeds, dtype=np.int64),
        gang=gang,
        like=like,
    )
    return columns, np.array(rows, dtype=float).reshape(len(rows), len(pools))


def _speed(spec: JobSpec, accelerator: str) -> float:
    speed = spec.speed_on(accelerator)
    return math.nan if speed is None or not speed > 0 else speed
