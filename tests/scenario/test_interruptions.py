"""Who has to give way, who moves, and who does neither."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.base import Policy
from policies.scene import Scene
from policies.weights import Weights
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import DataInput, GreenMatching, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner import what_if
from scheduler.planner.candidates import Candidates, find_candidates
from scheduler.planner.plan import InterruptionKind
from scheduler.planner.snapshot import Claim
from tests.scenario.world import NOON, Planned, World, link, series

PREEMPT, MIGRATE = InterruptionKind.PREEMPT, InterruptionKind.MIGRATE


def two_full_nodes(**later: object) -> World:
    """Two nodes full for five hours, one of a job whose restart is dear."""
    world = World().hub("qingyang", nodes=2)
    world.busy("qingyang-0", gpus=8, minutes=300, name="dear", interruptible=True, restart_s=900.0)
    return world.busy("qingyang-1", gpus=8, minutes=300, name="cheap", **later)  # type: ignore[arg-type]


def stopped_for(planned: Planned, job_id: str) -> set[str]:
    return {i.job_id for i in planned.plan.interruptions if i.for_job == job_id}


def test_an_urgent_gang_preempts_exactly_the_cheaper_of_two() -> None:
    world = two_full_nodes(interruptible=True, restart_s=60.0)
    planned = world.job("urgent", gpus=8, priority=10).plan()
    assert set(planned.stopped(PREEMPT)) == {"cheap"}
    stop = planned.stopped(PREEMPT)["cheap"]
    assert stop.for_job == "urgent"
    assert stop.gain_yuan > stop.cost_yuan > 1.0
    assert stop.reason.code is ReasonCode.PREEMPTED
    assert "Gave way at qingyang/A800 to urgent (priority 10)" in stop.reason.message
    why = planned.why("urgent")
    assert why.reason.code is ReasonCode.CAPACITY
    assert why.reason.message.endswith("qingyang/A800: cheap-1 must stop within 5 s.")


def test_of_a_node_that_has_less_than_runs_there_as_much_more_must_stop() -> None:
    """Eight accelerators are held of a node that has six by now."""
    world = World().hub("qingyang", gpus=6)
    for n in range(4):
        world.busy("qingyang-0", gpus=2, minutes=300, name=f"small{n}", interruptible=True)
    stopped = stopped_for(world.job("urgent", gpus=2, priority=10).plan(), "urgent")
    assert len(stopped) == 2


def test_what_is_not_interruptible_is_never_stopped() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=8, minutes=300)
    assert world.job("urgent", gpus=8, priority=1000).plan().plan.interruptions == ()


@pytest.mark.parametrize(("running", "waiting"), [(0, 0), (5, 5), (7, 5)])
def test_equals_and_betters_are_never_stopped(running: int, waiting: int) -> None:
    world = World().hub("qingyang")
    world.busy("qingyang-0", gpus=8, minutes=300, interruptible=True, priority=running)
    assert world.job("job", gpus=8, priority=waiting).plan().plan.interruptions == ()


def test_of_equally_dear_runs_the_lowest_priority_goes() -> None:
    world = World().hub("qingyang", nodes=3)
    for n, priority in enumerate((3, 1, 2)):
        world.busy(
            f"qingyang-{n}",
            gpus=8,
            minutes=300,
            name=f"p{priority}",
            interruptible=True,
            priority=priority,
        )
    assert stopped_for(world.job("urgent", gpus=8, priority=9).plan(), "urgent") == {"p1"}


def test_no_more_is_stopped_than_is_needed_beside_what_is_free() -> None:
    world = World().hub("qingyang", nodes=2)
    for n in range(3):
        world.busy("qingyang-0", gpus=2, minutes=300, name=f"small{n}", interruptible=True)
    world.busy("qingyang-1", gpus=8, minutes=300, name="big", interruptible=True)
    # Two of eight are free on the first node.
    planned = world.job("urgent", gpus=4, priority=10).plan()
    assert stopped_for(planned, "urgent") == {"small0"}
    world.jobs.clear()
    planned = world.job("bigger", gpus=6, priority=10).plan()
    assert stopped_for(planned, "bigger") == {"small0", "small1"}


def test_room_that_is_about_to_be_free_is_waited_for() -> None:
    world = two_full_nodes(interruptible=True, restart_s=60.0, state=JobState.PREEMPTING)
    leaving = replace(world.running[1], expected_end_at=NOON + timedelta(seconds=4))
    world.running[1] = leaving
    planned = world.job("urgent", gpus=8, priority=10).plan()
    assert planned.plan.interruptions == ()
    assert "Room for it is being made" in planned.why("urgent").reason.message
    # A second one finds that room taken.
    planned = world.job("second", gpus=8, priority=9).plan()
    assert stopped_for(planned, "second") == {"dear"}


def test_two_that_wait_do_not_share_one_victim() -> None:
    world = two_full_nodes(interruptible=True)
    planned = world.job("urgent", count=2, gpus=8, priority=10).plan()
    assert {i.for_job for i in planned.plan.interruptions} == {"urgent-0", "urgent-1"}
    assert {i.job_id for i in planned.plan.interruptions} == {"cheap", "dear"}


def test_a_short_wait_is_not_worth_a_restart() -> None:
    world = World().hub("qingyang")
    world.busy("qingyang-0", gpus=8, minutes=10, interruptible=True, restart_s=3600.0)
    assert world.job("job", gpus=8, minutes=15, priority=1).plan().plan.interruptions == ()


def test_a_job_that_waits_for_cheap_hours_stops_nobody() -> None:
    world = World().hub("qingyang", price=[0.6] * 8 + [0.2] * 16, nodes=2)
    world.busy("qingyang-0", gpus=8, minutes=300, interruptible=True)
    planned = world.job("job", gpus=8, priority=10, delay_minutes=240).plan()
    assert planned.why("job").reason.code is ReasonCode.WAITING_FOR_CHEAPER
    assert planned.plan.interruptions == ()


def test_a_job_that_power_keeps_waiting_stops_nobody() -> None:
    world = World().hub("qingyang", nodes=2, power_cap_kw=5.0)
    world.busy("qingyang-0", gpus=8, minutes=300, interruptible=True)
    assert world.job("job", gpus=4, priority=10).plan().plan.interruptions == ()


def test_a_gang_over_two_nodes_has_both_freed() -> None:
    world = World().hub("qingyang", nodes=3)
    for n in range(3):
        world.busy(f"qingyang-{n}", gpus=8, minutes=300, name=f"run{n}", interruptible=n != 1)
    planned = world.job("gang", gpus=8, workers=2, priority=10).plan()
    assert stopped_for(planned, "gang") == {"run0", "run2"}


def test_what_was_freed_for_a_job_is_not_given_to_a_lesser_one() -> None:
    world = World().hub("qingyang").job("victim", gpus=8, minutes=10)
    claim = Claim("urgent", 10, "qingyang", "A800", NOON + timedelta(minutes=15))
    assert world.plan().placed("victim").now
    world.claims.append(claim)
    planned = world.plan()
    assert planned.where() == {"victim": "qingyang 12:15"}
    assert "What is free or becomes so is for urgent" in planned.why("victim").reason.message
    planned = world.job("urgent", gpus=8, priority=10).plan()
    assert planned.placed("urgent").now


def dear_and_green(price: float = 0.2, **running: object) -> World:
    """A run of ten more hours at a dear hub, and a cheaper one that is empty."""
    world = World().hub("qingyang", price=0.6, green_kw=0.0).hub("zhongwei", price=price)
    given = {"minutes": 600.0, "interruptible": True, "gpus": 8, **running}
    return world.busy("qingyang-0", name="run", **given)  # type: ignore[arg-type]


def test_a_run_moves_to_the_greener_hub_when_that_saves_more_than_it_costs() -> None:
    planned = dear_and_green().plan()
    move = planned.stopped(MIGRATE)["run"]
    assert move.place is not None
    assert (move.place.cluster, move.place.accelerator) == ("zhongwei", "A800")
    assert move.place.start_at == NOON + timedelta(seconds=5)
    terms = dict(move.terms)
    # 8 × 0.5 kW × 1.2 × (10 h × 0.6 - 10.1 h × 0.2): a tenth of the hour since the start is lost.
    assert terms["price"] == pytest.approx(4.8 * (10 * 0.6 - 10.1 * 0.2))
    assert terms["nongreen"] == pytest.approx(4.8 * 10 * 0.05)
    assert move.cost_yuan == pytest.approx(1 + 10 * 8 * (5 + 360) / 3600)
    assert "saves 21." in move.reason.message


@pytest.mark.parametrize(
    ("price", "running"),
    [
        (0.55, {}),
        (0.2, {"restart_s": 7200.0}),
        (0.2, {"interruptible": False}),
        (0.2, {"ran_minutes": 10.0}),
        (0.2, {"minutes": 30.0}),
        (0.2, {"state": JobState.ASSIGNED}),
        (0.2, {"must_be_in": ("qingyang",)}),
        (0.2, {"models": {"H800": 1.0, "A800": 1.0}, "deadline_minutes": 601.0}),
    ],
)
def test_a_run_stays_where_moving_costs_more_or_is_not_allowed(
    price: float, running: dict[str, object]
) -> None:
    assert dear_and_green(price, **running).plan().plan.interruptions == ()


def test_a_run_does_not_move_to_a_place_that_the_plan_needs() -> None:
    world = dear_and_green().job("job", gpus=8, minutes=300)
    planned = world.plan()
    assert planned.where() == {"job": "zhongwei 12:00"}
    assert planned.plan.interruptions == ()


def test_where_the_plan_leaves_no_room_no_move_is_looked_at_closely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = []

    def look(scene: Scene, policies: tuple[Policy, ...]) -> Candidates:
        looked_at.append(len(scene.classes))
        return find_candidates(scene, policies)

    monkeypatch.setattr(what_if, "find_candidates", look)
    full = dear_and_green().job("job", gpus=1, minutes=300)
    full.now_at = NOON + timedelta(minutes=5)  # not when runs are looked at for a pause
    assert full.plan().plan.interruptions == ()
    assert looked_at == []
    # What ends before the run would come does not stand in its way.
    patient = dear_and_green(0.05, minutes=1200.0, stop_grace_s=1000.0)
    assert patient.job("job", gpus=1, minutes=10).plan().stopped(MIGRATE)
    assert len(looked_at) == 1


def test_what_moving_data_costs_counts() -> None:
    def world(yuan_per_gb: float) -> World:
        made = World().hub("qingyang", price=0.6)
        made.hub("zhongwei", price=0.2, links=(link("qingyang", 10.0, yuan_per_gb),))
        data = (DataInput(100.0, "qingyang"),)
        return made.busy("qingyang-0", gpus=8, minutes=600, interruptible=True, data=data)

    assert len(world(0.01).plan().plan.interruptions) == 1
    assert world(0.2).plan().plan.interruptions == ()


def test_prices_that_alternate_move_nothing() -> None:
    low_high = [0.1, 0.7] * 40
    world = World().hub("qingyang", price=[0.7, 0.1] * 40).hub("zhongwei", price=low_high)
    world.busy("qingyang-0", gpus=8, minutes=600, interruptible=True)
    for quarter in range(8):
        world.now_at = NOON + timedelta(minutes=15 * quarter)
        assert world.plan().plan.interruptions == ()


def test_a_move_is_not_taken_back() -> None:
    """The forecast that has moved a run turns round: nothing before a slot has passed, and then
    only what is worth another move."""
    world = dear_and_green(0.2).plan()
    move = world.stopped(MIGRATE)["run"]
    assert move.place is not None
    after = World().hub("qingyang", price=0.55).hub("zhongwei", price=0.6)
    after.busy("zhongwei-0", gpus=8, minutes=600, ran_minutes=20.0, interruptible=True)
    assert after.plan().plan.interruptions == ()


def test_a_price_step_moves_a_few_at_a_time() -> None:
    world = World().hub("qingyang", price=0.9, nodes=10).hub("zhongwei", price=0.1, nodes=10)
    for n in range(10):
        world.busy(f"qingyang-{n}", gpus=8, minutes=600, name=f"run{n}", interruptible=True)
    planned = world.plan()
    assert len(planned.stopped(MIGRATE)) == Weights().moves_most
    first = world.running[0]
    world.running[0] = replace(
        first, state=JobState.PREEMPTING, expected_end_at=NOON + timedelta(seconds=3)
    )
    assert world.plan().plan.interruptions == (), "those under way are waited for"


def test_green_that_only_the_moved_run_would_use_counts_once() -> None:
    # 5 kW of green supply for two runs of 4.8 kW: the second one to move finds none.
    world = World().hub("qingyang", price=0.4, nodes=2, green_kw=0.0)
    world.hub("zhongwei", price=0.395, nodes=2, green_kw=5.0)
    for n in range(2):
        world.busy(
            f"qingyang-{n}",
            gpus=8,
            minutes=1200,
            ran_minutes=15.0,
            name=f"run{n}",
            interruptible=True,
        )
    planned = world.plan(weights=Weights(nongreen_yuan_per_kwh=0.1))
    assert len(planned.stopped(MIGRATE)) == 1


def test_a_move_takes_no_green_supply_that_the_plan_holds_in_another_way() -> None:
    # Of 10 kW the plan's jobs hold 9.6 over their runs; the run would hold 1.2 slot by slot.
    world = dear_and_green(0.1, gpus=2, min_green_share=1.0).hub("zhongwei", nodes=2)
    for name, kw in (("qingyang", 1000.0), ("zhongwei", 10.0)):
        world.sites[name] = replace(world.sites[name], green_supply_kw=series(kw))
    matching = GreenMatching.RUN
    green = {"min_green_share": 1.0, "green_matching": matching, "must_be_in": ("zhongwei",)}
    planned = world.job("job", count=2, gpus=8, minutes=600, **green).plan()
    assert [p.now for p in planned.plan.placements] == [True, True]
    assert planned.plan.interruptions == ()
    world.jobs.pop()
    assert world.plan().stopped(MIGRATE), "with one job less there is enough for both"


def test_what_is_told_of_a_placement_counts_on_what_moves_beside_it() -> None:
    # 5 kW of green supply: the job had it for itself, until a run of 4.8 kW moves to it.
    world = dear_and_green(0.1).hub("zhongwei")
    world.sites["zhongwei"] = replace(world.sites["zhongwei"], green_supply_kw=series(5.0))
    planned = world.job("job", gpus=8, minutes=60, must_be_in=("zhongwei",)).plan()
    [moves] = planned.plan.interruptions
    assert moves.place is not None
    placement, why = planned.placed("job"), planned.why("job")
    assert placement.now
    assert 0.5 < placement.green_kwh / placement.energy_kwh < 0.6
    [told] = [one for one in why.candidates if one.chosen]
    assert told.green_share == pytest.approx(placement.green_kwh / placement.energy_kwh)
    assert why.saving is not None
    for carbon_kg in (told.carbon_kg, why.saving.carbon_kg):
        assert carbon_kg == pytest.approx(placement.carbon_kg)
    # Each kWh of the first hour is green once; later the run has the supply for itself.
    later_kwh = (moves.place.end_at - placement.end_at).total_seconds() / 3600 * 4.8
    assert placement.green_kwh + moves.place.green_kwh - later_kwh == pytest.approx(5.0)


def test_a_resumed_job_is_planned_with_what_is_left_of_it() -> None:
    world = World().hub("qingyang", price=0.2).hub("zhongwei", price=0.8, gpus=4)
    world.job("resumed", minutes=120, done_minutes=90, restart_s=60.0, interruptible=True)
    world.job("overdone", minutes=100, done_minutes=200)
    planned = world.plan()
    assert planned.placed("resumed").end_at == NOON + timedelta(minutes=31)
    assert planned.placed("overdone").end_at == NOON + timedelta(minutes=5)


def test_a_stopped_job_is_told_why() -> None:
    world = World().hub("qingyang").job("job", gpus=8)
    stopped = Reason(ReasonCode.PREEMPTED, "Gave way to another")
    world.jobs[0] = replace(world.jobs[0], stopped=stopped)
    why = world.plan().why("job")
    assert why.outcome is Outcome.PLACED
    assert why.reason.message.endswith("Stopped before: Gave way to another.")


def test_over_two_days_of_tariffs_that_take_turns_moving_pays_and_is_rare() -> None:
    """A run of 40 hours, looked at every quarter of an hour, between two hubs with half-days of
    valley and peak in turn: each move is made as planned, and what was paid in all is compared."""
    valley, peak = [0.2] * 48, [0.9] * 48
    prices = {"qingyang": (valley + peak) * 4, "zhongwei": (peak + valley) * 4}
    where, started, left, paid, moves = "zhongwei", -60.0, 2400.0, 0.0, 0
    for quarter in range(4 * 45):
        minute = 15.0 * quarter
        if left <= 0:
            break
        world = World(now_at=NOON + timedelta(minutes=minute))
        for name, price in prices.items():
            world.hub(name, price=price)
        world.busy(
            f"{where}-0",
            gpus=8,
            minutes=minute + left,
            ran_minutes=-started,
            name="run",
            interruptible=True,
            restart_s=300.0,
            checkpoint_interval_s=900.0,
        )
        found = world.plan().plan.interruptions
        if found:
            assert found[0].place is not None
            assert minute - started >= 15.0
            where, started, moves = found[0].place.cluster, minute, moves + 1
            left += 5.0
            paid += found[0].cost_yuan
        paid += 4.8 * prices[where][quarter] * min(left, 15.0) / 60
        left -= 15.0
    stays = sum(4.8 * price / 4 for price in prices["zhongwei"][:160])
    assert 1 <= moves <= 4
    assert paid < stays
