"""Whether something listens at a TCP address."""

import asyncio

TIMEOUT_S = 1.0


async def reachable(host: str, port: int) -> bool:
    """True when a TCP connection is accepted within a second."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
