"""Calls that are made ahead, so that neither side waits for the other between two pages."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import Any, TypeVar

Answer = TypeVar("Answer")
# Calls under way beside the one that is waited for.
AHEAD = 3


async def in_turn(calls: Iterable[Coroutine[Any, Any, Answer]]) -> AsyncGenerator[Answer, None]:
    """The answers in the order of the calls; close it, and what is under way is given up."""
    under_way: deque[asyncio.Task[Answer]] = deque()
    try:
        for call in calls:
            under_way.append(asyncio.create_task(call))
            if len(under_way) > AHEAD:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
