"""What is asked for.

- 70 % of the jobs want 1 accelerator, 15 % 2 or 4, 10 % 8, 5 % 16 to 512, halving in frequency;
  gangs have workers of up to 8. 8 cores and 64 GB per accelerator, lognormal (σ 0.3).
- Durations are lognormal (median 1 h, σ 1.4; twice that above 8 accelerators) from 3 minutes to
  36 h, then scaled to the load, and rounded as people do.
- One of eight profiles of relative speed on the three models; some cannot run on some.
- The start may wait 2 h (10 %), 8 h (45 %) or the horizon (45 %) at 0.3, 0.03 and 0.004 yuan per
  accelerator-hour. In the first two cases it must have ended by then plus its longest run.
- The round trip may take 28 ms (15 %), 42 ms (35 %) or any time. A green share of .35, .5 or .6 is
  asked for by a tenth each.
- Data lie in the job's region: lognormal (median e GB, σ 1.8), 2 TB at most, two digits.
- 20 tenants, Zipf 0.7, may hold 1.8 times their share; energy that is not green costs half of them
  nothing, 30 % 0.05 and 20 % 0.2 yuan/kWh more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.instances.fleet import MODELS_KW, NODE_CPUS, NODE_GPUS, NODE_MEMORY_GB, REGIONS
from bench.instances.running import COMMAND, NO_ENV
from scheduler.domain.job import AcceleratorOption, DataInput, JobSpec, WorkerShape
from scheduler.planner.snapshot import PendingJob

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GANGS_FROM_GPUS, GANGS_TO_GPUS = 16, 512
SHORTEST_S, LONGEST_S = 180.0, 36 * 3600.0
# Arrivals fill this share of the horizon: 36 of 48 h.
ARRIVALS_SHARE = 0.75
# Durations below so many seconds are told in steps of so many.
ROUNDING_S = ((1800.0, 60.0), (2 * 3600.0, 300.0), (8 * 3600.0, 900.0), (np.inf, 3600.0))
# Relative speed on each of the models; 0 where the job does not run.
PROFILES = (
    (1.0, 1.3, 0.8),
    (1.0, 1.6, 0.7),
    (1.0, 0.9, 1.1),
    (1.0, 1.2, 0.0),
    (1.0, 0.0, 0.9),
    (0.0, 1.0, 0.6),
    (1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0),
)
RTT_MS = (28.0, 42.0, None)
GREEN_SHARES = (None, 0.35, 0.5, 0.6)
TENANTS, ZIPF, QUOTA = 20, 0.7, 1.8


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMix:
    """What the jobs of an instance have in common.

    ``pending_share`` of them are there at once; ``asked_gpu_hours`` is their work at the mean
    speed over the models that each accepts.
    """

    jobs: int
    now_at: datetime
    horizon_s: float
    slot_s: float
    pending_share: float
    gang_most_gpus: int
    asked_gpu_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Who submits. ``share`` of the jobs are theirs, ``quota_share`` of all accelerators the most
    they may hold; non-green energy costs so much on top."""

    name: str
    share: float
    quota_share: float
    nongreen_yuan_per_kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingClass:
    """How long a job's start may wait and what that costs."""

    max_delay_s: float
    waiting_yuan_per_gpu_hour: float
    hard: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """The jobs in the order of their submission."""

    jobs: tuple[PendingJob, ...]
    tenants: tuple[Tenant, ...]
    waiting_classes: tuple[WaitingClass, ...]


class _Ask(NamedTuple):
    """One job: figures, or indices into the tables of what can be chosen."""

    gpus: int
    duration_s: float
    profile: int
    waiting: int
    rtt: int
    green: int
    tenant: int
    region: int
    data_gb: float
    gpu_cpus: float
    gpu_memory_gb: float
    arrival_slot: int  # -1: there already


def draw_jobs(rng: np.random.Generator, mix: JobMix) -> Drawn:
    """Draws the jobs; those with equal specs share one."""
    tenants = _tenants(rng)
    waiting = (
        WaitingClass(max_delay_s=2 * 3600.0, waiting_yuan_per_gpu_hour=0.3, hard=True),
        WaitingClass(max_delay_s=8 * 3600.0, waiting_yuan_per_gpu_hour=0.03, hard=True),
        WaitingClass(max_delay_s=mix.horizon_s, waiting_yuan_per_gpu_hour=0.004, hard=False),
    )
    asks = _asks(rng, mix, np.array([tenant.share for tenant in tenants]))
    specs = _Specs(mix, tenants, waiting)
    jobs = tuple(
        PendingJob(id=f"job-{i:06d}", spec=specs.of(ask), submitted_at=mix.now_at)
        for i, ask in enumerate(asks)
    )
    return Drawn(jobs, tenants, waiting)


def _tenants(rng: np.random.Generator) -> tuple[Tenant, ...]:
    weights = np.arange(1, TENANTS + 1) ** -ZIPF
    shares = weights / weights.sum()
    counts = (TENANTS // 2, 3 * TENANTS // 10, TENANTS - TENANTS // 2 - 3 * TENANTS // 10)
    surcharges = rng.permutation(np.repeat([0.0, 0.05, 0.2], counts))
    return tuple(
        Tenant(
            name=f"tenant{t:02d}",
            share=float(shares[t]),
            quota_share=QUOTA * float(shares[t]),
            nongreen_yuan_per_kwh=float(surcharges[t]),
        )
        for t in range(TENANTS)
    )


def _asks(rng: np.random.Generator, mix: JobMix, tenant_shares: Floats) -> Iterator[_Ask]:
    n = mix.jobs
    gpus = _gpus(rng, mix)
    profile = rng.integers(len(PROFILES), size=n)
    median_s = np.where(gpus > NODE_GPUS, 2.0, 1.0) * 3600
    duration_s = np.clip(median_s * rng.lognormal(0.0, 1.4, n), SHORTEST_S, LONGEST_S)
    duration_s *= mix.asked_gpu_hours * 3600 / (gpus * duration_s / _mean_speeds()[profile]).sum()
    arrivals = max(1, int(ARRIVALS_SHARE * mix.horizon_s / mix.slot_s))
    arrival_slot = np.sort(rng.integers(arrivals, size=n))
    pending = rng.permutation(n) < round(mix.pending_share * n)
    arrival_slot[pending] = -1
    data_gb = np.minimum(rng.lognormal(1.0, 1.8, n), 2000.0)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "gpus": gpus,
        "duration_s": _as_told(duration_s),
        "profile": profile,
        "waiting": rng.choice(3, n, p=[0.10, 0.45, 0.45]),
        "rtt": rng.choice(3, n, p=[0.15, 0.35, 0.50]),
        "green": rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1]),
        "tenant": rng.choice(len(tenant_shares), n, p=tenant_shares),
        "region": rng.integers(len(REGIONS), size=n),
        "data_gb": _two_digits(data_gb),
        "gpu_cpus": _per_gpu(rng, n, 8.0, 1.0, NODE_CPUS / NODE_GPUS),
        "gpu_memory_gb": _per_gpu(rng, n, 64.0, 8.0, NODE_MEMORY_GB / NODE_GPUS),
        "arrival_slot": arrival_slot,
    }
    return map(_Ask._make, zip(*(columns[f].tolist() for f in _Ask._fields), strict=True))


def _gpus(rng: np.random.Generator, mix: JobMix) -> Ints:
    """Accelerators of each gang, a power of two."""
    gangs = GANGS_FROM_GPUS * 2 ** np.arange(int(np.log2(GANGS_TO_GPUS // GANGS_FROM_GPUS)) + 1)
    gangs = gangs[gangs <= mix.gang_most_gpus]
    if not len(gangs):
        gangs = np.array([NODE_GPUS])
    halving = 0.5 ** np.arange(len(gangs))
    sizes = np.concatenate(([1, 2, 4, 8], gangs))
    shares = np.concatenate(([0.70, 0.075, 0.075, 0.10], 0.05 * halving / halving.sum()))
    return np.asarray(rng.choice(sizes, mix.jobs, p=shares), dtype=np.int64)


def _mean_speeds() -> Floats:
    return np.array([np.mean([s for s in profile if s > 0]) for profile in PROFILES])


def _as_told(duration_s: Floats) -> Floats:
    limits = np.array([limit for limit, _ in ROUNDING_S])
    step_s = np.array([step for _, step in ROUNDING_S])[np.searchsorted(limits, duration_s)]
    return np.asarray(np.maximum(np.round(duration_s / step_s) * step_s, SHORTEST_S))


def _two_digits(amount: Floats) -> Floats:
    unit = 10.0 ** (np.floor(np.log10(amount)) - 1)
    return np.asarray(np.round(np.round(amount / unit) * unit, 6))


def _per_gpu(rng: np.random.Generator, n: int, median: float, step: float, most: float) -> Floats:
    drawn = np.round(median * rng.lognormal(0.0, 0.3, n) / step) * step
    return np.asarray(np.clip(drawn, step, most))


class _Specs:
    """Specs of asks; what is equal is one object."""

    def __init__(
        self, mix: JobMix, tenants: tuple[Tenant, ...], waiting: tuple[WaitingClass, ...]
    ) -> None:
        self._mix, self._tenants, self._waiting = mix, tenants, waiting
        self._accelerators = tuple(
            tuple(AcceleratorOption(m, s) for m, s in zip(MODELS_KW, speeds, strict=True) if s > 0)
            for speeds in PROFILES
        )
        self._slowest = [min(s for s in speeds if s > 0) for speeds in PROFILES]
        self._known: dict[_Ask, JobSpec] = {}
        self._shapes: dict[tuple[int, float, float], WorkerShape] = {}
        self._data: dict[tuple[float, int], tuple[DataInput, ...]] = {}
        self._times: dict[float, datetime] = {}

    def of(self, ask: _Ask) -> JobSpec:
        """The spec of a job."""
        if ask not in self._known:
            self._known[ask] = self._spec(ask)
        return self._known[ask]

    def _spec(self, ask: _Ask) -> JobSpec:
        klass, width = self._waiting[ask.waiting], min(ask.gpus, NODE_GPUS)
        arrival_s = max(ask.arrival_slot, 0) * self._mix.slot_s
        deadline_at = None
        if klass.hard:
            run_s = ask.duration_s / self._slowest[ask.profile]
            deadline_at = self._at(arrival_s + klass.max_delay_s + run_s)
        return JobSpec(
            name="bench",
            tenant=self._tenants[ask.tenant].name,
            region=REGIONS[ask.region],
            work=COMMAND,
            env=NO_ENV,
            expected_duration_s=ask.duration_s,
            workers=ask.gpus // width,
            per_worker=self._shape(width, ask.gpu_cpus, ask.gpu_memory_gb),
            accelerators=self._accelerators[ask.profile],
            earliest_start_at=self._at(arrival_s) if ask.arrival_slot >= 0 else None,
            deadline_at=deadline_at,
            max_delay_s=klass.max_delay_s,
            max_rtt_ms=RTT_MS[ask.rtt],
            min_green_share=GREEN_SHARES[ask.green],
            data=self._inputs(ask.data_gb, ask.region),
        )

    def _shape(self, width: int, gpu_cpus: float, gpu_memory_gb: float) -> WorkerShape:
        key = (width, gpu_cpus, gpu_memory_gb)
        if key not in self._shapes:
            self._shapes[key] = WorkerShape(width, gpu_cpus * width, gpu_memory_gb * width)
        return self._shapes[key]

    def _inputs(self, data_gb: float, region: int) -> tuple[DataInput, ...]:
        key = (data_gb, region)
        if key not in self._data:
            self._data[key] = (DataInput(data_gb, REGIONS[region]),)
        return self._data[key]

    def _at(self, since_s: float) -> datetime:
        if since_s not in self._times:
            self._times[since_s] = self._mix.now_at + timedelta(seconds=since_s)
        return self._times[since_s]
