"""A relaxation is the smallest: with it the job has a legal place beside all others; with a step
less, no start in any pool is legal. The judge is the checker, which shares no code with the
planner.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.checker import check
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import DataInput, JobSpec
from scheduler.domain.remaining import run_s
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import Round, plan_round
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.relax.beside import Beside
from scheduler.planner.relax.smallest import Found, relaxations
from scheduler.planner.snapshot import Snapshot
from tests.scenario.world import World, link

CHEAP = Budget(dual_passes=25, sweeps=2, exact_options=400, exact_work=0.05)
SLOTS, SLOT_S = 6, 900.0
# What a job asks for; the first of each is easy to grant.
WISHES = {
    "minutes": [10.0, 30.0, 50.0],
    "gpus": [1, 2, 4],
    "workers": [1, 2, 3],
    "models": [None, {"A800": 1.0}, {"910B": 0.5}],
    "priority": [0, 7],
    "min_green_share": [None, 0.5, 0.805],
    "deadline_minutes": [None, 25.0, 61.5],
    "earliest_minutes": [None, 31.0],
    "max_rtt_ms": [None, 12.0, 20.0],
    "must_be_in": [(), ("gansu",)],
    "must_not_be_in": [(), ("qingyang",)],
    "data": [(), (DataInput(30.0, "shanghai"),), (DataInput(60.0, "horinger"),)],
}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(slots=SLOTS, slot_s=SLOT_S)
    for name, province in (("qingyang", "gansu"), ("horinger", "nei mongol")):
        world.hub(
            name,
            nodes=draw(st.integers(1, 2)),
            gpus=draw(st.sampled_from([2, 4])),
            model=draw(st.sampled_from(["A800", "A800", "910B"])),
            cpus=draw(st.sampled_from([2.0, 64.0])),
            price=draw(st.sampled_from([0.2, 0.4])),
            green_kw=draw(st.lists(st.sampled_from([0.0, 0.8, 2.0, 9.0]), min_size=8, max_size=8)),
            pue=draw(st.sampled_from([1.0, 1.2])),
            rtt_ms=draw(st.sampled_from([9.0, 15.03, 22.0, None])),
            province=province,
            power_cap_kw=draw(st.sampled_from([None, None, 1.5])),
            links=draw(st.sampled_from([(), (link("shanghai", 1.0),)])),
        )
    for node in draw(st.lists(st.sampled_from(world.nodes), max_size=2)):
        world.busy(node.id, gpus=draw(st.integers(1, 2)), minutes=draw(st.integers(5, 120)))
    for n in range(draw(st.integers(1, 5))):
        wishes = {k: draw(st.sampled_from([v[0], v[0], *v])) for k, v in WISHES.items()}
        world.job(f"job{n}", **wishes)
    return world


@dataclass(frozen=True)
class Trial:
    """One job of a plan, with other wishes, beside all others where they are."""

    snapshot: Snapshot
    plan: Plan
    job_id: str

    def has_place(self, spec: JobSpec, *, cluster: str = "", minutes: float = -1) -> bool:
        """Whether some start is legal, by the checker; or one, in minutes from now."""
        jobs = tuple(
            replace(j, spec=spec) if j.id == self.job_id else j for j in self.snapshot.jobs
        )
        snapshot = replace(self.snapshot, jobs=jobs)
        for placement in self._options(snapshot, spec):
            since = (placement.start_at - snapshot.now_at).total_seconds() / 60
            fits = not cluster or (placement.cluster == cluster and abs(since - minutes) < 0.01)
            if fits and self._is_legal(snapshot, placement):
                return True
        return False

    def _is_legal(self, snapshot: Snapshot, placement: Placement) -> bool:
        # What others get of the green supply beyond what they hold is not promised to them.
        shares = {job.id: job.spec.min_green_share or 0.0 for job in snapshot.jobs}
        others = [
            p._replace(green_kwh=shares[p.job_id] * p.energy_kwh)
            for p in self.plan.placements
            if p.job_id != self.job_id
        ]
        told = {e.job_id: e for e in self.plan.explanations}
        outcome = Outcome.PLACED if placement.now else Outcome.PLANNED
        told[self.job_id] = replace(told[self.job_id], outcome=outcome)
        made = replace(
            self.plan,
            placements=(*others, placement),
            explanations=tuple(told.values()),
            interruptions=(),
        )
        return check(snapshot, made) == []

    def _options(self, snapshot: Snapshot, spec: JobSpec) -> Iterator[Placement]:
        now_at = snapshot.now_at
        earliest_at = max(spec.earliest_start_at or now_at, now_at)
        starts = {snapshot.slot_at(slot) for slot in range(SLOTS)} | {earliest_at}
        for cluster, accelerator in sorted({(n.cluster, n.accelerator) for n in snapshot.nodes}):
            speed = spec.speed_on(accelerator)
            if not speed:
                continue
            site, seconds = snapshot.sites[cluster], run_s(spec, 0.0, speed)
            gb = [d.size_gb for d in spec.data if d.location not in (cluster, site.province)]
            # The only link there is carries 1 Gbit/s from Shanghai.
            seconds += max((8 * size for size in gb), default=0.0)
            for start_at in sorted(starts):
                if start_at >= earliest_at:
                    length = timedelta(seconds=seconds)
                    yield self._placement(cluster, accelerator, start_at, length, spec)

    def _placement(
        self, cluster: str, accelerator: str, start_at: datetime, length: timedelta, spec: JobSpec
    ) -> Placement:
        now = start_at == self.snapshot.now_at
        kw = spec.gpus * 0.5 * self.snapshot.sites[cluster].pue.values[0]
        kwh = kw * length.total_seconds() / 3600
        share = spec.min_green_share or 0.0
        return Placement(
            job_id=self.job_id,
            cluster=cluster,
            accelerator=accelerator,
            start_at=start_at,
            end_at=start_at + length,
            now=now,
            nodes=self._nodes(cluster, spec) if now else (),
            energy_kwh=kwh,
            green_kwh=share * kwh,
            green_held_kw=share * kw,
            cost_yuan=0.0,
            carbon_kg=0.0,
        )

    def _nodes(self, cluster: str, spec: JobSpec) -> tuple[str, ...]:
        """Nodes with room beside what runs and what starts now, as many as there are workers."""
        snapshot, shape = self.snapshot, spec.per_worker
        specs = {job.id: job.spec for job in snapshot.jobs}
        free = {n.id: [n.gpus, n.cpus, n.memory_gb] for n in snapshot.nodes if n.cluster == cluster}
        held = [(r.spec, r.nodes) for r in snapshot.running]
        held += [
            (specs[p.job_id], p.nodes) for p in self.plan.placements if p.job_id != self.job_id
        ]
        for other, nodes in held:
            for node in nodes:
                if node in free:
                    need = other.per_worker
                    for r, amount in enumerate((need.gpus, need.cpus, need.memory_gb)):
                        free[node][r] -= amount
        found: list[str] = []
        for node, has in free.items():
            while len(found) < spec.workers and all(
                h + 1e-6 >= need
                for h, need in zip(has, (shape.gpus, shape.cpus, shape.memory_gb), strict=True)
            ):
                for r, amount in enumerate((shape.gpus, shape.cpus, shape.memory_gb)):
                    has[r] -= amount
                found.append(node)
        return tuple(found)


def a_step_less(before: JobSpec, spec: JobSpec) -> Iterator[JobSpec]:
    """The spec with each of the wishes that were relaxed one step tighter."""
    if spec.max_rtt_ms != before.max_rtt_ms and spec.max_rtt_ms is not None:
        yield replace(spec, max_rtt_ms=round(spec.max_rtt_ms - 0.1, 1))
    if spec.min_green_share != before.min_green_share:
        tighter = round((spec.min_green_share or 0.0) + 0.01, 2)
        yield replace(spec, min_green_share=min(tighter, before.min_green_share or 1.0))
    if spec.workers != before.workers:
        yield replace(spec, workers=spec.workers + 1)
    if spec.per_worker != before.per_worker:
        yield replace(spec, per_worker=replace(spec.per_worker, gpus=spec.per_worker.gpus + 1))
    if spec.deadline_at != before.deadline_at and spec.deadline_at is not None:
        yield replace(spec, deadline_at=spec.deadline_at - timedelta(minutes=1))
    if spec.earliest_start_at != before.earliest_start_at:
        assert before.earliest_start_at is not None
        assert spec.earliest_start_at is not None
        later = spec.earliest_start_at + timedelta(minutes=1)
        yield replace(spec, earliest_start_at=min(later, before.earliest_start_at))


def unplaced(made: Round) -> list[int]:
    return [i for i, told in enumerate(made.plan.explanations) if told.outcome is Outcome.UNPLACED]


def found_for(made: Round, job: int) -> tuple[Found, ...]:
    placements = made.plan.placements
    return relaxations(Beside(made.snapshot, made.decision, placements, job)).found


@pytest.mark.timeout(300)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_a_relaxation_places_the_job_and_a_step_less_does_not(world: World) -> None:
    made = plan_round(world.snapshot(), CHEAP)
    for job in unplaced(made):
        before = made.snapshot.jobs[job].spec
        trial = Trial(made.snapshot, made.plan, made.snapshot.jobs[job].id)
        found = found_for(made, job)
        assert not (found and trial.has_place(before))
        for one in found:
            told = one.relaxation
            minutes = (told.start_at - made.snapshot.now_at).total_seconds() / 60
            assert trial.has_place(one.spec, cluster=told.cluster, minutes=minutes), one
            for tighter in a_step_less(before, one.spec):
                assert not trial.has_place(tighter), (one, tighter)
        assert all(a.relaxation.size <= b.relaxation.size for a, b in pairwise(found))
