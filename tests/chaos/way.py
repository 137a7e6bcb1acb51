"""The way between one agent and the scheduler: a TCP proxy that does what networks do."""

import asyncio
import socket
import struct
from contextlib import suppress

CHUNK_BYTES = 64 * 1024
UP, DOWN = "up", "down"


class Way:
    """Passes bytes on, unless told to hold, delay, repeat or cut them.

    ``up`` is from the agent to the scheduler. What is held is delivered when the way heals.
    """

    def __init__(self, port: int) -> None:
        """``port`` is the scheduler's, on 127.0.0.1."""
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self.delay_s = 0.0
        self._repeats = 0
        self.heal()

    async def listen(self) -> int:
        """Starts to pass; returns the port for the agent."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def hold(self, *directions: str) -> None:
        """Nothing gets through any more, nor does either side learn of it."""
        for direction in directions:
            self._open[direction].clear()

    def heal(self) -> None:
        self.delay_s = 0.0
        for gate in self._open.values():
            gate.set()

    def cut(self) -> None:
        """Resets every connection; what was on the way is lost."""
        for writer in list(self._writers):
            connection = writer.get_extra_info("socket")
            with suppress(OSError):
                # On close, a reset instead of an orderly end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def repeat(self) -> None:
        """Sends the next piece twice."""
        self._repeats += 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, UP), self._pump(far_reader, writer, DOWN)
            )
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await asyncio.sleep(self.delay_s)
                await self._open[direction].wait()
                writer.write(data)
                if self._repeats:
                    self._repeats -= 1
                    writer.write(data)
                await writer.drain()
        writer.close()
