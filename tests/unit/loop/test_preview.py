"""Questions are answered from what a round would see, compared with care, and ended in time."""

import pickle
import time
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from operator import xor

import pytest

from scheduler.planner.budget import Budget
from scheduler.planner.changes import Drain
from scheduler.planner.snapshot import PlannedStart, Snapshot
from scheduler.planner.table import JobTable
from scheduler.planning.maker import RoundMaker
from scheduler.planning.messages import Ask, Asked, Changes, JobNews, Stamp
from scheduler.planning.mirror import mark
from scheduler.planning.preview import Preview, TooLongError, WhatIf, within
from scheduler.planning.preview_effects import Effect, EffectKind, Side, effects, totals
from scheduler.rounds.thought import Thought, think
from tests.scenario.world import NOON, World, spec_of


def crowd() -> World:
    """A few that run, and more who wait than there is room for."""
    world = World().hub("qingyang", nodes=2, price=[0.6, 0.6, 0.2]).hub("horinger", price=0.4)
    world.busy("qingyang-0", minutes=40, gpus=4, interruptible=True, name="runs")
    world.job("big", count=3, gpus=8, minutes=95, delay_minutes=240)
    return world.job("small", count=9, gpus=2, minutes=30).job("never", max_rtt_ms=1.0)


def planned(world: World) -> Side:
    snapshot = world.snapshot()
    return Side(snapshot, think(snapshot, Budget()).plan)


def told(snapshot: Snapshot) -> Ask:
    """All of a snapshot as news."""
    jobs = [JobNews(job.id, 1, job) for job in snapshot.jobs]
    jobs += [JobNews(run.job_id, 1, run) for run in snapshot.running]
    changes = Changes(
        anew=True,
        jobs=tuple(jobs),
        nodes=snapshot.nodes,
        sites=tuple(snapshot.sites.values()),
        regions=snapshot.regions,
        rules=snapshot.rules,
    )
    return Ask(
        round_id=1,
        now_at=snapshot.now_at,
        slot_s=snapshot.slot_s,
        slots=snapshot.slots,
        changes=changes,
        stamp=Stamp(1, len(jobs), reduce(xor, (mark(news.job_id, 1) for news in jobs))),
        claims=(),
    )


class Watched:
    """The planner, and what it was shown and made."""

    def __init__(self) -> None:
        self.sides: list[Side] = []

    def __call__(
        self, snapshot: Snapshot, budget: Budget, table: JobTable | None = None
    ) -> Thought:
        thought = think(snapshot, budget, table)
        self.sides.append(Side(snapshot, thought.plan))
        return thought


def test_what_if_without_a_change_is_the_plan_that_the_round_makes() -> None:
    watched = Watched()
    maker = RoundMaker(watched)
    ask = told(crowd().snapshot())
    answer = maker.answer(Asked(ask, WhatIf(())))
    assert (answer.before, answer.effects) == (answer.after, ())
    maker.plan(ask)
    in_answer, in_round = watched.sides
    assert in_answer.snapshot == in_round.snapshot
    assert in_answer.plan.placements == in_round.plan.placements
    assert in_answer.plan.interruptions == in_round.plan.interruptions
    assert answer.before == totals(in_round)


def test_a_preview_is_the_place_that_the_round_gives_and_its_effects_are_what_differs() -> None:
    world, watched = crowd(), Watched()
    urgent = spec_of(gpus=8, minutes=60, priority=500)
    answer = Preview(((urgent,),)).answer(world.snapshot(), watched, Budget())
    with_it, without = watched.sides
    world.jobs.append(replace(with_it.snapshot.jobs[-1]))
    again = planned(world)
    assert again.plan.placements == with_it.plan.placements
    assert answer.jobs[0].placement == next(
        p for p in again.plan.placements if p.job_id == world.jobs[-1].id
    )
    assert list(answer.effects) == effects(without, with_it)
    assert {effect.kind for effect in answer.effects} >= {EffectKind.LATER}


def test_where_everybody_stands_as_told_one_plan_is_enough() -> None:
    world, watched = World().hub("qingyang").job("waits", gpus=2), Watched()
    world.previous = {"waits": PlannedStart("qingyang", "A800", NOON)}
    answer = Preview(((spec_of(),),)).answer(world.snapshot(), watched, Budget())
    assert (answer.effects, len(watched.sides)) == ((), 1)


def test_effects_are_told_the_worst_first() -> None:
    before = World().hub("qingyang").hub("horinger", price=1.0)
    before.busy("qingyang-0", minutes=90, gpus=4, interruptible=True, name="runs")
    before.job("whole", gpus=8, minutes=60).job("half", gpus=4, minutes=60)
    snapshot = before.snapshot()
    answer = WhatIf((Drain("qingyang"),)).answer(snapshot, think, Budget())
    told = [(effect.job_id, effect.kind) for effect in answer.effects]
    assert told == [("runs", EffectKind.STOPPED), ("half", EffectKind.MOVED)]
    stopped, moved = answer.effects
    assert stopped.before is not None
    assert stopped.before.runs
    assert stopped.after is not None
    assert stopped.after.cluster == "horinger"
    assert stopped.later_s == 0
    assert moved.later_s > 0


def test_a_place_that_is_lost_or_gained_is_told_as_that() -> None:
    full = planned(World().hub("qingyang", gpus=2).job("a", gpus=4))
    roomy = planned(World().hub("qingyang", gpus=4).job("a", gpus=4))
    [lost], [gained] = effects(roomy, full), effects(full, roomy)
    assert (lost.kind, lost.after, lost.later_s) == (EffectKind.LOST, None, 0.0)
    assert gained == Effect("a", EffectKind.GAINED, None, lost.before)


def test_jobs_that_ask_for_the_same_stand_for_one_another() -> None:
    world = World().hub("qingyang", gpus=4).job("a", gpus=4).job("b", gpus=4).job("c", gpus=4)
    same = world.jobs[0].spec
    world.jobs = [replace(job, spec=same) for job in world.jobs]
    side = planned(world)
    first, second, third = (p.job_id for p in side.plan.placements)
    names = {first: second, second: first, third: third}
    changed = [p._replace(job_id=names[p.job_id]) for p in side.plan.placements]
    swapped = Side(side.snapshot, replace(side.plan, placements=tuple(changed)))
    assert effects(side, swapped) == []
    late = [p._replace(start_at=p.start_at + timedelta(hours=9)) for p in changed[:1]]
    later = Side(side.snapshot, replace(side.plan, placements=(*late, *changed[1:])))
    assert [effect.kind for effect in effects(side, later)] == [EffectKind.LATER]


def test_who_is_asked_to_stop_in_one_plan_alone_is_told() -> None:
    world = World().hub("qingyang").busy("qingyang-0", gpus=8, minutes=300, interruptible=True)
    calm = planned(world)
    pressed = planned(world.job("urgent", gpus=8, priority=1000))
    assert [e.kind for e in effects(calm, pressed)] == [EffectKind.STOPPED]
    assert [e.kind for e in effects(pressed, calm)] == [EffectKind.LOST, EffectKind.SPARED]


def test_totals_are_sums_of_the_plan_and_of_what_runs() -> None:
    world = World(slots=4).hub("qingyang", price=0.5, green_kw=0.6, pue=1.0)
    world.busy("qingyang-0", minutes=30, gpus=2).job("a", gpus=2, minutes=60)
    sums = totals(planned(world.job("never", max_rtt_ms=1.0)))
    assert (sums.now, sums.later, sums.unplaced, sums.stopped) == (1, 0, 1, 0)
    assert (sums.energy_kwh, sums.cost_yuan) == (pytest.approx(1.0), pytest.approx(0.5))
    # 0.6 kW of 2 kW while both run, then of its own 1 kW.
    assert sums.green_share == pytest.approx((0.3 + 0.6) / 2)
    assert sums.utilisation == pytest.approx((2 * 0.5 + 2 * 1.0) / 8)


def test_what_takes_too_long_is_ended_and_says_so() -> None:
    with pytest.raises(TooLongError) as raised, within(0.02):
        until_s = time.monotonic() + 10
        while time.monotonic() < until_s:
            pass
    told = str(pickle.loads(pickle.dumps(raised.value)))
    assert told.startswith("planning that takes longer than 0.02 s")


def test_a_question_that_was_ended_leaves_no_half_written_row() -> None:
    class Ends:
        def answer(self, snapshot: Snapshot, think: object, budget: Budget) -> None:
            maker._table._row_of[1] = 1
            raise TooLongError(1.0)

    watched = Watched()
    maker = RoundMaker(watched)
    ask = told(crowd().snapshot())
    with pytest.raises(TooLongError):
        maker.answer(Asked(ask, Ends()))
    assert not maker._table._row_of
    assert maker.plan(replace(ask, round_id=2, now_at=NOON + timedelta(seconds=1))).jobs == 13
