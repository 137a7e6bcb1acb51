"""Waiting for an event, but not for ever."""

import asyncio


async def wait(event: asyncio.Event, limit_s: float) -> None:
    """Until the event is set, or for so long; nothing tells which.

    Not ``asyncio.wait_for``: in Python 3.11 it can lose a cancellation that comes together with
    the event, and the task would go on for ever.
    """
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
