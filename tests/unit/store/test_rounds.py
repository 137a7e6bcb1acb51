"""Rounds, explanations and placements as they are remembered."""

from datetime import timedelta
from functools import partial
from math import inf

import pytest
from hypothesis import given

from scheduler.domain.explanation import (
    BindingConstraint,
    Candidate,
    Explanation,
    Outcome,
    Saving,
)
from scheduler.domain.job import AttemptState, JobSpec
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import RoundRecord
from scheduler.domain.transitions import Event
from scheduler.store.codec import EXPLANATION, SPEC
from scheduler.store.errors import StoreError
from tests.fakes.jobs import (
    NOW,
    WHY,
    a_change,
    a_placement,
    a_spec,
    an_attempt,
    assign,
    end,
    opened,
)
from tests.fakes.specs import specs

SAVING = Saving(
    origin_yuan=3.0, yuan=1.0, origin_carbon_kg=2.0, carbon_kg=1.5, origin_kwh=5.0, kwh=0.1
)


def an_explanation(job_id: str, round_id: int, outcome: Outcome = Outcome.PLACED) -> Explanation:
    candidate = Candidate(
        cluster="qingyang",
        accelerator="A800",
        feasible=True,
        chosen=True,
        start_at=NOW,
        end_at=None,
        rtt_p95_ms=None,
        green_share=0.1 + 0.2,
        energy_kwh=inf,
        carbon_kg=0.0,
        terms=(("price", 1.5), ("waiting", 0.25)),
        total_yuan=1.75,
        reason=Reason(ReasonCode.CHOSEN, "cheapest"),
    )
    return Explanation(
        job_id=job_id,
        decided_at=NOW,
        outcome=outcome,
        reason=WHY,
        candidates=(candidate,),
        binding=(BindingConstraint("power/qingyang", 0.5, "full"),),
        saving=SAVING,
        round_id=round_id,
    )


def a_round(number: int) -> RoundRecord:
    return RoundRecord(
        id=number,
        at=NOW,
        trigger="submit",
        jobs=3,
        placed=1,
        planned=1,
        unplaced=1,
        objective_yuan=10.5,
        bound_yuan=10.0,
        gap=0.05,
        wall_ms=12.5,
        stages=(("model", 3.5), ("solve", 9.0)),
        reasons={"LATENCY": 1},
        interruptions={"PREEMPT": 2},
        running=7,
        nodes=3,
        clusters=2,
        moved=1,
        kept=4,
        quick=True,
    )


async def test_rounds_are_numbered_over_restarts(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        first = store.rounds.new_id()
        await store.rounds.add(a_round(first), [])
        assert await store.rounds.list_newest(10) == [a_round(first)]
    async with opened(database_url) as (store, book):
        second = store.rounds.new_id()
        assert second == first + 1
        # The round's placements may be committed, and the round itself lost to a crash.
        job, _ = await book.submit(a_spec())
        attempt = an_attempt(job.id)
        await book.apply(
            a_change(
                job.id,
                Event.ASSIGN,
                attempt=attempt,
                placement=a_placement(attempt, round_id=second),
            )
        )
    async with opened(database_url) as (store, _):
        assert store.rounds.new_id() == second + 1


async def test_the_newest_explanation_and_that_of_each_attempt(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job, _ = await book.submit(a_spec())
        explained = store.rounds.explanation
        assert await explained(job.id) is None
        for number in (1, 2):
            waiting = an_explanation(job.id, number, Outcome.UNPLACED)
            await store.rounds.add(a_round(number), [waiting])
            assert await explained(job.id) == waiting
        attempt = an_attempt(job.id)
        placed = an_explanation(job.id, 3)
        change = a_change(job.id, Event.ASSIGN, attempt=attempt, explanation=placed)
        job = (await book.apply(change)).job
        assert await explained(job.id) == placed == await explained(job.id, 1)
        job = await end(book, job, Event.FAIL_RETRY, AttemptState.FAILED)
        again = an_explanation(job.id, 4, Outcome.PLANNED)
        await store.rounds.add(a_round(4), [again])
        assert await explained(job.id) == again
        assert await explained(job.id, 1) == placed
        assert await explained(job.id, 2) is None


async def test_placements_newest_first(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        made = []
        for number, (tenant, cluster) in enumerate(
            [("lab", "qingyang"), ("lab", "zhongwei"), ("shop", "qingyang")]
        ):
            job, _ = await book.submit(a_spec(tenant=tenant))
            later = NOW + timedelta(minutes=number)
            attempt = an_attempt(job.id, cluster=cluster, assigned_at=later, energy_kwh=1.5)
            placement = a_placement(attempt)
            change = a_change(job.id, Event.ASSIGN, attempt=attempt, placement=placement)
            made.append(((await book.apply(change)).job, placement))
        listed = partial(store.jobs.placements, limit=9)
        assert await listed() == made[::-1]
        assert await listed(cluster="qingyang") == [made[2], made[0]]
        assert await listed(tenant="lab") == [made[1], made[0]]
        assert await listed(limit=1) == [made[2]]
        assert await listed(after=(made[2][0].id, 1), limit=1) == [made[1]]
        assert await listed(after=(made[0][0].id, 1)) == []
        ended = await end(book, made[0][0], Event.SUCCEED, AttemptState.SUCCEEDED)
        assert await listed(cluster="qingyang") == [made[2]]
        assert await listed(cluster="qingyang", include_final=True) == [
            made[2],
            (ended, made[0][1]),
        ]


async def test_an_attempt_without_a_placement_is_not_listed_as_one(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        await assign(book, (await book.submit(a_spec()))[0])
        assert await store.jobs.placements(limit=9) == []


def test_an_explanation_survives_its_text() -> None:
    explanation = an_explanation("j1", 7)
    assert EXPLANATION.decode(EXPLANATION.encode(explanation)) == explanation


@given(spec=specs())
def test_a_spec_survives_its_text(spec: JobSpec) -> None:
    assert SPEC.decode(SPEC.encode(spec)) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[2,{"name":"x"}]', "shape version '2'"),
        ('[1,{"name":"x"}]', "damaged"),
        ("", "version ''"),
    ],
)
def test_text_that_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        SPEC.decode(text)
