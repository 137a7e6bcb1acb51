"""When rounds come: at once for what falls free, rarely for the whole."""

import asyncio

import pytest

from scheduler.planning import pace
from scheduler.planning.pace import REST_MOST_S, REST_TIMES, SUBMITTED, Pace
from tests.fakes.clock import ManualClock

INTERVAL_S = 10.0
NEVER_S = 1000.0


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round waits for company, as that is real time."""
    monkeypatch.setattr(pace, "GATHER_S", 0.0)


class Desk:
    """A pace after a whole round of ``took_s``, of which nothing is left to do."""

    def __init__(self, took_s: float) -> None:
        self.clock = ManualClock()
        self.pace = Pace(self.clock, INTERVAL_S)
        self.pace.begin_whole()
        began_s = self.clock.monotonic()
        self.clock.pass_s(took_s)
        self.pace.end(began_s, whole=True)

    async def asked(self) -> str | None:
        """What a round is made for at once; None if none is due."""
        due = asyncio.ensure_future(self.pace.due(lambda: NEVER_S))
        for _ in range(10):  # more turns than it takes
            await asyncio.sleep(0)
        if due.done():
            return due.result()
        due.cancel()
        return None


async def test_what_falls_free_is_given_away_at_once_however_long_rounds_take() -> None:
    desk = Desk(took_s=2.0)
    desk.pace.ask("attempt ended")
    assert await desk.asked() == "attempt ended"
    assert not desk.pace.rested


async def test_new_jobs_wait_for_a_short_rest() -> None:
    desk = Desk(took_s=2.0)
    desk.pace.ask(SUBMITTED)
    assert await desk.asked() is None
    desk.clock.pass_s(REST_MOST_S)
    assert await desk.asked() == SUBMITTED


async def test_what_does_not_ask_for_a_quick_round_waits_for_the_whole_one() -> None:
    desk = Desk(took_s=2.0)
    desk.pace.ask(SUBMITTED, soon=False)
    desk.clock.pass_s(REST_TIMES * 2.0 - 0.5)
    assert await desk.asked() is None
    desk.clock.pass_s(0.5)
    assert await desk.asked() == SUBMITTED
    assert desk.pace.rested


async def test_a_quick_round_does_not_put_off_the_whole_one() -> None:
    desk = Desk(took_s=1.0)
    desk.pace.ask("attempt ended")
    assert await desk.asked() == "attempt ended"
    desk.pace.end(desk.clock.monotonic(), whole=False)
    assert await desk.asked() is None
    desk.clock.pass_s(REST_TIMES * 1.0)
    assert await desk.asked() == "tick", "what happened has not been seen as a whole"
    desk.pace.begin_whole()
    desk.pace.end(desk.clock.monotonic(), whole=True)
    assert await desk.asked() is None


async def test_a_round_comes_without_a_reason_after_the_interval() -> None:
    desk = Desk(took_s=0.0)
    desk.clock.pass_s(INTERVAL_S - 1.0)
    assert await desk.asked() is None
    desk.clock.pass_s(1.0)
    assert await desk.asked() == "tick"


async def test_the_time_of_a_job_is_kept() -> None:
    desk = Desk(took_s=0.0)
    async with asyncio.timeout(5.0):
        assert await desk.pace.due(lambda: 0.05) == "tick"
