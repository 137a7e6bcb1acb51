"""Verdicts are told again when they say something else, not when figures drift."""

from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.domain.explanation import Outcome
from scheduler.domain.reason import ReasonCode
from scheduler.planner.plan import Verdict
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.told import Told
from tests.fakes.jobs import NOW

SAID = Verdict("j1", Outcome.PLANNED, ReasonCode.WAITING_FOR_CHEAPER)
START = PlannedStart("qingyang", "A800", NOW)


def test_the_same_again_is_no_news() -> None:
    told = Told()
    assert told.is_news(SAID, START)
    assert not told.is_news(SAID, replace(START))


@pytest.mark.parametrize(
    ("other", "start"),
    [
        (SAID._replace(outcome=Outcome.UNPLACED), None),
        (SAID._replace(code=ReasonCode.CAPACITY), START),
        (SAID, replace(START, start_at=NOW + timedelta(hours=1))),
        (SAID, replace(START, cluster="zhongwei")),
    ],
)
def test_another_answer_is_news_once(other: Verdict, start: PlannedStart | None) -> None:
    told = Told()
    told.is_news(SAID, START)
    assert told.is_news(other, start)
    assert not told.is_news(other, start)


def test_what_was_forgotten_is_news_again() -> None:
    told = Told()
    told.is_news(SAID, START)
    assert told.code("j1") is ReasonCode.WAITING_FOR_CHEAPER
    told.forget("j1")
    assert told.code("j1") is None
    assert told.is_news(SAID, START)
