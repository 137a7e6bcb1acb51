"""The cases of bench-philly: what a seed and a load make of the trace."""

from datetime import timedelta

import pytest

from bench.philly import clairvoyant, workload
from bench.philly.__main__ import Cell, outcomes
from scheduler.replay import world
from scheduler.replay.bound import Bound
from scheduler.replay.case import ReplayCase
from scheduler.replay.metrics import Metrics, Rounds
from scheduler.replay.traces.files import strangers
from scheduler.replay.world import WorldFile
from tests.unit.replay.cases import CaseOf


@pytest.fixture(scope="module")
def hubs() -> WorldFile:
    return world.load(workload.WORLD)


@pytest.fixture(scope="module")
def week(hubs: WorldFile) -> workload.Pattern:
    return workload.pattern(hubs)


def asked(case: ReplayCase, week: workload.Pattern, days: float) -> float:
    return sum(map(workload.gpu_hours, case.jobs)) / (week.capacity * days * 24)


@pytest.mark.parametrize("load", [0.25, 0.45, 0.65])
def test_a_case_asks_for_its_load(hubs: WorldFile, week: workload.Pattern, load: float) -> None:
    case = workload.case(hubs, week, load=load, seed=1)
    # The last job drawn may go over it: 64 accelerators for 36 h at most.
    assert load <= asked(case, week, 7) <= load + 64 * 36 / (week.capacity * 168)
    assert not strangers("trace", case.jobs, hubs)
    assert all(job.actual_s <= workload.LONGEST_S for job in case.jobs)
    last = case.jobs[-1].submitted_at
    assert hubs.start_at + timedelta(days=6) < last < hubs.start_at + timedelta(days=7)
    assert len({job.id for job in case.jobs}) == len(case.jobs)


def test_a_seed_makes_the_same_case_again_and_another_one_another(
    hubs: WorldFile, week: workload.Pattern
) -> None:
    one = workload.case(hubs, week, load=0.25, seed=1)
    assert workload.case(hubs, week, load=0.25, seed=1) == one
    other = workload.case(hubs, week, load=0.25, seed=2)
    assert {job.id for job in other.jobs} != {job.id for job in one.jobs}


def test_fewer_days_take_the_jobs_of_those_days(hubs: WorldFile, week: workload.Pattern) -> None:
    case = workload.case(hubs, week, load=0.25, seed=1, days=1)
    assert case.jobs[-1].submitted_at < hubs.start_at + timedelta(days=1)
    assert asked(case, week, 1) == pytest.approx(0.25, abs=0.12)


def test_a_load_that_the_trace_does_not_have_is_refused(
    hubs: WorldFile, week: workload.Pattern
) -> None:
    with pytest.raises(ValueError, match="take a lower load or more days"):
        workload.case(hubs, week, load=9.0, seed=1)


def test_every_hub_serves_every_region_within_the_wider_limit_somewhere(hubs: WorldFile) -> None:
    for region in hubs.world.regions:
        nearest_ms = min(site.rtt[region].p95_ms for site in hubs.world.sites.values())
        limits = [ms for ms in workload.RTTS_MS if ms is not None]
        assert nearest_ms <= min(limits), f"{region} could never be served"


def metrics(policy: str, yuan: float, unplaced: float) -> Metrics:
    rounds = Rounds(
        count=1, p50_ms=1, p99_ms=1, total_s=1, gap_mean=None, gap_most=None, stops=0, moved_share=0
    )
    return Metrics(
        policy=policy,
        jobs=1,
        energy_yuan=yuan,
        transfer_yuan=0,
        energy_kwh=1,
        green_kwh=0,
        green_share=0,
        carbon_kg=0,
        wait_mean_s=0,
        wait_p95_s=0,
        slowdown_mean=1,
        slowdown_p95=1,
        late_jobs=0,
        deadline_misses=0,
        unplaced_jobs=0,
        unplaced_gpu_hours=unplaced,
        utilisation=0,
        makespan_s=1,
        rounds=rounds,
        wall_s=0,
    )


def test_outcomes_by_hand() -> None:
    cells = [
        Cell(
            load=0.45,
            seed=seed,
            jobs=1,
            metrics={"fifo": metrics("fifo", 100, 5), "westward": metrics("westward", ours, 7)},
            bound=Bound(energy_yuan=70, independent_yuan=60, jobs=1),
            clairvoyant_yuan=None,
        )
        for seed, ours in ((1, 70.0), (2, 84.0))
    ]
    assert outcomes(cells) == {
        "load 0.45: energy against FIFO at most -24%": "-23.0%",
        "load 0.45: within 2% of the bound": "+10.0%",
        "load 0.45: unplaced GPU-hours above FIFO's": "+2.0 at most",
        "load 0.45: late starts above FIFO's": "+0 at most",
    }


def test_one_plan_that_knows_what_comes_keeps_the_cheap_hour_for_the_larger_job() -> None:
    """Without knowing it, the small one would take the cheap hour as soon as it is there."""
    case = CaseOf().hub("qingyang", gpus=2, price=[0.9] * 4 + [0.1] * 4 + [0.9] * 8)
    case.job("small", gpus=1, minutes=60, delay_minutes=180)
    case.job("large", gpus=2, minutes=60, at_minutes=30, delay_minutes=30)
    # 0.5 kW an accelerator at a PUE of 1.2: 1.2 kWh at 0.1 yuan, and 0.6 kWh at 0.9.
    assert clairvoyant.energy_yuan(case.case()) == pytest.approx(1.2 * 0.1 + 0.6 * 0.9)


def test_a_clairvoyant_plan_that_leaves_a_job_out_says_nothing() -> None:
    case = CaseOf().hub("qingyang", gpus=2).job("huge", gpus=4)
    assert clairvoyant.energy_yuan(case.case()) is None
