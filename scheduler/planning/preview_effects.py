"""What two plans of the same moment differ in: who moves, waits or is stopped, and in sum."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.domain.fleet import NodeLifecycle
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot

# Starts that differ by less are the same to anybody who waits.
SAME_S = 1.0


class EffectKind(StrEnum):
    """What becomes of a job. The order is that in which effects are told: the worst first."""

    STOPPED = "STOPPED"  # it runs, and is asked to stop
    LOST = "LOST"  # it has no place any more
    MOVED = "MOVED"
    LATER = "LATER"
    GAINED = "GAINED"  # it has a place, and had none
    SPARED = "SPARED"  # it would have been asked to stop, and is not
    SOONER = "SOONER"


_ORDER = {kind: n for n, kind in enumerate(EffectKind)}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands in a plan, or where it ``runs``; cost is energy times price of a run that
    is planned."""

    cluster: str
    accelerator: str
    start_at: datetime
    cost_yuan: float = 0.0
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Effect:
    """A job for which two plans differ; None stands for no place."""

    job_id: str
    kind: EffectKind
    before: Standing | None
    after: Standing | None

    @property
    def later_s(self) -> float:
        """How much later it starts; negative for sooner, 0 where there is nothing to compare."""
        if self.before is None or self.after is None or self.before.runs:
            return 0.0
        return (self.after.start_at - self.before.start_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A plan in sum. Cost, energy and carbon are those of all runs that have a place; utilisation
    is that of the accelerators that take work, from now to the end of the horizon."""

    now: int
    later: int
    unplaced: int
    cost_yuan: float
    energy_kwh: float
    green_share: float
    carbon_kg: float
    utilisation: float
    stopped: int
    gap: float


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two plans, and what it was made from."""

    snapshot: Snapshot
    plan: Plan

    def standings(self) -> dict[str, Standing]:
        """Of all jobs that have a place."""
        return {placement.job_id: standing(placement) for placement in self.plan.placements}

    def stopped(self) -> dict[str, Standing | None]:
        """Jobs whose attempts are asked to stop, with where they go on if that is known."""
        return {
            one.job_id: standing(one.place) if one.place is not None else None
            for one in self.plan.interruptions
        }

    def running(self) -> dict[str, Standing]:
        """Of all jobs with an attempt."""
        return {a.job_id: _running(a) for a in self.snapshot.running}


def standing(placement: Placement) -> Standing:
    """Where a placement puts its job."""
    where = (placement.cluster, placement.accelerator, placement.start_at)
    return Standing(*where, placement.cost_yuan)


def _running(attempt: RunningAttempt) -> Standing:
    return Standing(attempt.cluster, attempt.accelerator, attempt.started_at, runs=True)


def effects(before: Side, after: Side) -> list[Effect]:
    """All that differs for jobs that are in ``before``, the worst first. Jobs that ask for the same
    stand for one another: where two of them change places, nothing differs."""
    stood, stands = before.standings(), after.standings()
    ran, runs = before.running(), after.running()
    found = list(_of_pending(before.snapshot.jobs, stood, stands))
    for job_id in ran.keys() - runs.keys():
        found.append(Effect(job_id, EffectKind.STOPPED, ran[job_id], stands.get(job_id)))
    found += _of_running(ran, before.stopped(), after.stopped(), runs.keys())
    return sorted(found, key=_worst_first)


def _of_running(
    ran: Mapping[str, Standing],
    stopped: Mapping[str, Standing | None],
    stops: Mapping[str, Standing | None],
    run: Iterable[str],
) -> list[Effect]:
    """Of attempts that are there in both plans, those that one of them would stop."""
    found = list[Effect]()
    for job_id in run:
        if job_id in stops and job_id not in stopped:
            found.append(Effect(job_id, EffectKind.STOPPED, ran.get(job_id), stops[job_id]))
        elif job_id in stopped and job_id not in stops:
            found.append(Effect(job_id, EffectKind.SPARED, stopped[job_id], ran.get(job_id)))
    return found


def _of_pending(
    jobs: Iterable[PendingJob], stood: Mapping[str, Standing], stands: Mapping[str, Standing]
) -> Iterable[Effect]:
    # Equal specs are one object to the planner: see ``mirror``.
    alike = defaultdict[int, list[str]](list)
    for job in jobs:
        if _kind(stood.get(job.id), stands.get(job.id)) is not None:
            alike[id(job.spec)].append(job.id)
    for ids in alike.values():
        places = Counter(stands.get(job_id) for job_id in ids)
        others = list[tuple[str, Standing | None]]()
        for job_id in ids:
            was = stood.get(job_id)
            if places[was] > 0:
                places[was] -= 1
            else:
                others.append((job_id, was))
        left = sorted(places.elements(), key=_first)
        for (job_id, was), now in zip(
            sorted(others, key=lambda o: _first(o[1])), left, strict=True
        ):
            if (kind := _kind(was, now)) is not None:
                yield Effect(job_id, kind, was, now)


def _first(standing: Standing | None) -> tuple[bool, float]:
    """The earliest first, without a place last."""
    return standing is None, standing.start_at.timestamp() if standing is not None else 0.0


def _kind(was: Standing | None, now: Standing | None) -> EffectKind | None:
    if was is None or now is None:
        if was is now:
            return None
        return EffectKind.LOST if now is None else EffectKind.GAINED
    if (was.cluster, was.accelerator) != (now.cluster, now.accelerator):
        return EffectKind.MOVED
    later_s = (now.start_at - was.start_at).total_seconds()
    if abs(later_s) < SAME_S:
        return None
    return EffectKind.LATER if later_s > 0 else EffectKind.SOONER


def _worst_first(effect: Effect) -> tuple[int, float, str]:
    return _ORDER[effect.kind], -abs(effect.later_s), effect.job_id


def totals(side: Side) -> Totals:
    """The plan in sum."""
    placed: Sequence[Placement] = side.plan.placements
    now = sum(placement.now for placement in placed)
    energy_kwh = sum(placement.energy_kwh for placement in placed)
    green_kwh = sum(placement.green_kwh for placement in placed)
    return Totals(
        now=now,
        later=len(placed) - now,
        unplaced=len(side.snapshot.jobs) - len(placed),
        cost_yuan=sum(placement.cost_yuan for placement in placed),
        energy_kwh=energy_kwh,
        green_share=green_kwh / energy_kwh if energy_kwh > 0 else 0.0,
        carbon_kg=sum(placement.carbon_kg for placement in placed),
        utilisation=_utilisation(side),
        stopped=len(side.plan.interruptions),
        gap=side.plan.gap,
    )


def _utilisation(side: Side) -> float:
    """Accelerator seconds that are planned or held, of those there are. What runs on nodes that
    take no work is left out, as they are."""
    snapshot = side.snapshot
    end_at = snapshot.slot_at(snapshot.slots)
    ready = {n.id: n.gpus for n in snapshot.nodes if n.lifecycle is NodeLifecycle.READY}
    there_s = sum(ready.values()) * (end_at - snapshot.now_at).total_seconds()
    if there_s <= 0:
        return 0.0
    held_s = sum(
        attempt.spec.per_worker.gpus
        * sum(name in ready for name in attempt.nodes)
        * max((min(attempt.expected_end_at, end_at) - snapshot.now_at).total_seconds(), 0.0)
        for attempt in snapshot.running
    )
    gpus = {job.id: job.spec.gpus for job in snapshot.jobs}
    planned_s = sum(
        gpus.get(placement.job_id, 0)
        * max((min(run.end_at, end_at) - run.start_at).total_seconds(), 0.0)
        for placement in side.plan.placements
        for run in placement.runs
    )
    return float((held_s + planned_s) / there_s)
