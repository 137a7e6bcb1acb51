"""Explanations are written again when they say something else, not when figures drift."""

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.domain.explanation import Candidate, Explanation, Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planning import told as told_module
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
    found = told.news(said)
    told.stored(found)
    return set(found)


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


def test_what_was_not_stored_or_was_forgotten_is_still_news() -> None:
    told = Told()
    assert told.news([SAID]) and news(told, SAID) == {"j1"}
    told.forget("j1")
    assert news(told, SAID) == {"j1"}


def test_many_are_written_over_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_module, "NEWS_MOST", 2)
    told, said = Told(), [replace(SAID, job_id=f"j{n}") for n in range(5)]
    assert [news(told, *said) for _ in range(4)] == [{"j0", "j1"}, {"j2", "j3"}, {"j4"}, set()]
