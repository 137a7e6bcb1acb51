"""What a stop costs, which runs make room for least, and what the checker holds against a plan."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from policies.weights import Weights
from scheduler.checker import check
from scheduler.domain.job import JobState
from scheduler.domain.remaining import left_s, run_s
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import Interruption, InterruptionKind, Plan
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.stopping import stop_yuan, under_way, unsaved_s
from scheduler.planner.victims import Victim, cheapest_room, rooms, taken
from tests.scenario.world import NOON, World, spec_of

NODES = np.array([[0.0, 8.0, 8.0], [2.0, 8.0, 8.0], [0.0, 8.0, 8.0]])


def test_what_is_left_never_falls_to_nothing() -> None:
    spec = spec_of(minutes=100, interruptible=True, restart_s=30.0)
    assert left_s(spec, 0.0) == 6000
    assert left_s(spec, 4000.0) == 2000
    assert left_s(spec, 6000.0) == left_s(spec, 9000.0) == 300
    assert run_s(spec, 0.0, 2.0) == 3000
    assert run_s(spec, 4000.0, 2.0) == 1000 + 30


def test_what_a_stop_costs() -> None:
    world = World().hub("qingyang")
    world.busy("qingyang-0", gpus=4, interruptible=True, restart_s=300.0, stop_grace_s=60.0)
    snapshot = world.snapshot()
    [attempt] = snapshot.running
    assert unsaved_s(attempt, snapshot) == 3600
    weights = Weights(lost_yuan_per_gpu_hour=9.0, stop_fails_share=0.5)
    assert stop_yuan(attempt, snapshot, weights, stage_s=40.0) == pytest.approx(
        9 * 4 * (60 + 300 + 40 + 0.5 * 3600) / 3600
    )
    often = replace(attempt, spec=replace(attempt.spec, checkpoint_interval_s=1000.0))
    assert unsaved_s(often, snapshot) == 600


def test_a_stop_that_hangs_is_not_waited_for() -> None:
    world = World().hub("qingyang").busy("qingyang-0", minutes=-10, state=JobState.CANCELLING)
    snapshot = world.snapshot()
    [attempt] = snapshot.running
    assert under_way(attempt, snapshot)
    assert not under_way(replace(attempt, state=JobState.RUNNING), snapshot)
    long_past = replace(attempt, expected_end_at=NOON - timedelta(minutes=15))
    assert not under_way(long_past, snapshot)


def _run(yuan: float, *nodes: int, gpus: float = 2.0) -> Victim:
    return Victim(yuan, (gpus, 0.0, 0.0), nodes)


@pytest.mark.parametrize(
    ("gpus", "workers", "victims", "expected"),
    [
        (2, 1, [_run(5, 0)], ()),
        (4, 1, [_run(5, 0), _run(9, 1), _run(1, 0)], (0, 2)),
        (4, 1, [_run(5, 0), _run(3, 1), _run(1, 0)], (1,)),
        (4, 1, [_run(3, 1), _run(3, 1)], (0,)),  # the first of equals
        (2, 3, [_run(5, 0), _run(7, 0, 2), _run(4, 2)], (1,)),  # one that frees two nodes
        (4, 2, [_run(5, 0, 0), _run(1, 1), _run(9, 2)], (0, 1)),
        (8, 1, [_run(5, 0), _run(3, 1)], None),
    ],
)
def test_the_cheapest_room(
    gpus: float, workers: int, victims: list[Victim], expected: tuple[int, ...] | None
) -> None:
    need = np.array([gpus, 1.0, 1.0])
    found = cheapest_room(NODES, need, workers, victims)
    assert (found.victims if found else None) == expected
    if found is not None:
        assert found.workers.sum() == workers


def test_workers_are_counted_and_spread_over_the_fullest_nodes() -> None:
    room = rooms(NODES + np.array([4.0, 0.0, 0.0]), np.array([2.0, 4.0, 0.0]))
    assert room.tolist() == [2, 2, 2]
    spread = taken(np.array([3, 0, 1]), 2)
    assert spread is not None
    assert spread.tolist() == [1, 0, 1]
    assert taken(np.array([3, 0, 1]), 5) is None


def _preempting() -> Snapshot:
    world = World().hub("qingyang", nodes=2)
    world.busy("qingyang-0", gpus=8, minutes=300, name="one", interruptible=True)
    world.busy("qingyang-1", gpus=8, minutes=300, name="fixed")
    return world.job("urgent", gpus=8, priority=5).snapshot()


def _moving() -> Snapshot:
    world = World().hub("qingyang", price=0.8).hub("zhongwei", price=0.2)
    world.hub("horinger", price=0.2, rtt_ms=90.0)
    world.busy("qingyang-0", gpus=8, minutes=600, name="one", interruptible=True, max_rtt_ms=20.0)
    return world.snapshot()


def _spoil(**changes: object) -> Callable[[Interruption], Interruption]:
    return lambda one: replace(one, **changes)  # type: ignore[arg-type]


def _replaced(**changes: object) -> Callable[[Interruption], Interruption]:
    def spoil(one: Interruption) -> Interruption:
        assert one.place is not None
        return replace(one, place=one.place._replace(**changes))  # type: ignore[arg-type]

    return spoil


SPOILT: list[tuple[Snapshot, Callable[[Interruption], Interruption], str]] = [
    (_preempting(), _spoil(attempt_id="x-1"), "does not run for one"),
    (_preempting(), _spoil(attempt_id="fixed-1", job_id="fixed"), "not interruptible"),
    (_preempting(), _spoil(for_job="x"), "x has attempts stopped for it but is not pending"),
    (_preempting(), _spoil(terms=(("waiting", 0.5),)), "and gains 0.5"),
    (_preempting(), _spoil(cost_yuan=-1.0), "stopping costs -1.0"),
    (_moving(), _spoil(terms=(("price", 1.0),)), "saves 1.0"),
    (_moving(), _spoil(terms=(("price", 90.0),)), "of energy, not 90.0"),
    (_moving(), _spoil(done_s=9e9), "s of work done"),
    (_moving(), _spoil(place=None), "is moved nowhere else"),
    (_moving(), _replaced(cluster="qingyang"), "is moved nowhere else"),
    (_moving(), _replaced(cluster="horinger"), "90.0 ms to horinger > 20.0 ms"),
    (_moving(), _replaced(start_at=NOON), "within its grace"),
]


@pytest.mark.parametrize(("snapshot", "spoil", "complaint"), SPOILT)
def test_a_spoilt_interruption_is_refused(
    snapshot: Snapshot, spoil: Callable[[Interruption], Interruption], complaint: str
) -> None:
    made = plan(snapshot)
    assert check(snapshot, made) == []
    [one] = made.interruptions
    spoilt = replace(made, interruptions=(spoil(one),))
    assert any(complaint in violation for violation in check(snapshot, spoilt))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"state": JobState.PREEMPTING}, "is stopped but PREEMPTING"),
        ({"spec": spec_of(gpus=8, interruptible=True, priority=5)}, "of no higher priority"),
        ({"spec": spec_of(gpus=4, interruptible=True)}, ""),
    ],
)
def test_the_world_may_speak_against_it(changes: dict[str, object], complaint: str) -> None:
    """The plan stays, the victim is another."""
    snapshot = _preempting()
    made = plan(snapshot)
    first = replace(snapshot.running[0], **changes)  # type: ignore[arg-type]
    found = check(replace(snapshot, running=(first, snapshot.running[1])), made)
    assert found == [] if not complaint else any(complaint in violation for violation in found)


def test_a_victim_too_small_and_one_stopped_twice_are_refused() -> None:
    snapshot = _preempting()
    made: Plan = plan(snapshot)
    lost = replace(snapshot.nodes[0], gpus=4)
    found = check(replace(snapshot, nodes=(lost, snapshot.nodes[1])), made)
    assert any("0 of 1 workers fit where others are stopped" in violation for violation in found)
    twice = replace(made, interruptions=made.interruptions * 2)
    assert any("one-1 is stopped 2 times" in violation for violation in check(snapshot, twice))


def test_kinds_are_told_apart() -> None:
    assert [i.kind for i in plan(_preempting()).interruptions] == [InterruptionKind.PREEMPT]
    assert [i.kind for i in plan(_moving()).interruptions] == [InterruptionKind.MIGRATE]
