"""The proxy of chaos runs: it passes, holds, delays, repeats and cuts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.way import DOWN, UP, Way

WITHIN_S = 5.0
NOTHING_S = 0.2


class Ends:
    """Both ends of one connection through a way."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.arrived: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self.arrived = asyncio.Queue()

    async def open(self) -> None:
        port = await self.way.listen()
        self.near_reader, self.near = await asyncio.open_connection("127.0.0.1", port)
        self.far_reader, self.far = await self.arrived.get()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await both.arrived.put((reader, writer))

    server = await asyncio.start_server(arrive, "127.0.0.1", 0)
    both = Ends(Way(server.sockets[0].getsockname()[1]))
    async with asyncio.timeout(WITHIN_S):
        await both.open()
    yield both
    await both.way.close()
    both.far.close()
    server.close()


async def heard(reader: asyncio.StreamReader, within_s: float = WITHIN_S) -> bytes:
    """What comes in time; nothing if nothing does."""
    try:
        async with asyncio.timeout(within_s):
            return await reader.read(100)
    except TimeoutError:
        return b""


async def test_it_passes_both_ways(ends: Ends) -> None:
    ends.near.write(b"up")
    assert await heard(ends.far_reader) == b"up"
    ends.far.write(b"down")
    assert await heard(ends.near_reader) == b"down"


async def test_what_is_held_one_way_arrives_when_it_heals(ends: Ends) -> None:
    ends.way.hold(UP)
    ends.near.write(b"late")
    ends.far.write(b"down")
    assert await heard(ends.near_reader) == b"down"
    assert await heard(ends.far_reader, NOTHING_S) == b""
    ends.way.heal()
    assert await heard(ends.far_reader) == b"late"


async def test_what_is_cut_is_lost(ends: Ends) -> None:
    ends.way.hold(UP, DOWN)
    ends.near.write(b"lost")
    ends.way.cut()
    with pytest.raises(ConnectionResetError):
        await heard(ends.near_reader)
    ends.way.heal()
    with pytest.raises(ConnectionResetError):
        await heard(ends.far_reader)


async def test_it_repeats_one_piece(ends: Ends) -> None:
    ends.way.repeat()
    ends.near.write(b"again")
    async with asyncio.timeout(WITHIN_S):
        assert await ends.far_reader.readexactly(10) == b"againagain"
    ends.near.write(b"once")
    assert await heard(ends.far_reader) == b"once"


async def test_it_delays(ends: Ends) -> None:
    ends.way.delay_s = NOTHING_S
    began_s = asyncio.get_running_loop().time()
    ends.near.write(b"slow")
    assert await heard(ends.far_reader) == b"slow"
    assert asyncio.get_running_loop().time() - began_s >= NOTHING_S
