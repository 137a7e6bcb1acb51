"""The parts of a chaos run as real processes: started, killed, and started again if they end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil

from agents.executor import processes
from agents.executor.local_cluster import LocalCluster, LocalClusterError

WESTWARD = Path(sys.executable).parent / "westward"
LOOK_EVERY_S = 0.3
STOP_S = 10.0
RAY_TRIES = 3


class Part:
    """One `westward` process. Whatever ends it, it is started again, as a supervisor would do."""

    def __init__(self, name: str, argv: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self._argv = argv
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._held_down = False
        self._restarts: asyncio.Task[None] | None = None
        # Exit codes of ends that nobody caused.
        self.own_ends: list[int] = []

    @property
    def clock(self) -> Path:
        """The file that steps its wall clock; see ``stepped``."""
        return next(
            word for word in self._argv if isinstance(word, Path) and word.suffix == ".clock"
        )

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts it, and sees to it from now on. The log goes on where it was."""
        self._spawn()
        self._restarts = asyncio.get_running_loop().create_task(self._see_to_it())

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in self._argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # One system call between fork and exec, through a function already loaded.
                preexec_fn=partial(  # noqa: PLW1509 - see above
                    processes.die_with_parent, os.getpid()
                ),
            )

    async def _see_to_it(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._held_down and self._process and self._process.poll() is not None:
                self.own_ends.append(self._process.returncode)
                self._spawn()

    async def kill(self, pause_s: float) -> None:
        """SIGKILL; it is started again after a pause."""
        self._held_down = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        await asyncio.sleep(pause_s)
        self._spawn()
        self._held_down = False

    async def suspend(self, pause_s: float) -> None:
        """SIGSTOP, and SIGCONT after a pause."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(pause_s)
        self._process.send_signal(signal.SIGCONT)

    def children(self, word: str) -> list[psutil.Process]:
        """Its child processes that have this word in their command line."""
        try:
            offspring = psutil.Process(self.pid).children()
            return [child for child in offspring if word in " ".join(child.cmdline())]
        except psutil.NoSuchProcess:
            return []

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not heeded."""
        if self._restarts is not None:
            self._restarts.cancel()
            await asyncio.gather(self._restarts, return_exceptions=True)
        if self._process is None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RayPart:
    """A cluster's Ray; its first node is its head."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster

    async def kill(self, pause_s: float) -> None:
        """Kills all of Ray's own processes at once; it is started again after a pause."""
        for node in self.cluster.nodes:
            await asyncio.to_thread(self.cluster.kill_node, node.node_id)
        await asyncio.sleep(pause_s)
        for position in range(len(self.cluster.nodes)):
            await self._start(position)

    async def kill_last(self, pause_s: float) -> None:
        """The same for the last node alone."""
        last = len(self.cluster.nodes) - 1
        await asyncio.to_thread(self.cluster.kill_node, self.cluster.nodes[last].node_id)
        await asyncio.sleep(pause_s)
        await self._start(last)

    async def _start(self, position: int) -> None:
        for left in reversed(range(RAY_TRIES)):
            try:
                await asyncio.to_thread(self.cluster.start_node, position)
                return
            except LocalClusterError:
                if left == 0:
                    raise

    async def site(self) -> list[psutil.Process]:
        """The process of the site actor."""
        return await self._titled(lambda title: title.startswith("ray::Site"))

    async def workers(self) -> list[psutil.Process]:
        """Its worker processes, those that run a job's worker and those that wait for one."""
        others = ("Site", "Agent")
        return await self._titled(
            lambda title: title.startswith("ray::") and not any(word in title for word in others)
        )

    async def daemon(self, word: str) -> list[psutil.Process]:
        """One of Ray's own servers, by a word of its command line."""
        return await self._titled(lambda title: word in title.split(" ")[0])

    async def _titled(self, wanted: Callable[[str], bool]) -> list[psutil.Process]:
        found = await asyncio.to_thread(processes.find_marked, [self.cluster.marker])
        named = [p for one in found if (p := _process(one.pid))]
        return [p for p in named if wanted(_title(p))]


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
