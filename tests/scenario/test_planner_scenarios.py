"""What an operator expects of the planner, told as small worlds."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.checker import check
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import DataInput, GreenMatching
from scheduler.domain.reason import ReasonCode
from scheduler.planner.pipeline import plan
from scheduler.planner.snapshot import PlannedStart
from tests.scenario.world import NOON, World, link


def test_two_hubs_one_full_three_jobs_go_to_the_other() -> None:
    world = World().hub("qingyang", price=0.2).hub("horinger", price=0.5)
    world.busy("qingyang-0", gpus=8, minutes=300).job("job", count=3, region="shanghai")
    planned = world.plan()
    assert set(planned.where().values()) == {"horinger 12:00"}
    losers = {c.cluster: c.reason.code for c in planned.why("job-0").candidates}
    assert losers["qingyang"] is ReasonCode.DEARER  # it could wait there until 17:00


def test_nothing_reported_yet() -> None:
    why = World().job("job").plan().why("job")
    assert (why.outcome, why.reason.code) == (Outcome.UNPLACED, ReasonCode.NO_CLUSTER)


def test_a_latency_bound_job_goes_to_the_only_near_hub() -> None:
    world = World().hub("qingyang", rtt_ms=31.2, price=0.1).hub("horinger", rtt_ms=8, price=0.9)
    planned = world.job("job", max_rtt_ms=20).plan()
    assert planned.placed("job").cluster == "horinger"
    loser = planned.why("job").candidates[-1]
    assert loser.reason.code is ReasonCode.LATENCY
    assert "31.2 ms > 20 ms" in loser.reason.message


def test_the_nearest_pool_gives_the_dominant_reason() -> None:
    world = World().hub("qingyang", rtt_ms=31).hub("horinger", rtt_ms=8, green_kw=0.1)
    why = world.job("job", max_rtt_ms=20, min_green_share=0.9).plan().why("job")
    assert why.reason.code is ReasonCode.GREEN
    assert "LATENCY 1, GREEN 1" in why.reason.message


def test_of_pools_that_are_all_too_far_the_nearest_is_told_of() -> None:
    world = World().hub("horinger", rtt_ms=31).hub("qingyang", rtt_ms=15).hub("zhongwei", rtt_ms=21)
    why = world.job("job", max_rtt_ms=4).plan().why("job")
    assert why.reason.message.startswith("qingyang/A800: 15.0 ms > 4 ms")


def test_small_figures_are_told_without_powers_of_ten() -> None:
    why = (
        World()
        .hub("qingyang")
        .hub("horinger", price=0.5)
        .job("job", minutes=0.005)
        .plan()
        .why("job")
    )
    told = why.reason.message
    assert "0.00005 kWh" in told
    assert "0.00002 yuan in all, 0.000005 yuan less" in told


def test_a_deferrable_job_waits_for_the_cheap_hours() -> None:
    world = World().hub("qingyang", price=[0.597] * 8 + [0.199] * 16)
    planned = world.job("job", gpus=8, delay_minutes=240, minutes=60).plan()
    assert planned.where() == {"job": "qingyang 14:00"}
    why = planned.why("job")
    assert (why.outcome, why.reason.code) == (Outcome.PLANNED, ReasonCode.WAITING_FOR_CHEAPER)
    assert "14:00 UTC at qingyang/A800, at 0.199 yuan/kWh instead of now" in why.reason.message
    assert "saves 1.75 yuan" in why.reason.message  # 4.8 kWh × 0.398 - 16 GPU-hours × 0.01


def test_a_job_that_may_not_wait_starts_at_once_at_any_price() -> None:
    world = World().hub("qingyang", price=[2.0] * 8 + [0.01] * 16)
    planned = world.job("job", gpus=8).plan()
    assert planned.placed("job").now


def test_a_deferrable_job_waits_for_green_power() -> None:
    world = World().hub("qingyang", green_kw=[0.0] * 4 + [50.0] * 20)
    why = world.job("job", gpus=8, delay_minutes=240).plan().why("job")
    assert why.reason.code is ReasonCode.WAITING_FOR_GREEN
    assert "13:00" in why.reason.message


def test_a_green_bound_job_waits_for_its_share() -> None:
    world = World().hub("qingyang", green_kw=[0.0] * 4 + [50.0] * 20)
    why = world.job("job", min_green_share=0.8).plan().why("job")
    assert (why.outcome, why.reason.code) == (Outcome.PLANNED, ReasonCode.WAITING_FOR_GREEN)
    assert "0.48 kW > 0.00 kW" in why.reason.message


def test_no_green_kwh_is_promised_twice() -> None:
    # Each job draws 8 × 0.5 × 1.2 = 4.8 kW and wants half of it green; 5 kW hold two of them.
    world = World().hub("qingyang", nodes=3, green_kw=5.0)
    world.job("job", count=3, gpus=8, min_green_share=0.5, minutes=15)
    planned = world.plan()
    starts = sorted(p.start_at for p in planned.plan.placements)
    assert starts == [NOON, NOON, NOON + timedelta(minutes=15)]
    now = [p for p in planned.plan.placements if p.now]
    assert sum(p.green_kwh for p in now) == pytest.approx(5.0 * 0.25)


def test_what_runs_holds_its_green_share() -> None:
    world = World().hub("qingyang", nodes=2, green_kw=5.0)
    world.busy("qingyang-0", gpus=8, min_green_share=1.0, minutes=60)
    why = world.job("job", gpus=8, min_green_share=0.5).plan().why("job")
    assert (why.outcome, why.reason.code) == (Outcome.PLANNED, ReasonCode.WAITING_FOR_GREEN)


def test_the_power_cap_counts_what_runs() -> None:
    world = World().hub("qingyang", nodes=2, power_cap_kw=5.0)
    planned = world.busy("qingyang-0", gpus=8, minutes=30).job("job", gpus=4).plan()
    assert planned.where() == {"job": "qingyang 12:30"}
    assert planned.why("job").reason.code is ReasonCode.POWER_CAP


@pytest.mark.parametrize("matching", list(GreenMatching))
@pytest.mark.parametrize("model", ["A800", "910B"])
def test_what_runs_on_a_node_that_has_not_reported_yet_draws_power(
    model: str, matching: GreenMatching
) -> None:
    def world(**scarce: Any) -> World:
        made = World().hub("qingyang", model=model, **scarce).hub("qingyang", model="A800")
        made.busy("qingyang-0", gpus=8, min_green_share=1.0, green_matching=matching)
        green = {"min_green_share": 1.0, "green_matching": matching}
        made.job("job", gpus=8, minutes=15, models={"A800": 1.0}, **green)
        del made.nodes[0]
        return made

    for scarce in ({"green_kw": 9.0}, {"power_cap_kw": 9.0}):
        assert world(**scarce).plan().where() == {"job": "qingyang 13:00"}
        seen = world(**scarce).snapshot()
        blind = replace(seen, running=())
        assert any(words.startswith("qingyang") for words in check(seen, plan(blind)))


def test_a_gang_is_not_split_over_the_gaps() -> None:
    world = World().hub("qingyang", nodes=2, gpus=4)
    world.busy("qingyang-0", gpus=2, minutes=20).busy("qingyang-1", gpus=2, minutes=60)
    planned = world.job("gang", gpus=4).plan()
    assert planned.where() == {"gang": "qingyang 12:30"}  # four are free now, two on each node
    assert planned.why("gang").reason.code is ReasonCode.CAPACITY


def test_gangs_that_the_sums_allow_but_no_packing_does() -> None:
    # Two nodes of 4 cores: three workers of 2.5 cores pass the sum (7.5 ≤ 8), but not the nodes.
    world = World(slots=4).hub("qingyang", nodes=2, cpus=4.0)
    world.job("one", cpus=2.5, minutes=10).job("two", cpus=2.5, minutes=11)
    planned = world.job("three", cpus=2.5, minutes=12).plan()
    codes = [e.reason.code for e in planned.plan.explanations if e.outcome is Outcome.PLANNED]
    assert codes == [ReasonCode.GANG_FRAGMENTED]


def test_an_overrunning_attempt_keeps_its_node_for_this_slot() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=8, minutes=-10)
    assert world.job("job").plan().where() == {"job": "qingyang 12:15"}


def test_a_running_attempt_counts_at_a_silent_site_which_gets_nothing_new() -> None:
    world = World().hub("qingyang", reachable=False).busy("qingyang-0", gpus=1)
    why = world.job("job").plan().why("job")
    assert why.reason.code is ReasonCode.CLUSTER_UNREACHABLE


def test_the_more_urgent_goes_first() -> None:
    world = World().hub("qingyang", gpus=1).job("calm", minutes=15)
    planned = world.job("urgent", minutes=15, priority=10).plan()
    assert planned.where() == {"urgent": "qingyang 12:00", "calm": "qingyang 12:15"}
    binding = planned.why("calm").binding
    assert binding[0].name == "capacity/qingyang/A800/2026-11-20T12:00"


def test_a_deadline_overrules_the_cheap_hours() -> None:
    world = World().hub("qingyang", price=[0.6] * 8 + [0.2] * 16)
    world.job("job", delay_minutes=300, deadline_minutes=150, minutes=60)
    assert world.plan().where() == {"job": "qingyang 13:30"}


def test_data_lie_there_already_or_come_over_the_link() -> None:
    def world(province: str) -> World:
        made = World().hub("qingyang", price=0.3, province=province, links=(link("gansu", 1.0),))
        return made.job("job", minutes=10, data=(DataInput(75.0, "gansu"),))

    at_home, far = world("gansu").plan().placed("job"), world("ningxia").plan()
    assert at_home.end_at == NOON + timedelta(minutes=10)
    assert far.placed("job").end_at == NOON + timedelta(minutes=20)  # 75 GB at 1 Gbit/s
    assert dict(far.why("job").candidates[0].terms)["transfer"] == pytest.approx(0.75)


def test_two_transfers_share_a_link_in_turn() -> None:
    world = World().hub("qingyang", links=(link("shanghai", 1.0),))
    world.job("job", count=2, minutes=1, data=(DataInput(100.0, "shanghai"),))  # 13.3 of 15 minutes
    planned = world.plan()
    assert sorted(planned.where().values()) == ["qingyang 12:00", "qingyang 12:15"]
    late = next(e for e in planned.plan.explanations if e.outcome is Outcome.PLANNED)
    assert late.reason.code is ReasonCode.LINK


def test_data_that_would_come_for_more_than_a_year_do_not_come() -> None:
    world = World().hub("qingyang", links=(link("shanghai", 1e-9),))
    reason = world.job("job", data=(DataInput(1e6, "shanghai"),)).plan().why("job").reason
    assert reason.code is ReasonCode.DATA
    assert "1e+06 GB at shanghai (more than a year at 1e-09 Gbit/s)" in reason.message


def test_a_transfer_that_is_under_way_uses_its_link() -> None:
    world = World().hub("qingyang", links=(link("shanghai", 1.0),))
    data = (DataInput(100.0, "shanghai"),)  # 13.3 minutes, of which 8.3 are to come
    world.busy("qingyang-0", ran_minutes=5, gpus=1, data=data)
    world.job("reads", minutes=1, data=data).job("has-all", minutes=1)
    planned = world.plan()
    assert planned.where() == {"reads": "qingyang 12:15", "has-all": "qingyang 12:00"}
    rash = planned.placed("reads")._replace(start_at=NOON, end_at=NOON + timedelta(minutes=14.5))
    others = tuple(p for p in planned.plan.placements if p.job_id != "reads")
    objections = check(world.snapshot(), replace(planned.plan, placements=(*others, rash)))
    assert [o for o in objections if o.startswith("link shanghai-qingyang")]


def test_savings_against_the_origin() -> None:
    world = World().hub("qingyang", price=0.3, green_kw=0.3)
    saving = world.job("job", models={"A800": 2.0}).plan().why("job").saving
    assert saving is not None
    # Half an hour at 0.5 kW: × 1.5 × 0.7 yuan there, × 1.2 × 0.3 here, 0.15 of 0.3 kWh green.
    assert (saving.origin_kwh, saving.kwh) == pytest.approx((0.375, 0.3))
    assert (saving.origin_yuan, saving.yuan) == pytest.approx((0.2625, 0.09))
    assert (saving.origin_carbon_kg, saving.carbon_kg) == pytest.approx((0.225, 0.09))


def test_a_job_starts_in_the_middle_of_a_slot_when_it_is_ready_then() -> None:
    world = World().hub("qingyang").job("job", earliest_minutes=20)
    planned = world.plan()
    assert planned.placed("job").start_at == NOON + timedelta(minutes=20)
    assert planned.why("job").reason.code is ReasonCode.NOT_YET


def test_now_is_in_the_middle_of_a_slot() -> None:
    world = World(now_at=NOON + timedelta(minutes=7)).hub("qingyang", price=[0.2, 0.6, 0.6])
    placement = world.job("job", minutes=16).plan().placed("job")
    assert placement.start_at == NOON + timedelta(minutes=7)
    assert placement.cost_yuan == pytest.approx(0.6 * (8 * 0.2 + 8 * 0.6) / 60)


def test_forecasts_that_are_no_numbers_are_taken_for_the_worst() -> None:
    nan = float("nan")
    world = World().hub("qingyang", price=nan, green_kw=nan).hub("horinger", price=1.9)
    planned = world.job("job").job("green", min_green_share=0.1).plan()
    assert set(planned.where().values()) == {"horinger 12:00"}


def test_a_planned_place_is_kept_unless_another_is_better_by_more_than_changing_costs() -> None:
    def planned(saving: float) -> dict[str, str]:
        world = World().hub("qingyang", price=[0.8] * 8 + [0.4] * 16)
        world.hub("horinger", price=[0.8] * 8 + [0.4 - saving] * 16)
        world.previous["job"] = PlannedStart("qingyang", "A800", NOON + timedelta(hours=2))
        return world.job("job", gpus=8, delay_minutes=240, minutes=60).plan().where()

    # 4.8 kWh; to change the plan costs 8 GPU-hours × 0.02 yuan.
    assert planned(saving=0.01) == {"job": "qingyang 14:00"}
    assert planned(saving=0.05) == {"job": "horinger 14:00"}


def test_room_that_falls_free_now_is_used_whatever_was_planned() -> None:
    world = World().hub("qingyang").job("job", gpus=8, delay_minutes=60)
    world.previous["job"] = PlannedStart("qingyang", "A800", NOON + timedelta(hours=1))
    planned = world.plan()
    assert planned.placed("job").now
