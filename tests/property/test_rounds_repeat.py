"""Whatever a round saw: it survives its file, and is planned again to the last bit."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.planner.pipeline import plan_round
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import PlannedStart
from scheduler.rounds.again import identical, plan_again
from scheduler.rounds.file import from_bytes, to_bytes
from scheduler.rounds.record import recorded
from tests.property.test_planner_legal import CHEAP, worlds
from tests.scenario.world import World

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=8), "CST"), timezone(timedelta(hours=-3.5))])


def _planned(plan: Plan) -> dict[str, PlannedStart]:
    return {p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at) for p in plan.placements}


@pytest.mark.timeout(300)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), ZONES, st.booleans())
def test_a_round_is_planned_again_from_its_file(world: World, zone: timezone, later: bool) -> None:
    snapshot = world.snapshot()
    snapshot = replace(snapshot, now_at=snapshot.now_at.astimezone(zone))
    made = plan_round(snapshot, CHEAP)
    if later:
        snapshot = replace(snapshot, prices=made.prices, previous=_planned(made.plan))
        made = plan_round(snapshot, CHEAP)
    before = recorded(7, snapshot, CHEAP, made.plan)
    data = to_bytes(before)
    read = from_bytes(data)
    # NaN is like nothing, not even itself: what is written is compared.
    assert to_bytes(read) == data
    assert read.plan == before.plan
    assert read.snapshot.now_at.tzname() == snapshot.now_at.tzname()
    assert [*read.snapshot.sites] == [*snapshot.sites]
    assert identical(before, plan_again(read))
