"""The workers of an array's chunk without Ray: each a process that runs the real task loop."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from agents.executor import wire
from agents.executor.launch import Ending, LaunchError, environment, finish, held, prepare
from agents.executor.task_loop import run_tasks
from agents.executor.tasks import TaskBook
from agents.executor.wire import Order
from scheduler.domain.reason import ReasonCode

ROOT = Path(__file__).resolve().parents[2]
SIBLING_GRACE_S = 1.0


class LocalArray:
    """Conducts one chunk; ``changed`` is called when it has come further."""

    def __init__(self, order: Order, changed: Callable[[], None]) -> None:
        self.book = TaskBook(order)
        self._order = order
        self._changed = changed
        self._leashes: dict[int, asyncio.StreamWriter] = {}
        self._stop_grace_s: float | None = None
        self._failure: Ending | None = None

    async def run(self) -> Ending:
        """Runs it to its end."""
        ranks = range(len(self._order.nodes))
        await asyncio.gather(*(self._run_worker(rank) for rank in ranks))
        return self._failure or self.book.ending()

    def stop(self, grace_s: float) -> None:
        """Tells every worker, also those that have not come up yet."""
        self._stop_grace_s = grace_s
        for leash in self._leashes.values():
            leash.write(wire.encode({"kind": "stop", "grace_s": grace_s}))

    async def _run_worker(self, rank: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, str(fd), str(rank), pass_fds=(fd,), cwd=ROOT
            )
        reader, leash = await asyncio.open_connection(sock=ours)
        leash.write(wire.encode(self._order.as_message()))
        self._leashes[rank] = leash
        if self._stop_grace_s is not None:
            self.stop(self._stop_grace_s)
        ending = Ending(ReasonCode.WORKER_LOST, f"worker {rank} was lost")
        while message := await wire.read(reader):
            if message["kind"] == "tasks":
                for other, answer in self.book.heard(rank, message):
                    self._leashes[other].write(wire.encode(answer))
            elif message["kind"] == "ended":
                del message["kind"]
                ending = Ending(**{**message, "code": ReasonCode(message["code"])})
                leash.close()
            self._changed()
        leash.close()
        self._ended(ending)
        await process.wait()

    def _ended(self, ending: Ending) -> None:
        if ending.code is not ReasonCode.OK and self._failure is None:
            self._failure = ending
            self.stop(SIBLING_GRACE_S)


def main() -> None:
    """One worker, on the leash that it inherits."""
    leash, rank = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    message = wire.read_blocking(leash)
    if message is None:
        return
    order = Order(**message)
    folder = order.folder(order.nodes[rank])
    env = environment(order, rank, base=os.environ, master_host="127.0.0.1", master_port=29500)
    with leash, held(folder, rank):
        try:
            prepare(folder, rank, Path(order.archive).read_bytes() if order.archive else None)
            ending = run_tasks(order, rank, leash, env)
        except LaunchError as error:
            ending = error.ending
        finish(folder, rank, ending)
        with suppress(OSError):  # who hung up knows
            leash.sendall(wire.encode({"kind": "ended", **asdict(ending)}))
            # As Ray keeps a worker's process for the next attempt.
            leash.recv(1)


if __name__ == "__main__":
    main()
