"""What each placer picks, and that the checker has nothing against what any of them starts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.checker import check
from scheduler.domain.explanation import Outcome as Told
from scheduler.domain.job import DataInput
from scheduler.domain.reason import ReasonCode
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay.engine import replay
from scheduler.replay.fleet import Fleet
from scheduler.replay.placers import PLACERS, Decision, Placer, placer_of
from tests.fakes.planning import explained
from tests.scenario.world import World, link
from tests.unit.replay.cases import CaseOf

PLAIN = [name for name in PLACERS if name != "westward"]


def as_plan(snapshot: Snapshot, placements: tuple[Placement, ...]) -> Plan:
    """What was placed, as a plan that the checker can read."""
    placed = {p.job_id for p in placements}
    return Plan(
        placements=placements,
        explanations=tuple(
            explained(
                job.id,
                Told.PLACED if job.id in placed else Told.UNPLACED,
                snapshot.now_at,
                ReasonCode.CHOSEN if job.id in placed else ReasonCode.CAPACITY,
            )
            for job in snapshot.jobs
        ),
        objective_yuan=0.0,
        bound_yuan=0.0,
        gap=0.0,
    )


class Checked:
    """A placer whose every decision the checker sees."""

    def __init__(self, placer: Placer) -> None:
        self.interrupts = placer.interrupts
        self._placer = placer

    def place(self, snapshot: Snapshot) -> Decision:
        decision = self._placer.place(snapshot)
        assert check(snapshot, as_plan(snapshot, decision.placements)) == []
        return decision


def placed(world: World, policy: str) -> dict[str, str]:
    """``{job: "cluster node node"}`` of what a policy starts in a world; legal by the checker."""
    snapshot = world.snapshot()
    placer = Checked(placer_of(policy, Fleet(snapshot.nodes, snapshot.sites)))
    return {p.job_id: " ".join(p.nodes) for p in placer.place(snapshot).placements}


def _mostly(usual: list[Any], *odd: Any) -> st.SearchStrategy[Any]:
    return st.integers(0, 3).flatmap(lambda n: st.sampled_from(list(odd) if n == 3 else usual))


@st.composite
def cases(draw: st.DrawFn) -> CaseOf:
    """Two or three hubs with every kind of limit, and a dozen jobs that meet them."""
    case = CaseOf(World(slots=draw(st.sampled_from([4, 16])), slot_s=900.0))
    for name in ("qingyang", "horinger", "zhongwei")[: draw(st.integers(2, 3))]:
        case.hub(
            name,
            nodes=draw(st.integers(1, 3)),
            gpus=draw(st.sampled_from([2, 4, 8])),
            model=draw(st.sampled_from(["A800", "910B"])),
            cpus=draw(_mostly([64.0], 5.0)),
            memory_gb=draw(_mostly([512.0], 20.0)),
            price=draw(st.lists(st.floats(-0.1, 1.0), min_size=1, max_size=20)),
            pue=draw(st.lists(st.floats(1.05, 1.5), min_size=1, max_size=20)),
            green_kw=draw(st.lists(st.floats(0.0, 8.0), min_size=1, max_size=20)),
            power_cap_kw=draw(_mostly([None], 1.5, 4.0)),
            rtt_ms=draw(_mostly([5.0], 30.0, None)),
            links=draw(_mostly([(link("shanghai", 1.0),)], ())),
        )
    for n in range(draw(st.integers(1, 12))):
        minutes = draw(st.sampled_from([4.0, 15.0, 40.0, 200.0]))
        case.job(
            f"job-{n:02}",
            at_minutes=draw(st.sampled_from([0.0, 0.0, 7.0, 33.3, 61.0])),
            minutes=minutes,
            actual_minutes=minutes * draw(st.sampled_from([0.5, 1.0, 1.7])),
            gpus=draw(_mostly([1, 2, 4], 0, 8)),
            workers=draw(_mostly([1], 2, 3)),
            cpus=draw(_mostly([1.0, 2.0], 7.3)),
            memory_gb=draw(_mostly([1.0], 15.0)),
            models=draw(_mostly([None], {"A800": 1.0}, {"910B": 0.3, "A800": 2.0})),
            deadline_minutes=draw(_mostly([None], 45.0, 300.0)),
            earliest_minutes=draw(_mostly([None], 50.0)),
            max_rtt_ms=draw(_mostly([None], 10.0)),
            min_green_share=draw(_mostly([None, 0.1], 0.4, 1.0)),
            must_not_be_in=draw(_mostly([()], ("qingyang",))),
            data=draw(_mostly([()], (DataInput(30.0, "shanghai"),))),
        )
    return case


@pytest.mark.parametrize("policy", PLAIN)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_every_start_of_a_whole_replay_is_legal(policy: str, case: CaseOf) -> None:
    made = case.case()
    placer = Checked(placer_of(policy, Fleet(made.world.nodes, made.world.sites)))
    outcome = replay(made, policy, placer=placer, gather_s=30)
    assert len(outcome.runs) <= len(made.jobs)
    assert set(outcome.states) == {job.id for job in made.jobs}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_fifo_leaves_nothing_that_could_start(case: CaseOf) -> None:
    """Whatever it does not start, no pool takes: every way is tried and shown to the checker."""
    snapshot = _snapshot_of(case)
    fleet = Fleet(snapshot.nodes, snapshot.sites)
    begun = placer_of("fifo", fleet).place(snapshot).placements
    started = {p.job_id for p in begun}
    for job in snapshot.jobs:
        if job.id not in started:
            for cluster, accelerator in {(n.cluster, n.accelerator) for n in snapshot.nodes}:
                place = _somehow(snapshot, job, cluster, accelerator, begun)
                if place is not None:
                    assert check(snapshot, as_plan(snapshot, (*begun, place))) != []


def _snapshot_of(case: CaseOf) -> Snapshot:
    case.world.jobs = [
        PendingJob(id=job.id, spec=job.spec, submitted_at=job.submitted_at)
        for job in case.jobs
        if job.submitted_at <= case.world.now_at
    ]
    return case.world.snapshot()


def _somehow(
    snapshot: Snapshot,
    job: PendingJob,
    cluster: str,
    accelerator: str,
    begun: tuple[Placement, ...],
) -> Placement | None:
    """A start of a job in a pool, worker by worker on what is left; None if it does not fit."""
    spec, shape = job.spec, job.spec.per_worker
    left = {n.id: [n.gpus, n.cpus, n.memory_gb] for n in snapshot.nodes}
    specs = {j.id: j.spec.per_worker for j in snapshot.jobs}
    for place in begun:
        for name in place.nodes:
            taken = specs[place.job_id]
            for at, amount in enumerate((taken.gpus, taken.cpus, taken.memory_gb)):
                left[name][at] -= amount
    nodes: list[str] = []
    pool = [n for n in snapshot.nodes if (n.cluster, n.accelerator) == (cluster, accelerator)]
    for node in pool:
        free = left[node.id]
        need = (shape.gpus, shape.cpus, shape.memory_gb)
        while len(nodes) < spec.workers and all(f >= n for f, n in zip(free, need, strict=True)):
            nodes.append(node.id)
            left[node.id] = free = [f - n for f, n in zip(free, need, strict=True)]
    speed = spec.speed_on(accelerator)
    if len(nodes) < spec.workers or not speed:
        return None
    site = snapshot.sites[cluster]
    gbps = {link.peer: link.bandwidth_gbps for link in site.links}
    stage_s = max([d.size_gb * 8 / gbps.get(d.location, 1e-9) for d in spec.data], default=0.0)
    takes_s = stage_s + spec.expected_duration_s / speed
    it_kw = 0.5 * spec.gpus or 0.01 * spec.workers * shape.cpus
    kwh = it_kw * max(site.pue.values) * takes_s / 3600
    return Placement(
        job_id=job.id,
        cluster=cluster,
        accelerator=accelerator,
        start_at=snapshot.now_at,
        end_at=snapshot.now_at + timedelta(seconds=min(takes_s, 1e8)),
        now=True,
        nodes=tuple(nodes),
        energy_kwh=kwh,
        green_kwh=kwh * (spec.min_green_share or 0.0),
        green_held_kw=2 * it_kw,
        cost_yuan=0.0,
        carbon_kg=0.0,
    )


def test_fifo_fills_the_first_cluster_first() -> None:
    world = World().hub("qingyang", nodes=2, gpus=2, price=0.9).hub("horinger", gpus=8, price=0.1)
    world.job("job", count=5, gpus=1)
    assert placed(world, "fifo") == {
        "job-0": "qingyang-0",
        "job-1": "qingyang-0",
        "job-2": "qingyang-1",
        "job-3": "qingyang-1",
        "job-4": "horinger-0",
    }


def test_what_does_not_fit_does_not_hold_up_the_rest() -> None:
    world = World().hub("qingyang", gpus=4).job("a-big", gpus=8).job("b-small", gpus=2)
    assert placed(world, "fifo") == {"b-small": "qingyang-0"}


def test_the_cheapest_now_and_the_cheapest_over_the_run_differ() -> None:
    world = World().hub("qingyang", price=[0.2, 0.9, 0.9, 0.9]).hub("horinger", price=0.5)
    world.job("job", minutes=60)
    assert placed(world, "cheapest-now") == {"job": "qingyang-0"}
    assert placed(world, "cheapest-window") == {"job": "horinger-0"}


def test_the_cheapest_site_without_room_is_passed_over_but_not_by_skypilot() -> None:
    world = World().hub("qingyang", gpus=2, price=0.2).hub("horinger", gpus=2, price=0.5)
    world.busy("qingyang-0", gpus=2).job("job", gpus=2)
    assert placed(world, "cheapest-now") == {"job": "horinger-0"}
    assert placed(world, "cheapest-window") == {"job": "horinger-0"}
    assert placed(world, "skypilot") == {}


def test_skypilot_queues_where_it_chose_although_prices_turn() -> None:
    case = CaseOf().hub("qingyang", gpus=2, price=[0.2] * 2 + [0.9] * 22)
    case.hub("horinger", gpus=2, price=0.5)
    case.job("a", minutes=60, actual_minutes=90, gpus=2)
    case.job("b", minutes=20, gpus=2)
    outcome = replay(case.case(), "skypilot", gather_s=0)
    assert [(r.job_id, r.cluster, f"{r.started_at:%H:%M}") for r in outcome.runs] == [
        ("b", "qingyang", "12:00"),
        ("a", "horinger", "12:00"),
    ]
    case.job("c", minutes=20, gpus=2)
    outcome = replay(case.case(), "skypilot", gather_s=0)
    where = {r.job_id: (r.cluster, f"{r.started_at:%H:%M}") for r in outcome.runs}
    assert where["c"] == ("qingyang", "12:20")


def test_least_allocated_spreads_and_most_allocated_packs() -> None:
    world = World().hub("qingyang", nodes=3, gpus=8)
    world.busy("qingyang-1", gpus=2).job("job", gpus=2)
    assert placed(world, "most-allocated") == {"job": "qingyang-1"}
    world = World().hub("qingyang", nodes=2, gpus=8)
    world.busy("qingyang-1", gpus=2).job("gang", gpus=1, workers=3)
    # Scores with one worker more, (gpus, cpus, memory) of 8, 64, 512: on node 0
    # (87 + 98 + 99) // 3 = 94, then (75 + 96 + 99) // 3 = 90; on node 1, with a worker of
    # 2, 1, 1 on it, (62 + 96 + 99) // 3 = 85. A third on node 0: (62 + 95 + 99) // 3 = 85: by lot.
    assert placed(world, "least-allocated")["gang"].startswith("qingyang-0 qingyang-0")


def test_a_gang_stays_in_one_pool() -> None:
    world = World().hub("qingyang", nodes=1, gpus=4).hub("horinger", nodes=2, gpus=4)
    world.job("gang", gpus=4, workers=2)
    for policy in PLAIN:
        assert placed(world, policy)["gang"].split()[0].startswith("horinger"), policy


def test_the_green_supply_is_given_away_once() -> None:
    world = World().hub("qingyang", green_kw=0.7).job("job", count=3, min_green_share=0.5)
    # 0.5 kW × PUE 1.2 × 0.5 = 0.3 kW of green for each: two fit in 0.7 kW.
    for policy in PLAIN:
        assert sorted(placed(world, policy)) == ["job-0", "job-1"], policy


@pytest.mark.parametrize("policy", [*PLAIN, "westward"])
def test_a_link_is_shared_with_what_still_comes_for_those_that_run(policy: str) -> None:
    case = CaseOf().hub("qingyang", links=(link("shanghai", 1.0),))
    data = (DataInput(100.0, "shanghai"),)  # 13.3 minutes
    case.job("a", minutes=60, data=data).job("b", at_minutes=5, minutes=1, data=data)
    runs = replay(case.case(), policy, gather_s=0).runs
    started = {run.job_id: f"{run.started_at:%H:%M}" for run in runs}
    assert started == {"a": "12:00", "b": "12:15"}


def test_a_power_cap_that_falls_during_the_run_counts() -> None:
    world = World().hub("qingyang", power_cap_kw=1.3, pue=[1.2] * 3 + [1.4] * 21)
    world.job("long", gpus=2, minutes=60)
    short = replace(world.jobs[0].spec, expected_duration_s=1800.0)
    world.jobs.append(replace(world.jobs[0], id="short", spec=short))
    for policy in PLAIN:
        assert placed(world, policy) == {"short": "qingyang-0"}, policy
