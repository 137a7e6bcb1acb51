"""Jobs and what they ask for as columns, kept from round to round: of a hundred thousand jobs few
are new in one."""

from collections.abc import Hashable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from policies.classes import Key
from policies.scene import Ints
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.domain.remaining import left_s, ran_s
from scheduler.planner.snapshot import PendingJob

# Rows that no job of a round has are dropped when there are so many more than jobs.
SPARE = 1000
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NEVER = np.iinfo(np.int64).max

JOB = np.dtype(
    [
        ("spec", "i8"),
        ("submitted_us", "i8"),
        ("earliest_us", "i8"),
        ("ready_us", "i8"),
        ("deadline_us", "i8"),
        ("done_s", "f8"),
        ("left_s", "f8"),
        ("resume_s", "f8"),
        ("allowed_s", "f8"),
        ("ran_s", "f8"),
    ]
)
SPEC = np.dtype(
    [
        ("identity", "i8"),
        ("tenant", "i8"),
        ("profile", "i8"),
        ("workers", "i8"),
        ("gpus", "i8"),
        ("cpus", "f8"),
        ("memory_gb", "f8"),
        ("priority", "i8"),
        ("green_share", "f8"),
        ("green_by_run", "?"),
    ]
)
Records = np.ndarray[Any, np.dtype[np.void]]


def microseconds(at: datetime) -> int:
    """Since 2020, exactly."""
    return (at - EPOCH) // MICROSECOND


class JobTable:
    """Rows of jobs and of specs. What is in it from earlier rounds saves work and changes nothing:
    its numbers tell equal from other, and no more."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._row_of: dict[int, int] = {}
        # Held, so that no other object gets their identity.
        self._jobs: list[PendingJob] = []
        self.jobs: Records = np.zeros(0, dtype=JOB)
        self._spec_of: dict[int, int] = {}
        self._held: list[JobSpec] = []
        self.specs: Records = np.zeros(0, dtype=SPEC)
        self._parts = Parts()
        self._identities: dict[Hashable, int] = {}
        self._tenants: dict[str, int] = {}
        self._profiles: dict[Hashable, int] = {}
        self._numbers: WeakKeyDictionary[Key, _Numbers] = WeakKeyDictionary()

    def rows(self, jobs: Sequence[PendingJob]) -> Ints:
        """The rows of some jobs, all that there are."""
        if len(self._jobs) > 2 * len(jobs) + SPARE:
            self._clear()
        known = self._row_of
        rows = [known.get(id(job), -1) for job in jobs]
        new = [job for job, row in zip(jobs, rows, strict=True) if row < 0]
        if new:
            self._take(new)
            rows = [known[id(job)] for job in jobs]
        return np.array(rows, dtype=np.int64)

    def tenant(self, name: str) -> int:
        """The number of a tenant, -1 for one that no spec names."""
        return self._tenants.get(name, -1)

    def numbers(self, specs: Ints, key: Key) -> tuple[Ints, Sequence[JobSpec]]:
        """The numbers of some specs among those of equal key, and a spec of each number."""
        if (known := self._numbers.get(key)) is None:
            known = self._numbers[key] = _Numbers()
        known.follow(self._held, key)
        return known.of[specs], known.like

    def _take(self, new: Sequence[PendingJob]) -> None:
        specs = [self._spec(job.spec) for job in new]
        self._follow_specs()
        at = len(self._jobs)
        self._row_of.update((id(job), at + n) for n, job in enumerate(new))
        self._jobs += new
        made = [_job_row(job, spec) for job, spec in zip(new, specs, strict=True)]
        self.jobs = np.concatenate([self.jobs, np.array(made, dtype=JOB)])

    def _spec(self, spec: JobSpec) -> int:
        if (row := self._spec_of.get(id(spec))) is None:
            row = self._spec_of[id(spec)] = len(self._held)
            self._held.append(spec)
        return row

    def _follow_specs(self) -> None:
        new = self._held[len(self.specs) :]
        if new:
            made = np.array([self._spec_row(spec) for spec in new], dtype=SPEC)
            self.specs = np.concatenate([self.specs, made])

    def _spec_row(self, spec: JobSpec) -> tuple[object, ...]:
        shape, identity = spec.per_worker, _identity(spec, self._parts)
        share = spec.min_green_share or 0.0
        accepted = spec.accelerators if shape.gpus else ()
        return (
            self._identities.setdefault(identity, len(self._identities)),
            self._tenants.setdefault(spec.tenant, len(self._tenants)),
            self._profiles.setdefault(accepted, len(self._profiles)),
            spec.workers,
            shape.gpus,
            shape.cpus,
            shape.memory_gb,
            spec.priority,
            share,
            bool(share) and spec.green_matching is GreenMatching.RUN,
        )


class _Numbers:
    """Specs numbered by a key, as far as they were there."""

    def __init__(self) -> None:
        self.of: Ints = np.zeros(0, dtype=np.int64)
        self.like: list[JobSpec] = []
        self._known: dict[Hashable, int] = {}

    def follow(self, specs: Sequence[JobSpec], key: Key) -> None:
        new = list[int]()
        for spec in specs[len(self.of) :]:
            here = key(spec)
            if (number := self._known.get(here)) is None:
                number = self._known[here] = len(self.like)
                self.like.append(spec)
            new.append(number)
        if new:
            self.of = np.concatenate([self.of, np.array(new, dtype=np.int64)])


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


def _identity(spec: JobSpec, parts: Parts) -> tuple[Hashable, ...]:
    """What the rules look at in a spec, its times and its tenant aside."""
    return (
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


def _job_row(job: PendingJob, spec_row: int) -> tuple[float, ...]:
    spec, done_s = job.spec, job.done_s
    submitted = earliest = microseconds(job.submitted_at)
    if spec.earliest_start_at is not None:
        earliest = max(earliest, microseconds(spec.earliest_start_at))
    ready = earliest
    if job.not_before_at is not None:
        ready = max(ready, microseconds(job.not_before_at))
    deadline = NEVER if spec.deadline_at is None else microseconds(spec.deadline_at)
    # While it ran it did not wait; but for its restart.
    ran = max(ran_s(spec, done_s) - spec.restart_s, 0.0) if done_s > 0 else 0.0
    resume_s = spec.restart_s if done_s > 0 else 0.0
    left = left_s(spec, done_s)
    times = (submitted, earliest, ready, deadline)
    return (spec_row, *times, done_s, left, resume_s, spec.max_delay_s, ran)
