"""What of a job's wishes can be given up, and in which steps.

A wish that is a number has a ladder of values: each allows all that the one before does, and the
last gives the wish up. Steps are those that people would take: tenths of a millisecond, whole
percents, whole minutes. Others have alternatives, such as one more cluster.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from policies.latency import measured
from scheduler.domain.job import AcceleratorOption, JobSpec
from scheduler.domain.why import Change
from scheduler.planner.snapshot import PendingJob, Snapshot

# A wish given up where that cannot be counted, and one that is given up altogether.
WHOLE = 1.0
GIVEN_UP = 10.0
MINUTE_S = 60.0
# No run that plans see is longer.
AHEAD_MOST = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Step:
    """One other value of a wish. ``size``: how much is given up; ``apply`` puts it into a spec."""

    change: Change
    size: float
    apply: Callable[[JobSpec], JobSpec]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """``count`` steps, each allowing all that the one before it does."""

    field: str
    count: int
    step: Callable[[int], Step]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Steps of which none allows all that another does; ``all_of`` allows what any of them does."""

    field: str
    steps: tuple[Step, ...]
    all_of: Callable[[JobSpec], JobSpec]


Knob = Ladder | Alternatives


def knobs(snapshot: Snapshot, job: PendingJob) -> tuple[Knob, ...]:
    """The wishes of a job that could stand in its way, in the order of job files."""
    made: Iterable[Knob | None] = (
        _workers(job.spec),
        _gpus(job.spec),
        _accelerators(snapshot, job.spec),
        _earliest(snapshot, job.spec),
        _deadline(snapshot, job.spec),
        _rtt(snapshot, job.spec),
        _green(job.spec),
        _data(snapshot, job.spec),
        _residency(snapshot, job.spec),
    )
    return tuple(knob for knob in made if knob is not None)


def _workers(spec: JobSpec) -> Ladder | None:
    def step(n: int) -> Step:
        workers = spec.workers - 1 - n
        change = Change("workers", f"{spec.workers}", f"{workers}")
        note = "its duration was taken to stay the same"
        return Step(change, (n + 1) / spec.workers, lambda s: replace(s, workers=workers), note)

    return Ladder("workers", spec.workers - 1, step) if spec.workers > 1 else None


def _gpus(spec: JobSpec) -> Ladder | None:
    gpus = spec.per_worker.gpus

    def step(n: int) -> Step:
        fewer = gpus - 1 - n
        change = Change("per_worker.gpus", f"{gpus}", f"{fewer}")
        note = "its duration was taken to stay the same"

        def apply(s: JobSpec) -> JobSpec:
            return replace(s, per_worker=replace(s.per_worker, gpus=fewer))

        return Step(change, (n + 1) / gpus, apply, note)

    return Ladder("per_worker.gpus", gpus - 1, step) if gpus > 1 else None


def _accelerators(snapshot: Snapshot, spec: JobSpec) -> Alternatives | None:
    accepted = {option.model for option in spec.accelerators}
    if not spec.per_worker.gpus or not accepted:
        return None
    others = sorted({n.accelerator for n in snapshot.nodes if n.gpus} - accepted - {""})

    def step(model: str) -> Step:
        change = Change("accelerators", ", ".join(sorted(accepted)), f"{model} too")
        note = f"taken to be as fast on {model} as at relative speed 1"
        more = AcceleratorOption(model)
        return Step(change, WHOLE, lambda s: replace(s, accelerators=(*s.accelerators, more)), note)

    def every(s: JobSpec) -> JobSpec:
        more = (AcceleratorOption(model) for model in others)
        return replace(s, accelerators=(*s.accelerators, *more))

    return Alternatives("accelerators", tuple(map(step, others)), every) if others else None


def _earliest(snapshot: Snapshot, spec: JobSpec) -> Ladder | None:
    earliest_at, now_at = spec.earliest_start_at, snapshot.now_at
    if earliest_at is None or earliest_at <= now_at:
        return None
    minutes = math.ceil((earliest_at - now_at).total_seconds() / MINUTE_S)

    def step(n: int) -> Step:
        at = max(earliest_at - timedelta(minutes=n + 1), now_at)
        change = Change("earliest_start", _time(earliest_at), _time(at))
        size = (earliest_at - at).total_seconds() / spec.expected_duration_s
        return Step(change, size, lambda s: replace(s, earliest_start_at=at))

    return Ladder("earliest_start", minutes, step)


def _deadline(snapshot: Snapshot, spec: JobSpec) -> Ladder | None:
    deadline_at = spec.deadline_at
    if deadline_at is None:
        return None
    # Beyond the longest of runs from the last start there is nothing to be gained.
    slowest = min((option.relative_speed for option in spec.accelerators), default=1.0)
    run_s = spec.expected_duration_s / min(slowest, 1.0) + spec.restart_s
    horizon = timedelta(seconds=snapshot.slot_s * (snapshot.slots + 1) + run_s)
    staged = timedelta(days=2) if spec.data else timedelta()
    ahead = min(snapshot.now_at + horizon + staged - deadline_at, AHEAD_MOST)
    minutes = math.ceil(ahead.total_seconds() / MINUTE_S)

    def step(n: int) -> Step:
        at = deadline_at + timedelta(minutes=n + 1)
        change = Change("deadline", _time(deadline_at), _time(at))
        size = (n + 1) * MINUTE_S / spec.expected_duration_s
        return Step(change, size, lambda s: replace(s, deadline_at=at))

    return Ladder("deadline", minutes, step) if minutes > 0 else None


def _rtt(snapshot: Snapshot, spec: JobSpec) -> Ladder | None:
    most = spec.max_rtt_ms
    if most is None:
        return None
    ways = [measured(site, spec.region) for site in snapshot.sites.values()]
    found = {_tenths(way.p95_ms) for way in ways if way is not None and way.p95_ms > most}
    values: list[float | None] = [*sorted(found)]
    if None in ways:  # nothing is known of a way: it will do only for who does not ask
        values.append(None)

    def step(n: int) -> Step:
        value = values[n]
        size = GIVEN_UP if value is None else (value - most) / max(most, 0.1)
        change = Change("max_rtt_ms", f"{most:g}", "none" if value is None else f"{value:g}")
        return Step(change, size, lambda s: replace(s, max_rtt_ms=value))

    return Ladder("max_rtt_ms", len(values), step) if values else None


def _tenths(value: float) -> float:
    """The least tenth that is not below a value."""
    tenths = math.ceil(value * 10)
    if (tenths - 1) / 10 >= value:
        tenths -= 1
    return tenths / 10


def _green(spec: JobSpec) -> Ladder | None:
    share = spec.min_green_share
    if not share:
        return None
    first = math.ceil(share * 100 - 1e-9) - 1

    def step(n: int) -> Step:
        percent = first - n
        change = Change("min_green_share", f"{share * 100:g}%", f"{percent}%")
        size = (share - percent / 100) / share
        value = percent / 100 if percent else None
        return Step(change, size, lambda s: replace(s, min_green_share=value))

    return Ladder("min_green_share", first + 1, step)


def _data(snapshot: Snapshot, spec: JobSpec) -> Alternatives | None:
    if not any(data.size_gb > 0 for data in spec.data):
        return None
    where = ", ".join(dict.fromkeys(data.location for data in spec.data))

    def step(cluster: str) -> Step:
        change = Change("data", f"at {where}", f"at {cluster}")
        return Step(
            change,
            WHOLE,
            lambda s: replace(s, data=tuple(replace(d, location=cluster) for d in s.data)),
            "the data would have to be copied there before",
        )

    steps = tuple(map(step, sorted(snapshot.sites)))
    return Alternatives("data", steps, lambda s: replace(s, data=())) if steps else None


def _residency(snapshot: Snapshot, spec: JobSpec) -> Alternatives | None:
    if not spec.must_be_in and not spec.must_not_be_in:
        return None
    steps = tuple(_residency_steps(snapshot, spec))

    def anywhere(s: JobSpec) -> JobSpec:
        return replace(s, must_be_in=(), must_not_be_in=())

    return Alternatives("must_be_in", steps, anywhere) if steps else None


def _residency_steps(snapshot: Snapshot, spec: JobSpec) -> Iterator[Step]:
    """One more cluster, or one prohibition less."""
    if must := spec.must_be_in:
        for site in snapshot.sites.values():
            if not {site.cluster, site.province} & {*must, *spec.must_not_be_in}:
                more = (*must, site.cluster)
                change = Change("must_be_in", ", ".join(must), ", ".join(more))
                yield Step(change, WHOLE, _must(more))
    for name in spec.must_not_be_in:
        rest = tuple(other for other in spec.must_not_be_in if other != name)
        change = Change("must_not_be_in", ", ".join(spec.must_not_be_in), ", ".join(rest) or "none")
        yield Step(change, WHOLE, _must_not(rest))


def _must(names: tuple[str, ...]) -> Callable[[JobSpec], JobSpec]:
    return lambda s: replace(s, must_be_in=names)


def _must_not(names: tuple[str, ...]) -> Callable[[JobSpec], JobSpec]:
    return lambda s: replace(s, must_not_be_in=names)


def _time(at: datetime) -> str:
    return at.isoformat(timespec="minutes" if not at.second else "seconds")
