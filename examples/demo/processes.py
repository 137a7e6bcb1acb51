"""Child processes that never outlive the demo, each with its log in the demo's folder."""

import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from agents.executor import processes

STOP_S = 15.0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Processes:
    """`westward` commands in the background."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Runs ``westward ARGUMENTS``; its output goes to ``NAME.log``."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [Path(sys.executable).parent / "westward", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                # Only system calls: no lock that a thread of ours might hold is taken.
                preexec_fn=functools.partial(  # noqa: PLW1509
                    processes.die_with_parent, os.getpid(), signal.SIGTERM
                ),
            )

    def pid(self, name: str) -> int:
        """The process that was started under a name."""
        return self._running[name].pid

    def check(self) -> None:
        """Raises RuntimeError with the end of the log of a process that has died."""
        for name, process in self._running.items():
            if process.poll() is not None:
                tail = (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with exit code {process.returncode}:\n{tail}")

    def stop(self) -> None:
        """Ends all of them, the newest first."""
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
