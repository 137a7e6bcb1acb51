"""The hours to come, added up from what runs and what is planned."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from scheduler.domain.fleet import Node, Site
from scheduler.domain.job import AttemptState, Job, JobState, WorkerShape
from scheduler.domain.round import PlacementRecord
from scheduler.domain.series import Series, constant
from scheduler.domain.span import Span
from scheduler.rpc.errors import StatusError
from scheduler.rpc.timeline import Timelines
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import NOW, WHY, a_node, a_placement, a_spec, an_attempt
from westward.v1 import timeline_pb2 as pb

# The scene's now is 02:30 UTC: the beginning of a slot.
QUARTER = timedelta(minutes=15)


def after(slots: float) -> datetime:
    return NOW + slots * QUARTER


class Ahead:
    """One cluster of 16 accelerators, 0.5 kW each; what runs and what is planned."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.active: dict[str, Job] = {}
        self.planned: list[PlacementRecord] = []
        self.known = (a_node(), a_node(id="qingyang-2", head=False))
        self.site = Site(
            cluster="qingyang",
            province="gansu",
            price_yuan_per_kwh=Series(NOW - QUARTER, 1800.0, (0.3, 0.5, 0.2), "tariff"),
            green_supply_kw=constant(3.0, NOW),
            pue=constant(1.2, NOW),
            grid_carbon_g_per_kwh=500.0,
        )

    def sites(self) -> dict[str, Site]:
        return {self.site.cluster: self.site}

    def nodes(self) -> tuple[Node, ...]:
        return self.known

    def job(self, job_id: str, state: JobState, gpus: int, **changes: Any) -> Job:
        spec = a_spec(name=job_id, per_worker=WorkerShape(gpus, 4.0, 16.0))
        made = Job(
            id=job_id, spec=spec, state=state, reason=WHY, version=1, created_at=NOW,
            updated_at=NOW, **changes,
        )  # fmt: skip
        self.active[job_id] = made
        return made

    def runs(self, job_id: str, gpus: int, slots: float) -> None:
        attempt = an_attempt(job_id, assigned_at=after(-1), expected_end_at=after(slots))
        self.job(job_id, JobState.RUNNING, gpus, attempts=(attempt,))

    def will_run(self, job_id: str, gpus: int, *runs: tuple[float, float], kwh: float) -> None:
        self.job(job_id, JobState.PENDING, gpus)
        spans = [Span(after(begin), after(end)) for begin, end in runs]
        pauses = tuple(Span(one.end_at, two.start_at) for one, two in pairwise(spans))
        self.planned.append(
            replace(
                a_placement(an_attempt(job_id)), attempt_id=None, pauses=pauses, energy_kwh=kwh,
                start_at=spans[0].start_at, end_at=spans[-1].end_at,
            )
        )  # fmt: skip

    async def ask(self, **request: Any) -> pb.TimelineResponse:
        def planned() -> Sequence[PlacementRecord]:
            return self.planned

        timelines = Timelines(self.active, self, planned, self.clock, 900.0)
        return await timelines.timeline(pb.TimelineRequest(**request))


async def test_what_runs_holds_until_it_is_expected_to_end() -> None:
    ahead = Ahead()
    ahead.runs("a", 8, 2.5)
    answer = await ahead.ask(hours=1)
    [cluster] = answer.clusters
    assert cluster.gpus_total == 16
    assert list(cluster.gpus_busy) == [8, 8, 4, 0]
    assert list(cluster.load_kw) == pytest.approx([4.8, 4.8, 2.4, 0])  # PUE counts
    assert list(cluster.green_allocated_kw) == pytest.approx([3, 3, 2.4, 0])
    assert list(cluster.price_yuan_per_kwh) == [0.3, 0.5, 0.5, 0.2]


async def test_a_planned_run_holds_nothing_in_its_pauses() -> None:
    ahead = Ahead()
    ahead.will_run("p", 4, (1, 2), (3, 3.5), kwh=0.9)
    answer = await ahead.ask(hours=1)
    [cluster] = answer.clusters
    assert list(cluster.gpus_planned) == [0, 4, 0, 2]
    assert list(cluster.load_kw) == pytest.approx([0, 2.4, 0, 1.2])
    assert sum(cluster.load_kw) / 4 == pytest.approx(0.9)  # all of its energy
    [start] = answer.starts
    assert [run.start_at.ToDatetime(NOW.tzinfo) for run in start.runs] == [after(1), after(3)]


async def test_the_first_starts_are_told_and_the_rest_counted() -> None:
    ahead = Ahead()
    for slot in (9, 3, 95, 97, 1):
        ahead.will_run(f"j{slot}", 1, (slot, slot + 1), kwh=0.1)
    answer = await ahead.ask(starts=3)
    assert [start.job_name for start in answer.starts] == ["j1", "j3", "j9"]
    assert answer.starts_total == 4, "what starts after these hours is not of them"


async def test_the_first_slot_is_that_of_now() -> None:
    ahead = Ahead()
    ahead.clock.pass_s(600)
    answer = await ahead.ask(hours=1)
    assert answer.start_at.ToDatetime(NOW.tzinfo) == NOW
    assert len(answer.clusters[0].pue) == 5, "the hour from now on ends in the fifth"


async def test_the_slot_of_now_is_told_as_if_what_runs_had_run_all_along() -> None:
    ahead = Ahead()
    ahead.clock.pass_s(600)
    attempt = an_attempt("new", assigned_at=after(0.5), expected_end_at=after(3))
    ahead.job("new", JobState.RUNNING, 8, attempts=(attempt,))
    answer = await ahead.ask(hours=1)
    assert list(answer.clusters[0].gpus_busy) == [8, 8, 8, 0, 0]


async def test_a_suspended_job_holds_nothing() -> None:
    ahead = Ahead()
    stopped = an_attempt("s", state=AttemptState.STOPPED, expected_end_at=after(3))
    ahead.job("s", JobState.SUSPENDED, 8, attempts=(stopped,))
    answer = await ahead.ask(hours=1)
    assert list(answer.clusters[0].gpus_busy) == [0, 0, 0, 0]


async def test_what_overruns_still_holds_its_place() -> None:
    ahead = Ahead()
    ahead.runs("late", 8, -0.5)
    answer = await ahead.ask(hours=1)
    assert answer.clusters[0].gpus_busy[0] > 0


@pytest.mark.parametrize(
    ("request_", "told"),
    [({"hours": 49}, "hours: 49 is not 1 to 48"), ({"cluster": "qinyang"}, "known: qingyang")],
)
async def test_what_cannot_be_answered_says_why(request_: dict[str, Any], told: str) -> None:
    with pytest.raises(StatusError, match=told):
        await Ahead().ask(**request_)


async def test_other_calls_have_their_turn_while_many_jobs_are_read() -> None:
    ahead = Ahead()
    for n in range(2000):
        ahead.will_run(f"j{n}", 1, (n % 90, n % 90 + 1), kwh=0.1)
    asked = asyncio.create_task(ahead.ask())
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2000 / 200
    assert sum((await asked).clusters[0].gpus_planned) == pytest.approx(2000)
