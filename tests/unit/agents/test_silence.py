"""A stream on which the scheduler is silent for too long is given up; one that it fills is not."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from agents.link import DisconnectedError, Session
from tests.simulation.loop import SimulatedLoop
from westward.v1 import node_pb2

LIMIT_S = 20.0


class Call:
    """A scheduler that says something after each of these pauses, and then nothing more."""

    def __init__(self, pauses_s: Iterable[float]) -> None:
        self._pauses_s = iter(pauses_s)

    async def read(self) -> node_pb2.ConnectResponse:
        await asyncio.sleep(next(self._pauses_s, 1e9))
        return node_pb2.ConnectResponse(seq=1)


def given_up_s(pauses_s: Iterable[float], handling_s: float = 0.0) -> float:
    """When the silence is noticed of one who reads all, and takes so long for each message."""
    loop = SimulatedLoop()

    async def reads(session: Session) -> None:
        while True:
            await session.receive()
            await asyncio.sleep(handling_s)

    async def watches() -> float:
        session = Session(cast(Any, Call(pauses_s)))
        reading = asyncio.create_task(reads(session))
        with pytest.raises(DisconnectedError, match="silent for 20 s"):
            await session.silence(LIMIT_S)
        reading.cancel()
        return loop.time()

    try:
        return loop.run_until_complete(watches())
    finally:
        loop.close()


def test_a_scheduler_that_says_nothing_is_given_up_after_the_limit() -> None:
    assert given_up_s([]) == LIMIT_S


def test_every_word_puts_it_off() -> None:
    assert given_up_s([5.0, 19.0, 1.0]) == pytest.approx(25.0 + LIMIT_S)


def test_what_a_message_takes_to_be_handled_is_no_silence() -> None:
    assert 105.0 + LIMIT_S <= given_up_s([5.0], handling_s=100.0) <= 105.0 + 2 * LIMIT_S


def test_a_rounding_error_of_the_clock_is_waited_out() -> None:
    for sevenths in range(1, 200):
        pause_s = sevenths / 7
        said = given_up_s([pause_s % LIMIT_S, pause_s % 0.3])
        assert said == pytest.approx(pause_s % LIMIT_S + pause_s % 0.3 + LIMIT_S, abs=0.01)
