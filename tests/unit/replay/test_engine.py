"""The simulated clock on cases small enough to reckon by hand."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies.weights import Weights
from scheduler.domain.job import DataInput, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.plan import Interruption, InterruptionKind, Placement
from scheduler.planner.snapshot import RunningAttempt, Snapshot
from scheduler.replay.book import IllegalStartError
from scheduler.replay.case import CaseError
from scheduler.replay.engine import Progress, replay
from scheduler.replay.fleet import Fleet
from scheduler.replay.outcome import Outcome
from scheduler.replay.placers import Decision, placer_of
from scheduler.replay.placers.fifo import Fifo
from scheduler.replay.placers.room import Options
from scheduler.replay.placers.westward import Westward
from tests.scenario.world import NOON, World, link
from tests.unit.replay.cases import CaseOf


def clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def runs_of(outcome: Outcome) -> dict[str, str]:
    """``{attempt: "from–to"}``, in the order of their ends."""
    return {r.attempt_id: f"{clock(r.started_at)}–{clock(r.ended_at)}" for r in outcome.runs}


def fifo(case: CaseOf, gather_s: float = 0.0) -> Outcome:
    return replay(case.case(), "fifo", gather_s=gather_s)


def test_a_job_that_overruns_holds_its_nodes_until_its_real_end() -> None:
    case = CaseOf().hub("qingyang", gpus=2)
    case.job("first", minutes=30, actual_minutes=50, gpus=2)
    case.job("second", at_minutes=10, minutes=20, gpus=2)
    outcome = fifo(case)
    assert runs_of(outcome) == {"first-1": "12:00–12:50", "second-1": "12:50–13:10"}
    assert clock(outcome.runs[0].expected_end_at) == "12:30"
    assert set(outcome.states.values()) == {JobState.SUCCEEDED}
    assert clock(outcome.clock_at) == "13:10"


def test_a_job_that_ends_early_frees_its_nodes() -> None:
    case = CaseOf().hub("qingyang", gpus=2)
    case.job("first", minutes=60, actual_minutes=20, gpus=2)
    case.job("second", at_minutes=10, minutes=20, gpus=1)
    assert runs_of(fifo(case)) == {"first-1": "12:00–12:20", "second-1": "12:20–12:40"}


def test_the_speed_of_the_accelerator_and_the_way_of_the_data_count() -> None:
    case = CaseOf(World()).hub("qingyang", links=(link("shanghai", 8.0),))
    # 300 GB at 8 Gbit/s take 300 s; 30 minutes of work at half speed take 60.
    case.job("job", minutes=30, models={"A800": 0.5}, data=(DataInput(300.0, "shanghai"),))
    assert runs_of(fifo(case)) == {"job-1": "12:00–13:05"}


def test_arrivals_are_gathered_for_one_round() -> None:
    case = CaseOf().hub("qingyang")
    for minute in (1, 2, 5, 7):
        case.job(f"at-{minute}", at_minutes=minute, minutes=30)
    outcome = fifo(case, gather_s=300)
    assert [(clock(r.at), r.started) for r in outcome.rounds] == [("12:06", 3), ("12:12", 1)]


def test_without_gathering_every_event_has_its_round() -> None:
    case = CaseOf().hub("qingyang")
    case.job("a", at_minutes=1.5, minutes=7).job("b", at_minutes=3, minutes=7)
    outcome = fifo(case)
    assert [clock(r.at) for r in outcome.rounds] == ["12:01:30", "12:03"]
    assert runs_of(outcome) == {"a-1": "12:01:30–12:08:30", "b-1": "12:03–12:10"}


def test_while_something_waits_every_slot_has_a_round() -> None:
    case = CaseOf().hub("qingyang", gpus=1)
    case.job("first", at_minutes=1, minutes=40).job("second", at_minutes=2, minutes=1)
    times = [clock(r.at) for r in fifo(case).rounds]
    assert times == ["12:01", "12:02", "12:15", "12:30", "12:41"]


def test_a_job_starts_no_earlier_than_it_may() -> None:
    case = CaseOf().hub("qingyang").job("job", earliest_minutes=7, minutes=10)
    assert runs_of(fifo(case)) == {"job-1": "12:07–12:17"}


def test_a_deadline_that_is_lost_fails_the_job() -> None:
    case = CaseOf().hub("qingyang", gpus=1)
    case.job("holder", minutes=60).job("late", minutes=40, deadline_minutes=70, at_minutes=1)
    case.job("hopeless", minutes=40, deadline_minutes=30, at_minutes=2)
    case.job("last", minutes=40, deadline_minutes=100, at_minutes=3)
    outcome = fifo(case)
    assert runs_of(outcome) == {"holder-1": "12:00–13:00", "last-1": "13:00–13:40"}
    assert outcome.states["late"] is outcome.states["hopeless"] is JobState.FAILED


def test_what_can_never_start_is_given_up_a_horizon_after_the_last_end() -> None:
    case = CaseOf(World(slots=4)).hub("qingyang", gpus=2)
    case.job("huge", gpus=3).job("small", gpus=1, minutes=30)
    outcome = fifo(case)
    assert outcome.states == {"huge": JobState.PENDING, "small": JobState.SUCCEEDED}
    assert clock(outcome.clock_at) == "13:45"


def test_the_planner_waits_for_the_cheap_hour_and_starts_at_its_beginning() -> None:
    case = CaseOf().hub("qingyang", price=[0.8] * 4 + [0.2] * 20)
    case.job("job", at_minutes=5, minutes=30, gpus=4, delay_minutes=180)
    outcome = replay(case.case(), "westward", gather_s=0)
    assert runs_of(outcome) == {"job-1": "13:00–13:30"}
    assert all(note.gap is not None for note in outcome.rounds)
    # Planned at 12:05, left where it was until its time came, and then started as planned.
    assert sum(note.kept for note in outcome.rounds) == 4
    assert sum(note.moved for note in outcome.rounds) == 0


class Scripted(Fifo):
    """FIFO that also asks for stops, at the times a test says, and heeds claims."""

    interrupts = True

    def __init__(self, case: CaseOf, stops: dict[str, tuple[str, str]]) -> None:
        super().__init__(Options(Fleet(case.world.nodes, case.world.sites)))
        self._stops = stops
        self.seen: list[Snapshot] = []

    def place(self, snapshot: Snapshot) -> Decision:
        self.seen.append(snapshot)
        first = {claim.job_id for claim in snapshot.claims}
        heeded = tuple(job for job in snapshot.jobs if not first or job.id in first)
        decision = super().place(replace(snapshot, jobs=heeded))
        victim, for_job = self._stops.pop(clock(snapshot.now_at), ("", ""))
        stops = tuple(_stop(a, for_job) for a in snapshot.running if a.attempt_id == victim)
        return Decision(placements=decision.placements, interruptions=stops)


def _stop(attempt: RunningAttempt, for_job: str) -> Interruption:
    return Interruption(
        attempt_id=attempt.attempt_id,
        job_id=attempt.job_id,
        kind=InterruptionKind.PREEMPT,
        reason=Reason(ReasonCode.PREEMPTED, "for another"),
        cost_yuan=1.0,
        terms=(("waiting", 2.0),),
        for_job=for_job,
    )


def test_an_interrupted_run_ends_with_its_grace_and_goes_on_later() -> None:
    case = CaseOf().hub("qingyang", gpus=2)
    case.job("victim", minutes=60, gpus=2, interruptible=True, restart_s=60.0, stop_grace_s=5.0)
    case.job("urgent", at_minutes=20, minutes=30, gpus=2, priority=10)
    placer = Scripted(case, {"12:20": ("victim-1", "urgent")})
    outcome = replay(case.case(), "scripted", placer=placer, gather_s=0)
    # Gone at 12:20:05 with 1205 s done; 2395 s and 60 s of restart are left.
    assert runs_of(outcome) == {
        "victim-1": "12:00–12:20:05",
        "urgent-1": "12:20:05–12:50:05",
        "victim-2": "12:50:05–13:31",
    }
    assert [run.stopped for run in outcome.runs] == [True, False, False]
    assert set(outcome.states.values()) == {JobState.SUCCEEDED}
    claimed = next(s for s in placer.seen if s.now_at > NOON + timedelta(minutes=20))
    assert [(c.job_id, c.cluster, c.priority) for c in claimed.claims] == [
        ("urgent", "qingyang", 10)
    ]
    leftover = next(j for j in claimed.jobs if j.id == "victim")
    assert (leftover.done_s, leftover.attempts) == (1205.0, 1)


def test_what_is_nearly_done_ends_within_its_grace() -> None:
    case = CaseOf().hub("qingyang", gpus=2)
    case.job("victim", minutes=60, gpus=2, interruptible=True, stop_grace_s=600.0)
    case.job("urgent", at_minutes=55, minutes=30, gpus=2)
    placer = Scripted(case, {"12:55": ("victim-1", "urgent")})
    outcome = replay(case.case(), "scripted", placer=placer, gather_s=0)
    assert runs_of(outcome) == {"victim-1": "12:00–13:00", "urgent-1": "13:00–13:30"}
    assert not outcome.runs[0].stopped


def test_the_planner_makes_room_for_the_urgent() -> None:
    case = CaseOf().hub("qingyang")
    case.job("cheap", minutes=300, gpus=8, interruptible=True, restart_s=60.0)
    case.job("urgent", at_minutes=20, minutes=60, gpus=8, priority=100)
    outcome = replay(case.case(), "westward", gather_s=0)
    assert runs_of(outcome)["urgent-1"] == "12:20:05–13:20:05"
    assert [r.attempt_id for r in outcome.runs] == ["cheap-1", "urgent-1", "cheap-2"]
    assert sum(note.stopped for note in outcome.rounds) == 1


class Greedy:
    """Gives every job the first node, whoever is there."""

    interrupts = False

    def place(self, snapshot: Snapshot) -> Decision:
        node = snapshot.nodes[0]
        return Decision(
            placements=tuple(
                Placement(
                    job_id=job.id,
                    cluster=node.cluster,
                    accelerator=node.accelerator,
                    start_at=snapshot.now_at,
                    end_at=snapshot.now_at + timedelta(seconds=job.spec.expected_duration_s),
                    now=True,
                    nodes=(node.id,),
                    energy_kwh=0.0,
                    green_kwh=0.0,
                    green_held_kw=0.0,
                    cost_yuan=0.0,
                    carbon_kg=0.0,
                )
                for job in snapshot.jobs
            )
        )


def test_a_placer_that_gives_away_what_is_not_there_is_found_out() -> None:
    case = CaseOf().hub("qingyang", gpus=8).job("a", gpus=5).job("b", gpus=5)
    with pytest.raises(
        IllegalStartError, match="b takes 5 accelerators of qingyang-0, which had 3"
    ):
        replay(case.case(), "greedy", placer=Greedy())


def test_an_id_that_appears_twice_is_told() -> None:
    case = CaseOf().hub("qingyang").job("a").job("a", at_minutes=1)
    with pytest.raises(CaseError, match="'a' appears 2 times"):
        fifo(case)


def test_an_unknown_policy_is_told() -> None:
    with pytest.raises(CaseError, match="choose from westward, fifo"):
        placer_of("best", Fleet((), {}))


def test_progress_ends_at_all_jobs() -> None:
    case = CaseOf().hub("qingyang").job("a", minutes=5).job("b", minutes=10, at_minutes=7)
    seen: list[Progress] = []
    replay(case.case(), "fifo", on_progress=seen.append)
    assert [p.ended for p in seen] == sorted(p.ended for p in seen)
    assert (seen[-1].ended, seen[-1].jobs) == (2, 2)


@pytest.mark.parametrize("policy", ["westward", "fifo", "least-allocated", "skypilot"])
def test_a_replay_repeats_itself(policy: str) -> None:
    case = CaseOf().hub("qingyang", gpus=4, price=[0.8] * 4 + [0.2] * 20).hub("horinger", gpus=4)
    for n in range(8):
        case.job(f"job-{n}", at_minutes=5 * n, minutes=40, actual_minutes=25 + 7 * n, gpus=2)
    first, again = (replay(case.case(), policy) for _ in range(2))
    assert (first.runs, first.states, first.clock_at) == (again.runs, again.states, again.clock_at)


def test_a_job_pauses_through_dear_hours_as_planned() -> None:
    case = CaseOf(World(slots=48)).hub(
        "qingyang", price=[0.2] * 8 + [0.9] * 12 + [0.2] * 6 + [0.9] * 4 + [0.2], green_kw=0.0
    )
    case.job(
        "train",
        gpus=8,
        minutes=240,
        delay_minutes=270,
        interruptible=True,
        checkpoint_interval_s=600.0,
        restart_s=120.0,
        stop_grace_s=30.0,
    )
    weights = Weights(lost_yuan_per_gpu_hour=0.5, moving_yuan=0.1)
    outcome = replay(case.case(), "westward", placer=Westward(weights=weights), gather_s=0.0)
    assert runs_of(outcome) == {
        "train-1": "12:00–14:00",
        "train-2": "17:00–18:30",
        # What is left after three hours and a half, and a second restart.
        "train-3": "19:30–20:04",
    }
    assert [run.stopped for run in outcome.runs] == [True, True, False]
    dear = replace(weights, moving_yuan=100.0)
    whole = replay(case.case(), "westward", placer=Westward(weights=dear), gather_s=0.0)
    assert len(whole.runs) == 1
