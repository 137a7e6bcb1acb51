"""The daemon's end of the bridge: starting the process, talking to it, ending it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.executor import wire
from agents.executor.launch import last_line

EXIT_WAIT_S = 5.0


class BridgeLostError(Exception):
    """The bridge ended or fell silent; the message says what it last wrote."""


class BridgeProcess:
    """One bridge process. Its stderr is kept in ``log_path``, from its start."""

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path

    @classmethod
    async def spawn(
        cls, settings: Mapping[str, Any], *, log_path: Path, env: Mapping[str, str]
    ) -> "BridgeProcess":
        """Starts a bridge and tells it what to connect to."""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "agents.executor.bridge",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **env},
                start_new_session=True,
            )
        bridge = cls(process, log_path)
        bridge.tell({"kind": "connect", "settings": dict(settings)})
        return bridge

    def tell(self, message: wire.Message) -> None:
        """Sends a message; when the bridge is gone, ``hear`` says so."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(wire.encode(message))

    async def hear(self) -> wire.Message:
        """The next message. Raises BridgeLostError."""
        if self._process.stdout is None:
            raise BridgeLostError("the bridge has no stdout")
        try:
            message = await wire.read(self._process.stdout)
        except wire.WireError as error:
            raise BridgeLostError(f"the bridge sent {error}") from error
        if message is None:
            raise BridgeLostError(last_line(self._log_path) or "the bridge to Ray ended")
        return message

    async def end(self) -> None:
        """Ends the process; attempts are not touched by that."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        async with asyncio.timeout(EXIT_WAIT_S):
            await self._process.wait()
