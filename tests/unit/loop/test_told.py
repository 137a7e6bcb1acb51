"""Explanations are written again when they say something else, not when figures drift."""

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.domain.explanation import Candidate, Explanation, Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planning.told import Told
from tests.fakes.jobs import NOW

HUB = Candidate(
    cluster="qingyang",
    accelerator="A800",
    feasible=True,
    chosen=True,
    start_at=NOW,
    end_at=NOW,
    rtt_p95_ms=18.0,
    green_share=0.5,
    energy_kwh=1.0,
    carbon_kg=0.1,
    terms=(("price", 0.2),),
    total_yuan=0.2,
    reason=Reason(ReasonCode.CHOSEN, "0.2 yuan in all"),
)
SAID = Explanation(
    job_id="j1",
    decided_at=NOW,
    outcome=Outcome.PLANNED,
    reason=Reason(ReasonCode.WAITING_FOR_CHEAPER, "saves 0.03 yuan"),
    candidates=(HUB,),
)


def news(told: Told, *said: Explanation) -> set[str]:
    told.begin()
    return {one.job_id for one in said if told.is_news(one)}


def test_the_same_in_other_figures_is_no_news() -> None:
    told = Told()
    assert news(told, SAID) == {"j1"}
    reason = replace(SAID.reason, message="saves 0.02 yuan")
    cheaper = replace(HUB, total_yuan=0.1)
    assert not news(told, replace(SAID, reason=reason, candidates=(cheaper,), round_id=7))


@pytest.mark.parametrize(
    "other",
    [
        replace(SAID, outcome=Outcome.UNPLACED),
        replace(SAID, reason=replace(SAID.reason, code=ReasonCode.CAPACITY)),
        replace(SAID, candidates=(replace(HUB, start_at=NOW + timedelta(hours=1)),)),
        replace(SAID, candidates=(replace(HUB, reason=Reason(ReasonCode.DEARER, "so")),)),
        replace(SAID, candidates=()),
    ],
)
def test_another_answer_is_news_once(other: Explanation) -> None:
    told = Told()
    news(told, SAID)
    assert news(told, other) == {"j1"}
    assert not news(told, other)


def test_what_was_forgotten_is_news_again() -> None:
    told = Told()
    news(told, SAID)
    assert told.code("j1") is ReasonCode.WAITING_FOR_CHEAPER
    told.forget("j1")
    assert told.code("j1") is None
    assert news(told, SAID) == {"j1"}
