"""Calls made ahead are answered in their order, and given up when nobody waits any more."""

import asyncio
from contextlib import aclosing

import pytest

from scheduler.planning.in_turn import AHEAD, in_turn


async def test_answers_come_in_order_with_a_few_calls_under_way() -> None:
    under_way = most = 0

    async def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001 * (number % 3))
        under_way -= 1
        return number

    async with aclosing(in_turn(call(number) for number in range(20))) as answers:
        assert [number async for number in answers] == [*range(20)]
    assert most == AHEAD + 1


async def test_after_a_failure_nothing_stays_under_way() -> None:
    ended = []

    async def call(number: int) -> int:
        try:
            if number == 1:
                raise ValueError(number)
            await asyncio.sleep(0 if number == 0 else 60)
            return number
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="1"):
        async with aclosing(in_turn(call(number) for number in range(9))) as answers:
            async for _ in answers:
                pass
    assert sorted(ended) == [*range(len(ended))]
    assert len(ended) <= AHEAD + 2
