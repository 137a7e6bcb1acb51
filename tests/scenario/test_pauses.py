"""Jobs in several runs, and runs that last longer than expected."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.rules import Rules
from policies.weights import Weights
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import Attempt, AttemptState, Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.pipeline import plan_round
from scheduler.planner.plan import InterruptionKind
from scheduler.planning.values import as_of, running_attempt
from tests.scenario.world import NOON, World, spec_of

CHEAP = Rules(weights=Weights(lost_yuan_per_gpu_hour=0.5, moving_yuan=0.1))
# Two cheap hours, three dear ones, then cheap for good.
PRICES = [0.2] * 8 + [0.9] * 12 + [0.2] * 40
TRAIN = {
    "gpus": 8,
    "minutes": 180.0,
    "delay_minutes": 210.0,
    "interruptible": True,
    "checkpoint_interval_s": 600.0,
    "restart_s": 120.0,
}


def _world(**site: object) -> World:
    return World(slots=40, rules=CHEAP).hub("qingyang", price=PRICES, green_kw=0.0, **site)


def test_a_job_runs_in_the_cheap_hours_and_says_so() -> None:
    planned = _world().job("train", **TRAIN).plan()
    runs = [f"{run.start_at:%H:%M}-{run.end_at:%H:%M}" for run in planned.placed("train").runs]
    assert runs == ["12:00-14:00", "17:00-18:02"]
    told = planned.why("train")
    assert "Runs from 12:00 UTC to 14:00 UTC, pauses until 17:00 UTC, runs until 18:02 UTC; " in (
        told.reason.message
    )
    terms = dict(told.candidates[0].terms)
    # 0.1 yuan, and eight accelerators for grace, restart and a tenth of the interval.
    assert terms["pausing"] == pytest.approx(0.1 + 0.5 * 8 * (5 + 120 + 60) / 3600)
    assert sum(terms.values()) == pytest.approx(planned.plan.objective_yuan)
    assert terms["waiting"] == pytest.approx(8 * 0.01 * (3 + 120 / 3600))


@pytest.mark.parametrize(
    "change",
    [
        {"interruptible": False, "checkpoint_interval_s": 0.0, "restart_s": 0.0},
        {"delay_minutes": 120.0},  # it may not wait as long as the dear hours last
        {"deadline_minutes": 300.0},
        {"checkpoint_interval_s": 0.0, "stop_grace_s": 3600.0},  # a stop costs more than it saves
    ],
)
def test_it_runs_in_one_piece_where_it_must(change: dict[str, object]) -> None:
    assert not _world().job("train", **{**TRAIN, **change}).plan().placed("train").pauses


def test_others_run_in_its_pause() -> None:
    world = _world().job("train", **TRAIN)
    world.job("short", gpus=8, minutes=60, earliest_minutes=120)
    planned = world.plan()
    assert planned.placed("train").pauses
    assert f"{planned.placed('short').start_at:%H:%M}" == "14:00"


def _running(world: World, **more: object) -> World:
    """A run that began two hours before noon and has two more to go, in hours that turn dear."""
    spec = {name: value for name, value in TRAIN.items() if name != "minutes"}
    busy = {"minutes": 120, "ran_minutes": 120, "name": "train"}
    return world.busy("qingyang-0", **{**spec, **busy, **more})


def test_a_run_pauses_a_grace_before_dear_hours_begin_and_not_sooner() -> None:
    world = World(slots=40, rules=CHEAP)
    world.hub("qingyang", price=[0.2] + [0.9] * 12 + [0.2] * 40, green_kw=0.0)
    _running(world, stop_grace_s=60.0)
    for minutes, pauses in ((0, False), (13, False), (14, True), (14.5, True)):
        world.now_at = NOON + timedelta(minutes=minutes)
        stopped = world.plan().stopped(InterruptionKind.PAUSE)
        assert bool(stopped) is pauses, minutes
    one = stopped["train"]
    assert one.reason.code is ReasonCode.PAUSED
    assert "from 12:15 UTC, likely until 15:15 UTC" in one.reason.message
    assert one.gain_yuan > one.cost_yuan > 0


def test_a_run_goes_on_where_a_pause_gains_less_than_it_costs() -> None:
    world = World(slots=40, rules=CHEAP, now_at=NOON + timedelta(minutes=14))
    world.hub("qingyang", price=[0.2] + [0.25] * 12 + [0.2] * 40, green_kw=0.0)
    assert not _running(world, stop_grace_s=60.0).plan().plan.interruptions


def _overrunning(minutes: float) -> World:
    """A job of an hour that has run for an hour and some minutes, as the service sees it."""
    spec = spec_of(minutes=60, gpus=8)
    started_at = NOON - timedelta(minutes=60 + minutes)
    attempt = Attempt(
        id="slow-1",
        job_id="slow",
        number=1,
        epoch=1,
        state=AttemptState.RUNNING,
        cluster="qingyang",
        accelerator="A800",
        nodes=("qingyang-0",),
        assigned_at=started_at,
        started_at=started_at,
        expected_end_at=started_at + timedelta(minutes=60),
        energy_kwh=1.0,
    )
    job = Job(
        id="slow",
        spec=spec,
        state=JobState.RUNNING,
        reason=Reason(ReasonCode.CHOSEN, ""),
        version=1,
        created_at=started_at,
        updated_at=started_at,
        attempts=(attempt,),
    )
    world = World().hub("qingyang")
    world.running.append(as_of(running_attempt(job, attempt), NOON))
    return world.job("next", gpus=8, minutes=15)


@pytest.mark.parametrize(
    ("minutes", "start"), [(5, "12:15"), (14, "12:15"), (16, "12:30"), (60, "12:30")]
)
def test_a_job_behind_an_overrun_is_planned_after_its_likely_end(
    minutes: float, start: str
) -> None:
    planned = _overrunning(minutes).plan()
    assert f"{planned.placed('next').start_at:%H:%M}" == start
    told = planned.why("next")
    assert told.outcome is Outcome.PLANNED
    assert "slow has run " in told.reason.message
    assert "longer than expected at qingyang/A800" in told.reason.message
    closely = plan_round(_overrunning(minutes).snapshot()).explain("next")
    assert closely is not None
    assert closely.reason == told.reason


def test_who_does_not_wait_for_it_hears_nothing_of_an_overrun() -> None:
    world = _overrunning(20)
    world.jobs[0] = replace(world.jobs[0], spec=replace(world.jobs[0].spec, deadline_at=NOON))
    assert "slow" not in world.plan().why("next").reason.message


def test_a_run_pauses_beside_a_job_that_is_planned_in_several_runs() -> None:
    world = World(slots=40, rules=CHEAP, now_at=NOON + timedelta(minutes=14))
    dear_at_times = [0.2] + [0.9] * 8 + [0.2] * 8 + [0.9] * 8 + [0.2] * 40
    world.hub("qingyang", nodes=2, price=dear_at_times, green_kw=0.0)
    _running(world, stop_grace_s=60.0)
    planned = world.job("other", **{**TRAIN, "delay_minutes": 270.0}).plan()
    assert planned.placed("other").pauses
    assert "train" in planned.stopped(InterruptionKind.PAUSE)
