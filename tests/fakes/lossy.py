"""A way to a PostgreSQL server that breaks at a COMMIT, before or after it is done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto

import sqlalchemy as sa

COMMIT = b"COMMIT\0"


class Loss(Enum):
    """What is lost of the next COMMIT."""

    QUESTION = auto()
    ANSWER = auto()


class LossyWay:
    """Passes bytes on until it is told to lose some; the address of the way is ``url``."""

    def __init__(self, url: str) -> None:
        self._target = sa.make_url(url)
        self.url = ""
        self.lose: Loss | None = None
        self.lost = 0
        self.open = True

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["LossyWay"]:
        """Listens on a free port of this host until the context ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        way = self._target.set(host="127.0.0.1", port=port, query={})
        self.url = way.render_as_string(hide_password=False)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.close()
            return
        socket = f"{self._target.query['host']}/.s.PGSQL.5432"
        far_reader, far_writer = await asyncio.open_unix_connection(socket)
        back = asyncio.create_task(_pass_on(far_reader, writer))
        try:
            while data := await reader.read(65536):
                if COMMIT in data and self.lose is not None:
                    self.lost += 1
                    if self.lose is Loss.ANSWER:
                        back.cancel()
                        await asyncio.wait([back])
                        far_writer.write(data)
                        await far_reader.read(1)  # it is done
                    break
                far_writer.write(data)
        finally:
            back.cancel()
            writer.close()
            far_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()
