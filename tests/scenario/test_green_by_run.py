"""Jobs whose green share holds over the run as a whole: the green energy first."""

from dataclasses import replace

import pytest

from scheduler.checker import check
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import GreenMatching
from scheduler.domain.reason import ReasonCode
from scheduler.planner.pipeline import plan
from tests.scenario.world import World

RUN = GreenMatching.RUN
# 8 × 0.5 × 1.2 kW.
LOAD_KW = 4.8


def test_a_run_into_the_night_is_green_over_the_whole() -> None:
    def world(matching: GreenMatching) -> World:
        made = World().hub("qingyang", green_kw=[5.0] * 8 + [0.0] * 16)
        return made.job("job", gpus=8, minutes=180, min_green_share=0.5, green_matching=matching)

    assert world(GreenMatching.SLOT).plan().of("job") is None
    planned = world(RUN).plan()
    placement = planned.placed("job")
    assert placement.now
    # Green for all of the two sunny hours: the first 99 minutes are held, the rest is left over.
    assert placement.green_kwh == pytest.approx(2 * LOAD_KW)
    assert placement.green_held_kw == pytest.approx(LOAD_KW)
    assert placement.green_kwh >= 0.5 * placement.energy_kwh


def test_no_green_kwh_is_promised_twice() -> None:
    # 4 hours; each run takes all of 4.8 kW for 1.1 × 0.5 × 60 = 33 minutes: three slots.
    world = World().hub("qingyang", nodes=3, green_kw=[5.0] * 16 + [0.0] * 8)
    world.job("job", count=3, gpus=8, minutes=60, min_green_share=0.5, green_matching=RUN)
    planned = world.plan()
    assert sorted(planned.where().values()) == [
        "qingyang 12:00",
        "qingyang 12:45",
        "qingyang 13:30",
    ]
    why = planned.why(next(j for j, at in planned.where().items() if at.endswith("12:45")))
    assert (why.outcome, why.reason.code) == (Outcome.PLANNED, ReasonCode.WAITING_FOR_GREEN)


def test_a_run_waits_for_the_sun_and_says_how_much_it_takes() -> None:
    world = World().hub("qingyang", green_kw=[1.0] * 4 + [9.0] * 20)
    world.job("job", gpus=8, minutes=120, min_green_share=0.25, green_matching=RUN)
    planned = world.plan()
    assert planned.where() == {"job": "qingyang 13:00"}
    reason = planned.why("job").reason
    assert reason.code is ReasonCode.WAITING_FOR_GREEN
    told = "4.80 kW > 1.00 kW left of the 1.00 kW of green supply at 12:00 UTC"
    assert told in reason.message
    assert "25% in all, the run takes green energy alone for its first 33 min" in reason.message


def test_without_enough_sun_there_is_no_place() -> None:
    world = World().hub("qingyang", green_kw=[5.0] * 2 + [1.0] * 22)
    world.job("job", gpus=8, minutes=120, min_green_share=0.5, green_matching=RUN)
    why = world.plan().why("job")
    assert (why.outcome, why.reason.code) == (Outcome.UNPLACED, ReasonCode.GREEN)


@pytest.mark.parametrize(("ran_minutes", "start"), [(10, "12:15"), (60, "12:00")])
def test_what_runs_holds_the_rest_of_its_first_part(ran_minutes: float, start: str) -> None:
    # 30 minutes of 100 are not enough: it is green alone for 1.1 × 0.2 × 100 = 22.
    world = World().hub("qingyang", nodes=2, green_kw=5.0)
    world.busy(
        "qingyang-0",
        gpus=8,
        ran_minutes=ran_minutes,
        minutes=100 - ran_minutes,
        min_green_share=0.2,
        green_matching=RUN,
    )
    world.job("job", gpus=8, minutes=15, min_green_share=0.5, green_matching=RUN)
    assert world.plan().where() == {"job": f"qingyang {start}"}


def test_both_kinds_share_the_supply_as_they_ask_for_it() -> None:
    world = World().hub("qingyang", nodes=4, green_kw=10.0)
    world.job("slot", count=2, gpus=8, minutes=15, min_green_share=1.0)
    world.job("run", count=2, gpus=8, minutes=15, min_green_share=1.0, green_matching=RUN)
    planned = world.plan()
    starts = sorted(planned.where().values())
    assert starts == ["qingyang 12:00"] * 2 + ["qingyang 12:15"] * 2
    now = [p for p in planned.plan.placements if p.now]
    assert sum(p.green_kwh for p in now) == pytest.approx(2 * LOAD_KW / 4)


def _half_and_half(green_kw: float, **run: object) -> World:
    """A small job that matches by the slot, behind one that matches by the run."""
    world = World().hub("qingyang", nodes=2, green_kw=green_kw).hub("horinger", green_kw=0.0)
    given = {"gpus": 8, "min_green_share": 1.0, "green_matching": RUN, **run}
    world.job("run", **given)  # type: ignore[arg-type]
    return world.job("slot", min_green_share=0.9, must_be_in=("qingyang",))


@pytest.mark.parametrize(
    "never",
    [
        {"models": {"910B": 1.0}},
        {"earliest_minutes": 60 * 24},
        {"gpus": 9},
        {"must_be_in": ("horinger",)},
        {"workers": 2, "minutes": 180},
        {"minutes": 60 * 24 * 300},
    ],
)
def test_what_cannot_start_here_takes_no_part_of_the_supply(never: dict[str, object]) -> None:
    # The run job would be first in line for the 5 kW, which are too few for both.
    world = _half_and_half(5.0, **never)
    world.busy("qingyang-0", gpus=4, minutes=600)
    assert world.plan().placed("slot").now


def test_who_asks_for_little_has_it_and_the_other_has_the_rest() -> None:
    # 4.8 kW for each of ten, 0.54 kW: of 11 kW two of the ten and the small one start.
    world = World().hub("qingyang", nodes=20, green_kw=11.0)
    world.job("run", count=10, gpus=8, min_green_share=1.0, green_matching=RUN)
    world.job("slot", min_green_share=0.9)
    started = [p.job_id.split("-")[0] for p in world.plan().plan.placements if p.now]
    assert sorted(started) == ["run", "run", "slot"]


def test_a_part_that_holds_no_job_of_its_kind_goes_to_the_other() -> None:
    # Halves of 8 kW are too small for 4.8, not for 2.4; of 5 kW there is enough for one alone.
    world = World().hub("qingyang", nodes=9, green_kw=8.0)
    world.job("run", count=4, gpus=8, min_green_share=1.0, green_matching=RUN)
    world.job("slot", count=4, gpus=4, min_green_share=1.0)
    assert [p.job_id.split("-")[0] for p in world.plan().plan.placements if p.now] == [
        "run",
        "slot",
    ]
    for first, starts in ((0, "run"), (5, "slot")):
        world = _half_and_half(5.0)
        world.jobs[1] = replace(world.jobs[1], spec=replace(world.jobs[1].spec, priority=first))
        planned = world.plan()
        assert [p.job_id for p in planned.plan.placements if p.now] == [starts]
    [told] = [c.reason.message for c in planned.why("run").candidates if c.cluster == "qingyang"]
    assert "0.00 kW left of the 5.00 kW" in told
    assert ", 5.00 kW set apart for jobs that match by the slot: to be green to 100%" in told


def test_a_first_part_that_lasts_too_long_is_told_as_such() -> None:
    world = World().hub("qingyang").job("job", minutes=60 * 24 * 300, min_green_share=1.0)
    world.jobs[0] = replace(world.jobs[0], spec=replace(world.jobs[0].spec, green_matching=RUN))
    reason = world.plan().why("job").reason
    assert reason.code is ReasonCode.GREEN
    assert "its first 432000 min; begun at 12:00 UTC, these last beyond 2026-" in reason.message


def test_what_may_not_start_yet_is_told_so() -> None:
    world = World().hub("qingyang")
    world.job("job", earliest_minutes=60 * 24, min_green_share=1.0, green_matching=RUN)
    assert world.plan().why("job").reason.code is ReasonCode.NOT_YET


def test_a_varying_pue_is_held_for() -> None:
    pue = [1.0] * 4 + [1.5] * 20
    world = World().hub("qingyang", green_kw=[8.0] * 10 + [0.0] * 14, pue=pue)
    world.job("job", gpus=8, minutes=240, min_green_share=0.4, green_matching=RUN)
    placement = world.plan().placed("job")
    # 40 % of the time would be 96 minutes; × 1.5 it is 144, 4 kW × 1 h + 6 kW × 1.4 h.
    assert placement.green_kwh >= 0.4 * placement.energy_kwh
    assert placement.green_kwh == pytest.approx(4.0 + 6.0 * 1.5)


def test_the_checker_finds_its_own_way_to_share_the_supply() -> None:
    world = World().hub("qingyang", nodes=2, green_kw=5.0)
    world.job("job", count=2, gpus=8, minutes=60, min_green_share=0.5, green_matching=RUN)
    made = plan(world.snapshot())
    assert check(world.snapshot(), made) == []
    # Half of the supply is enough for both if each takes it evenly; a bit less is not.
    site = world.sites["qingyang"]
    for kw, found in ((4.0, []), (2.0, ["green kWh held over whole runs"])):
        scarce = replace(site.green_supply_kw, values=(kw,))
        world.sites["qingyang"] = replace(site, green_supply_kw=scarce)
        told = [t for t in check(world.snapshot(), made) if "whole runs" in t]
        assert len(told) == len(found)
        assert all(words in told[0] for words in found)
    world.sites["qingyang"] = site
    [first, *rest] = made.placements
    less = replace(made, placements=(first._replace(green_kwh=1.0), *rest))
    assert any("1.0 green kWh < 2.4 kWh of its run" in t for t in check(world.snapshot(), less))


def test_with_no_place_at_all_nothing_breaks() -> None:
    world = World().hub("qingyang", rtt_ms=40)
    world.job("job", max_rtt_ms=1, min_green_share=0.5, green_matching=RUN)
    assert world.plan().why("job").reason.code is ReasonCode.LATENCY
