"""What a replay is said to have cost, against reckoning by hand and against plain small steps."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.domain.job import DataInput, JobSpec, JobState
from scheduler.replay.engine import replay
from scheduler.replay.metrics import JobRow, Metrics, measure
from scheduler.replay.outcome import Outcome
from tests.scenario.world import NOON, link
from tests.unit.replay.cases import CaseOf

# The scenario language's nodes draw 0.5 kW per accelerator; its grids emit 600 g per kWh.
STEP_S = 30.0


def measured(case: CaseOf, policy: str = "fifo") -> tuple[Metrics, dict[str, JobRow]]:
    found = measure(replay(case.case(), policy, gather_s=0))
    return found.metrics, {row.job_id: row for row in found.rows}


def test_energy_costs_its_tariff_minute_by_minute() -> None:
    case = CaseOf().hub("qingyang", price=[0.4, 0.8] + [1.0] * 9, pue=[1.2, 1.5] + [1.0] * 9)
    case.job("job", at_minutes=5, minutes=20, gpus=2)
    metrics, rows = measured(case)
    # 1 kW of IT: 10 min at PUE 1.2 and 0.4 yuan, then 10 min at PUE 1.5 and 0.8 yuan.
    assert rows["job"].energy_kwh == pytest.approx((1.2 + 1.5) / 6)
    assert metrics.energy_yuan == pytest.approx((1.2 * 0.4 + 1.5 * 0.8) / 6)


def test_a_slots_green_supply_is_shared_once() -> None:
    case = CaseOf().hub("qingyang", gpus=8, pue=1.0, green_kw=1.0)
    case.job("plain", minutes=60, gpus=2).job("green", minutes=60, gpus=2, min_green_share=0.8)
    metrics, rows = measured(case)
    # Each draws 1 kW. The promise takes 0.8 kW; the 0.2 kW left go to the other 1.2 kW alike.
    assert rows["green"].green_kwh == pytest.approx(0.8 + 0.2 * 0.2 / 1.2)
    assert rows["plain"].green_kwh == pytest.approx(0.2 * 1.0 / 1.2)
    assert metrics.green_kwh == pytest.approx(1.0)
    assert metrics.green_share == pytest.approx(0.5)
    assert metrics.carbon_kg == pytest.approx(0.6)


def test_no_more_is_green_than_is_used() -> None:
    case = CaseOf().hub("qingyang", green_kw=1000.0).job("job", minutes=10)
    metrics, _ = measured(case)
    assert (metrics.green_share, metrics.carbon_kg) == (1.0, 0.0)


def test_waits_slowdowns_misses_and_use() -> None:
    case = CaseOf().hub("qingyang", gpus=2)
    case.job("a", minutes=60, gpus=2, deadline_minutes=60)
    case.job("b", minutes=30, actual_minutes=40, gpus=2, deadline_minutes=95, delay_minutes=10)
    case.job("c", at_minutes=10, minutes=30, gpus=1, deadline_minutes=60)
    case.job("d", at_minutes=20, minutes=20, gpus=1, delay_minutes=90)
    metrics, rows = measured(case)
    assert [rows[name].wait_s for name in "abcd"] == [0.0, 3600.0, None, 4800.0]
    assert rows["b"].slowdown == pytest.approx(100 / 40)
    assert rows["d"].slowdown == pytest.approx(100 / 20)
    assert (rows["c"].state, rows["c"].slowdown) == ("FAILED", None)
    assert [rows[name].deadline_missed for name in "abcd"] == [False, True, True, False]
    assert [rows[name].late for name in "abcd"] == [False, True, False, False]
    assert metrics.wait_mean_s == pytest.approx((0 + 3600 + 4800) / 3)
    assert metrics.wait_p95_s == 4800.0
    assert (metrics.unplaced_jobs, metrics.unplaced_gpu_hours) == (1, 0.5)
    assert metrics.makespan_s == 7200.0
    # 2 × 60 + 2 × 40 + 1 × 20 accelerator-minutes of 2 × 120.
    assert metrics.utilisation == pytest.approx(220 / 240)


def test_data_are_paid_for_by_the_gigabyte() -> None:
    case = CaseOf().hub("qingyang", links=(link("shanghai", 8.0, 0.01),))
    case.job("job", minutes=30, data=(DataInput(300.0, "shanghai"),))
    metrics, rows = measured(case)
    assert metrics.transfer_yuan == rows["job"].transfer_yuan == pytest.approx(3.0)
    assert rows["job"].run_s == 2100.0
    assert rows["job"].slowdown == 1.0


def test_a_preempted_job_pays_for_both_of_its_runs() -> None:
    case = CaseOf().hub("qingyang", pue=1.0, price=1.0)
    case.job("cheap", minutes=300, gpus=8, interruptible=True, restart_s=60.0)
    case.job("urgent", at_minutes=20, minutes=60, gpus=8, priority=100)
    metrics, rows = measured(case, "westward")
    assert rows["cheap"].runs == 2
    assert rows["cheap"].run_s == pytest.approx(300 * 60 + 60)
    assert rows["cheap"].energy_yuan == pytest.approx(4.0 * 301 / 60)
    assert (metrics.rounds.stops, metrics.rounds.gap_mean is not None) == (1, True)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """Real schedules whose times lie on half minutes, so that small steps meet them exactly."""
    case = CaseOf()
    prices, watts = st.floats(0.0, 1.0), st.floats(0.0, 6.0)
    for name in ("qingyang", "horinger"):
        case.hub(
            name,
            gpus=draw(st.sampled_from([2, 8])),
            price=draw(st.lists(prices, min_size=1, max_size=12)),
            pue=draw(st.lists(st.floats(1.0, 1.6), min_size=1, max_size=12)),
            green_kw=draw(st.lists(watts, min_size=1, max_size=12)),
        )
    for n in range(draw(st.integers(1, 8))):
        minutes = draw(st.integers(1, 120)) / 2
        case.job(
            f"job-{n}",
            at_minutes=draw(st.integers(0, 60)) / 2,
            minutes=minutes,
            gpus=draw(st.integers(0, 3)),
            cpus=10.0,
            min_green_share=draw(st.sampled_from([None, None, 0.3])),
            deadline_minutes=draw(st.sampled_from([None, 90.0])),
        )
    return replay(case.case(), draw(st.sampled_from(["fifo", "cheapest-now"])), gather_s=0)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(outcome=outcomes())
def test_sums_agree_with_plain_small_steps(outcome: Outcome) -> None:
    found = measure(outcome)
    kwh, yuan, green = _stepped(outcome)
    for row in found.rows:
        assert row.energy_kwh == pytest.approx(kwh[row.job_id], abs=1e-9)
        assert row.energy_yuan == pytest.approx(yuan[row.job_id], abs=1e-9)
        assert row.green_kwh == pytest.approx(green[row.job_id], abs=1e-9)
    metrics = found.metrics
    assert metrics.energy_kwh == pytest.approx(sum(kwh.values()), abs=1e-9)
    assert metrics.green_kwh == pytest.approx(sum(green.values()), abs=1e-9)
    assert metrics.carbon_kg == pytest.approx(0.6 * (sum(kwh.values()) - sum(green.values())))
    ended = [r for r in found.rows if r.state == JobState.SUCCEEDED]
    assert metrics.unplaced_jobs == len(found.rows) - len(ended)


def _stepped(outcome: Outcome) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """kWh, yuan and green kWh per job, a step of half a minute after the other."""
    case = outcome.case
    specs = {job.id: job.spec for job in case.jobs}
    kwh, yuan, green = ({job.id: 0.0 for job in case.jobs} for _ in range(3))
    at, slot = NOON, timedelta(seconds=case.slot_s)
    while at <= outcome.clock_at:
        for cluster, site in case.world.sites.items():
            used: dict[str, float] = {}
            for step in range(int(case.slot_s / STEP_S)):
                now = at + timedelta(seconds=step * STEP_S)
                for run in outcome.runs:
                    if run.cluster == cluster and run.started_at <= now < run.ended_at:
                        spec = specs[run.job_id]
                        it_kw = 0.5 * spec.gpus if spec.gpus else 0.01 * spec.per_worker.cpus
                        door_kwh = it_kw * site.pue.at(now) * STEP_S / 3600
                        kwh[run.job_id] += door_kwh
                        yuan[run.job_id] += door_kwh * site.price_yuan_per_kwh.at(now)
                        used[run.job_id] = used.get(run.job_id, 0.0) + door_kwh
            supply = site.green_supply_kw.at(at) * case.slot_s / 3600
            for job_id, part in _shared(used, supply, specs).items():
                green[job_id] += part
        at += slot
    return kwh, yuan, green


def _shared(used: dict[str, float], supply: float, specs: dict[str, JobSpec]) -> dict[str, float]:
    """A slot's supply: promises first, the rest to the rest in proportion."""
    share = {k: specs[k].min_green_share or 0.0 for k in used}
    promised = sum(share[k] * v for k, v in used.items())
    met = min(1.0, supply / promised) if promised else 1.0
    others = sum(used.values()) - promised
    rest = min(1.0, (supply - met * promised) / others) if others > 0 else 1.0
    return {k: v * (share[k] * met + (1 - share[k]) * rest) for k, v in used.items()}
