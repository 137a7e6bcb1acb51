"""The GAIA case: its rules by hand, the published figures, and bounds that nothing beats."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gaia import bounds, policies, published, reserved, rules
from bench.gaia.clairvoyant import Aim, schedule
from bench.gaia.planned import planned, replayed
from bench.gaia.rules import TICKS_PER_HOUR, UNIT, Case, Run, Task, account
from scheduler.replay.traces import gaia
from scheduler.replay.traces.trace import ReplayInputError

HOUR = TICKS_PER_HOUR
START_AT = datetime(2022, 10, 19, 16, tzinfo=UTC)


def a_case(hourly: list[int], *tasks: Task) -> Case:
    """Intensities in hundredths of g/kWh."""
    return Case(tasks, np.repeat(np.array(hourly, dtype=np.int64), HOUR))


def a_task(id_: int, arrival: int, length: int, *, cpus: int = 1, wait: int = 2 * HOUR) -> Task:
    return Task(id_, arrival, length, cpus, wait, length)


def test_the_reader_keeps_the_papers_rules(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_time,length,cpus\n0.0,7204.9,2\n63.0,7199.0,1\n9.9,1003.0,4\n")
    first, third, second = gaia.read(path, start_at=START_AT, exact=True).jobs
    assert (first.actual_s, first.spec.max_delay_s) == (7200.0, 24 * 3600.0)
    assert (second.actual_s, second.spec.max_delay_s) == (7195.0, 6 * 3600.0)
    assert (second.submitted_at - START_AT).total_seconds() == 60.0
    assert (third.submitted_at - START_AT).total_seconds() == 5.0
    assert third.spec.per_worker.cpus == 4.0
    known = gaia.read(path, start_at=START_AT, exact=False).jobs
    # (7199 + 1003) / 2 = 4101 and 7204.9, both truncated to ticks.
    assert [job.spec.expected_duration_s for job in known] == [7200.0, 4100.0, 4100.0]
    path.write_text("arrival,length,cpus\n")
    with pytest.raises(ReplayInputError, match="arrival_time: is missing"):
        gaia.read(path, start_at=START_AT, exact=True)


def test_ticks_by_hand() -> None:
    # 100 g/kWh, then 300, then 200: two CPUs for an hour and a half from half past.
    task = a_task(0, 0, HOUR * 3 // 2, cpus=2)
    case = a_case([10_000, 30_000, 20_000, 20_000], task)
    found = account(case, [Run(task, HOUR // 2, task.length)])
    # 2 × (0.5 h × 0.1 + 1 h × 0.3) kg per CPU-hour at 1 kW.
    assert found.carbon == pytest.approx(2 * (0.05 + 0.3), abs=1e-12)
    assert found.cost == pytest.approx(2 * 1.5 * 0.0624)
    assert found.wait_h == 0.5
    split = [Run(task, 0, HOUR), Run(task, 2 * HOUR, HOUR // 2)]
    assert account(case, split).carbon == pytest.approx(2 * (0.1 + 0.1), abs=1e-12)
    assert account(case, split).wait_h == 1.0


def test_reserved_cpus_by_hand() -> None:
    tasks = (a_task(0, 0, HOUR), a_task(1, 0, HOUR), a_task(2, 10, HOUR, cpus=2))
    case = a_case([0] * 6, *tasks)
    # The third needs two at once: at the end of the others they are not free before the next tick.
    for start, bought in ((10, 2.0), (HOUR, 2.0), (HOUR + 1, 0.0)):
        runs = [Run(tasks[0], 0, HOUR), Run(tasks[1], 0, HOUR), Run(tasks[2], start, HOUR)]
        found = account(case, runs, reserved=2)
        assert found.on_demand_cpu_h == bought
        assert found.cost == pytest.approx(0.0624 * (bought + 0.4 * 2 * start / HOUR))


@pytest.mark.parametrize(
    "runs",
    [
        lambda task: [Run(task, 0, HOUR)],
        lambda task: [Run(task, 20, HOUR), Run(task, 20 + HOUR, 1)],
        lambda task: [Run(task, 11 + 2 * HOUR, HOUR)],
        lambda task: [],
    ],
)
def test_an_illegal_schedule_is_refused(runs: object) -> None:
    task = a_task(0, 10, HOUR)
    assert callable(runs)
    with pytest.raises(ValueError, match="task 0 runs"):
        account(a_case([0] * 6, task), [*runs(task)])


@pytest.fixture(scope="module")
def case() -> Case:
    return rules.load()


WITHOUT_RESERVED = {
    "NoWait": policies.no_wait,
    "Lowest-Slot": policies.lowest_slot,
    "Lowest-Window (average length)": policies.lowest_window(exact=False),
    "Lowest-Window (exact length)": policies.lowest_window(exact=True),
    "Carbon-Time (average length)": policies.carbon_time(exact=False),
    "Carbon-Time (exact length)": policies.carbon_time(exact=True),
}


def test_published_rows_to_six_digits(case: Case) -> None:
    base = account(case, policies.in_one_run(case, policies.no_wait))
    assert base.carbon == pytest.approx(published.BASE_CARBON, abs=5e-6)
    assert base.cost == pytest.approx(published.BASE_COST, abs=5e-6)
    for row in published.PUBLISHED:
        if row.reserved == 0 and row.policy in WITHOUT_RESERVED:
            runs = policies.in_one_run(case, WITHOUT_RESERVED[row.policy])
            found = account(case, runs)
            assert found.carbon / base.carbon == pytest.approx(row.carbon, abs=6e-7), row.policy
            assert found.wait_h == pytest.approx(row.wait_h, abs=6e-4), row.policy
        if row.policy in {"Ecovisor", "Wait AWhile"}:
            way = policies.ecovisor if row.policy == "Ecovisor" else policies.wait_awhile
            found = account(case, [run for task in case.tasks for run in way(case, task)])
            assert found.carbon / base.carbon == pytest.approx(row.carbon, abs=6e-7), row.policy


def test_a_published_row_with_reserved_cpus(case: Case) -> None:
    runs = policies.in_one_run(case, policies.carbon_time(exact=False), 9, early=True)
    found = account(case, runs, 9)
    assert found.carbon / published.BASE_CARBON == pytest.approx(0.854406, abs=6e-7)
    assert found.cost / published.BASE_COST == pytest.approx(0.713684, abs=6e-7)
    assert found.wait_h == pytest.approx(2.644, abs=6e-4)


def test_known_bounds_to_four_digits(case: Case) -> None:
    found = [bounds.uninterrupted(case, ticks) for ticks in (1, HOUR // 4, HOUR)]
    assert found == pytest.approx([344.0284, 345.1300, 347.2793], abs=6e-5)
    assert bounds.interrupted(case) == pytest.approx(307.0558, abs=6e-5)


def test_our_planner_finds_the_best_quarter_hours(case: Case) -> None:
    """Of every fourth task, to save time: the sum of the optima, to the last digit."""
    part = Case(case.tasks[::4], case.intensity)
    found = account(part, planned(part, exact=True))
    assert found.carbon == pytest.approx(bounds.uninterrupted(part, HOUR // 4), rel=1e-9)


def test_a_whole_replay_starts_at_quarter_hours_and_at_what_happens(case: Case) -> None:
    part = Case(case.tasks[::40], case.intensity)
    found = account(part, replayed(part, exact=True))
    least, most = bounds.uninterrupted(part), bounds.uninterrupted(part, HOUR // 4)
    assert least <= found.carbon <= most * (1 + 1e-9)


@st.composite
def small_cases(draw: st.DrawFn) -> Case:
    """Up to three short tasks of whole quarter hours: few enough to try every schedule."""
    hourly = draw(st.lists(st.integers(0, 50_000), min_size=8, max_size=8))
    tasks = [
        a_task(
            id_,
            draw(st.integers(0, 4)) * (HOUR // 4),
            draw(st.integers(1, 6)) * (HOUR // 4),
            cpus=draw(st.integers(1, 3)),
            wait=draw(st.integers(0, 3)) * (HOUR // 4),
        )
        for id_ in range(draw(st.integers(1, 3)))
    ]
    return a_case(hourly, *tasks)


@settings(max_examples=25, deadline=None)
@given(small_cases(), st.integers(1, 4), st.sampled_from([0.2, 1.0, 4.0]))
def test_no_schedule_is_below_the_lines(case: Case, count: int, price: float) -> None:
    base = account(case, policies.in_one_run(case, policies.no_wait))
    base_carbon = max(base.carbon, 1.0)
    (line,) = reserved.enclosing_lines(case, base_carbon, count, [price])
    quarter = HOUR // 4
    choices = [
        range(task.arrival, task.arrival + task.wait_most + 1, quarter) for task in case.tasks
    ]
    for starts in itertools.product(*choices):
        runs = [Run(t, s, t.length) for t, s in zip(case.tasks, starts, strict=True)]
        found = account(case, runs, count)
        relative = found.carbon / base_carbon + price * found.cost / base.cost
        assert relative >= line.least - 1e-9
    total = sum(case.carbon(task, task.arrival) for task in case.tasks) / UNIT
    assert total == pytest.approx(base.carbon)


def test_the_line_is_tight_where_one_of_two_jobs_must_buy() -> None:
    """Both run at once, one of them on demand: all of the carbon at half of the cost."""
    case = a_case([10_000] * 4, a_task(0, 0, HOUR, wait=0), a_task(1, 0, HOUR, wait=0))
    base = account(case, policies.in_one_run(case, policies.no_wait))
    (line,) = reserved.enclosing_lines(case, base.carbon, 1, [1.0])
    assert line.least == pytest.approx(1.5, abs=5e-3)
    assert line.least <= 1.5 + 1e-9
    assert line.least_carbon(0.5) == pytest.approx(1.0, abs=5e-3)
    assert line.least_cost(1.0) == pytest.approx(0.5, abs=5e-3)


def test_a_clairvoyant_schedule_is_legal_and_near_its_bound(case: Case) -> None:
    part = Case(case.tasks[:150], case.intensity)
    base = account(part, policies.in_one_run(part, policies.no_wait))
    last = max(task.arrival for task in part.tasks) + 6 * HOUR
    starts = reserved.corners(part, base.carbon, last)
    least, prices = reserved.bound(
        starts,
        reserved=4,
        price=1.0,
        earliest_last=last - 6 * HOUR,
        prices=np.full(reserved.quarters_of(part), 0.9),
        steps=60,
    )
    aim = Aim(base_carbon=base.carbon, reserved=4, price=1.0, last=last)
    found = account(part, schedule(part, aim, prices), 4)
    reached = found.carbon / base.carbon + found.cost / base.cost
    assert least <= reached <= least * 1.15
