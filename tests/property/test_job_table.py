"""What is kept of jobs from round to round changes nothing, and what is read of explanations last
is the same as what is read first."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.planner.pipeline import plan_round
from scheduler.planner.plan import Verdict
from scheduler.planner.snapshot import PlannedStart
from scheduler.planner.table import JobTable
from tests.property.test_planner_legal import CHEAP, worlds
from tests.scenario.world import World


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), worlds(), st.integers(0, 5))
def test_a_table_with_other_jobs_in_it_changes_nothing(one: World, other: World, n: int) -> None:
    table = JobTable()
    plan_round(other.snapshot(), CHEAP, table=table)
    snapshot = one.snapshot()
    first = plan_round(snapshot, CHEAP, table=table)
    assert first.plan == plan_round(snapshot, CHEAP).plan
    planned = {
        p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at) for p in first.plan.placements
    }
    jobs = snapshot.jobs[n:]
    again = replace(snapshot, jobs=jobs, previous=planned, prices=first.prices)
    assert plan_round(again, CHEAP, table=table).plan == plan_round(again, CHEAP).plan


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.randoms(use_true_random=False))
def test_explanations_may_be_read_in_any_order(world: World, random: object) -> None:
    snapshot = world.snapshot()
    plan, other = plan_round(snapshot, CHEAP).plan, plan_round(snapshot, CHEAP).plan
    told = [*plan.explanations]
    order = list(range(len(told)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert [other.explanations[i] for i in order] == [told[i] for i in order]
    assert [*plan.verdicts] == [Verdict(e.job_id, e.outcome, e.reason.code) for e in told]
