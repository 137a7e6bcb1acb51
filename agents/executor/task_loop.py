"""One worker of an array's chunk: takes tasks from the site actor and runs one after the other.

It keeps a few tasks ahead, in time and not in number: so that short ones do not wait for messages,
and none waits behind a long one. Beside the files of ``launch`` it writes ``rank-<r>.tasks``, the
lines of ``scheduler.domain.tasks``.
"""

import math
import os
import select
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from agents.executor import processes, wire
from agents.executor.launch import Ending, last_line, not_launched
from agents.executor.warden import guarded
from agents.executor.wire import Order
from scheduler.domain.reason import ReasonCode
from scheduler.domain.tasks import TaskEnd, TaskRecord, encode

# What a worker asks for takes about so long, and it asks when so much is left.
AHEAD_S = 0.3
LOW_S = 0.1
AHEAD_TASKS_MOST = 1000
# The newest task's share in the mean that the next ones are expected to take.
NEWEST_WEIGHT = 0.2
REPORT_EVERY_S = 0.1
# What waits behind a task that takes longer is given back.
PATIENCE_S = 1.0
STRAGGLER_POLL_S = 0.1


def run_tasks(order: Order, rank: int, leash: socket.socket, env: Mapping[str, str]) -> Ending:
    """Runs tasks until all of the chunk are over, the worker is told to stop, or the leash breaks.

    Raises:
        LaunchError: the command cannot be started.
    """
    attempt_id, started_at_s = order.attempt_id, time.time()
    with (
        # The warden comes first: it must not become a child of the process that adopts.
        guarded(attempt_id, rank),
        processes.adopting_orphans(),
        TaskLoop(order, rank, leash, env) as loop,
    ):
        _tell(leash, {"kind": "running", "started_at_s": started_at_s})
        loop.run()
    if loop.over:
        return Ending(ReasonCode.OK, "every task is over", 0, started_at_s, time.time())
    told = "stopped before every task was over"
    code = loop.stopped_code
    return Ending(ReasonCode.STOPPED, told, code, started_at_s, time.time(), told_to_stop=True)


@dataclass(frozen=True, slots=True)
class Running:
    """The task whose process runs; the offsets are where what it writes begins."""

    task: int
    number: int
    process: subprocess.Popen[bytes]
    exit_fd: int
    began_s: float
    stdout_from: int
    stderr_from: int


class TaskLoop:
    """The state of one worker; a context in which its files are open."""

    def __init__(
        self, order: Order, rank: int, leash: socket.socket, env: Mapping[str, str]
    ) -> None:
        self.over = False
        # How the task ended that was told to stop; 0 if none was.
        self.stopped_code = 0
        self._order, self._rank, self._leash, self._env = order, rank, leash, env
        folder = order.folder(order.nodes[rank])
        self._cwd = folder / f"rank-{rank}.cwd"
        self._stderr_path = folder / f"rank-{rank}.stderr"
        self._files = ExitStack()
        self._stdout, self._stderr, self._records = (
            self._files.enter_context((folder / f"rank-{rank}.{name}").open("ab", buffering=0))
            for name in ("stdout", "stderr", "tasks")
        )
        self._poller = select.poll()
        self._poller.register(leash, select.POLLIN)
        self._queue: deque[tuple[int, int]] = deque()
        self._running: Running | None = None
        self._ended: list[tuple[int, int, int, str]] = []
        self._asked = False
        self._broken = False
        self._stop_at_s = math.inf
        self._told_s = 0.0
        # What a task is expected to take; nothing is known before the first.
        self._task_s = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        processes.end(self._order.attempt_id, rank=self._rank)
        if self._running is not None:
            # Ended by us: that says nothing of the task.
            self._stop_at_s = min(self._stop_at_s, time.monotonic())
            self._note_end(self._running)
        # Ray keeps this process for the next attempt: what it has adopted must not stay a zombie.
        processes.childless()
        self._tell_news()
        self._files.close()

    def run(self) -> None:
        """Returns when there is no more to do; what still runs is ended with the context."""
        while not self._done():
            if self._running is None and self._queue and not self._stopping:
                self._running = self._begin(*self._queue.popleft())
            self._tell_due()
            self._await_news()

    @property
    def _stopping(self) -> bool:
        return self._stop_at_s < math.inf

    def _done(self) -> bool:
        if self._broken or time.monotonic() >= self._stop_at_s:
            return True
        if self._running is not None:
            return False
        # The rest of the grace belongs to processes that the last task has left behind.
        return self.over or (self._stopping and not self._left())

    def _left(self) -> list[processes.Process]:
        return processes.find(self._order.attempt_id, self._rank)

    # One task.

    def _begin(self, task: int, number: int) -> Running:
        index, argv = self._order.first_task + task, self._order.argv or []
        own = {"WESTWARD_TASK_INDEX": str(index), "WESTWARD_TASK_ATTEMPT": str(number)}
        stdout_from, stderr_from = self._sizes()
        began_s = time.monotonic()
        try:
            # Nothing runs between fork and exec, so that a big process need not be copied.
            process = subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
                argv,
                cwd=self._cwd,
                env={**self._env, **own},
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._stderr,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise not_launched(argv, self._rank, error) from error
        self._record(TaskRecord(index, number, time.time()))
        exit_fd = os.pidfd_open(process.pid)
        self._poller.register(exit_fd, select.POLLIN)
        return Running(task, number, process, exit_fd, began_s, stdout_from, stderr_from)

    def _note_end(self, running: Running) -> None:
        exit_code = running.process.wait()
        self._running = None
        self._poller.unregister(running.exit_fd)
        os.close(running.exit_fd)
        if not self._stopping and not processes.childless():
            processes.end(self._order.attempt_id, rank=self._rank)
            processes.childless()  # as what was ended is still to be reaped
        stdout_to, stderr_to = self._sizes()
        # A file that grows too long is cut (agents.logs), behind what anyone will read of it.
        stdout = (running.stdout_from, max(running.stdout_from, stdout_to))
        stderr = (running.stderr_from, max(running.stderr_from, stderr_to))
        index = self._order.first_task + running.task
        end = TaskEnd(exit_code, stdout, stderr)
        self._record(TaskRecord(index, running.number, time.time(), end))
        if self._stopping:
            self.stopped_code = exit_code
            return
        taken_s = time.monotonic() - running.began_s
        known = self._task_s < math.inf
        self._task_s = self._task_s + NEWEST_WEIGHT * (taken_s - self._task_s) if known else taken_s
        line = last_line(self._stderr_path, running.stderr_from) if exit_code else ""
        self._ended.append((running.task, running.number, exit_code, line))

    def _sizes(self) -> tuple[int, int]:
        return os.fstat(self._stdout.fileno()).st_size, os.fstat(self._stderr.fileno()).st_size

    def _record(self, record: TaskRecord) -> None:
        # A full disk does not change how a task ends; only its line is missing.
        with suppress(OSError):
            self._records.write(encode(record))

    # The leash.

    def _tell_due(self) -> None:
        """Asks for tasks, tells of those that ended and gives back those that wait for too long;
        short ones are told of together."""
        now_s = time.monotonic()
        room, returned = self._room(now_s), []
        if self._running is not None and now_s - self._running.began_s > PATIENCE_S:
            returned = list(self._queue)
            self._queue.clear()
        if room or returned or (self._ended and now_s >= self._told_s + REPORT_EVERY_S):
            self._asked = self._asked or room > 0
            self._tell_news(room, returned)

    def _room(self, now_s: float) -> int:
        """How many tasks to ask for; 0 while there are enough."""
        if self._asked or self.over or self._stopping:
            return 0
        ahead, expected_s = len(self._queue), self._task_s
        if self._running is not None:
            ahead += 1
            expected_s = max(expected_s, now_s - self._running.began_s)
        if ahead and ahead * expected_s > LOW_S:
            return 0
        return max(1, min(AHEAD_TASKS_MOST, math.ceil(AHEAD_S / expected_s)) - ahead)

    def _tell_news(self, room: int = 0, returned: Sequence[tuple[int, int]] = ()) -> None:
        if not (room or returned or self._ended):
            return
        news = {"kind": "tasks", "ended": self._ended, "returned": returned, "room": room}
        _tell(self._leash, news)
        self._ended, self._told_s = [], time.monotonic()

    def _await_news(self) -> None:
        """Waits for the end of the task, for a message, or until something is due."""
        due_s = [self._stop_at_s]
        if self._ended:
            due_s.append(self._told_s + REPORT_EVERY_S)
        if self._running is None:
            due_s.append(time.monotonic() + STRAGGLER_POLL_S if self._stopping else math.inf)
            due_s.append(0.0 if self._queue and not self._stopping else math.inf)
        elif self._queue:
            due_s.append(self._running.began_s + PATIENCE_S)
        wait_s = min(due_s) - time.monotonic()
        timeout_ms = None if wait_s == math.inf else max(0, math.ceil(wait_s * 1000))
        ready = {fd for fd, _ in self._poller.poll(timeout_ms)}
        if self._running is not None and self._running.exit_fd in ready:
            self._note_end(self._running)
        if self._leash.fileno() in ready:
            self._obey(wire.read_blocking(self._leash))

    def _obey(self, message: wire.Message | None) -> None:
        if message is None:
            self._broken = True
        elif message["kind"] == "tasks":
            self._queue.extend((task, number) for task, number in message["tasks"])
            self.over, self._asked = message["over"], False
        elif message["kind"] == "stop":
            self._stop_at_s = min(self._stop_at_s, time.monotonic() + message["grace_s"])
            for process in self._left():
                processes.send(process, signal.SIGTERM)


def _tell(leash: socket.socket, message: wire.Message) -> None:
    """Sends news. A broken leash is noticed by reading from it."""
    with suppress(OSError):
        leash.sendall(wire.encode(message))
