"""Which tasks of an array's chunk are given to which worker: pure.

Workers come for tasks themselves, over their leashes: ``{"kind": "tasks", "ended": [[task, try,
exit code, last line of stderr]], "returned": [[task, try]], "room": how many more it would take}``.
They are answered ``{"kind": "tasks", "tasks": [[task, try]], "over": whether all are}``. Tasks are
counted from 0 within the chunk, tries from 1 within the attempt.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from agents.executor.launch import Ending, signal_name
from agents.executor.wire import Message, Order
from scheduler.domain.arrays import Progress, holds
from scheduler.domain.reason import ReasonCode

# A worker is given at most this share of what is left for each, so that all end together.
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Failure:
    """How the last try of a task ended."""

    task: int
    exit_code: int
    last_line: str


class TaskBook:
    """The tasks of one attempt: which wait, which are with a worker, and what became of the rest.

    ``version`` grows with every change of ``progress``.
    """

    def __init__(self, order: Order) -> None:
        done = bytes.fromhex(order.tasks_done)
        self.version = 0
        self._order = order
        self._pending = deque((task, 1) for task in range(order.tasks) if not holds(done, task))
        self._given = [0] * len(order.nodes)
        # Workers that were not answered yet, and how many tasks each would take.
        self._room: dict[int, int] = {}
        self._succeeded = bytearray(done.ljust(-(-order.tasks // 8), b"\0"))
        self._failed = bytearray(len(self._succeeded))
        self._failures = 0
        self._first: Failure | None = None

    @property
    def over(self) -> bool:
        """Whether no task waits or runs."""
        return not self._pending and not any(self._given)

    def progress(self) -> Progress:
        """How far the chunk has come, earlier attempts included."""
        running = sum(given > 0 for given in self._given)
        failed = bytes(self._failed).rstrip(b"\0")
        return Progress(bytes(self._succeeded).rstrip(b"\0"), failed, running)

    def heard(self, rank: int, message: Message) -> list[tuple[int, Message]]:
        """Takes what a worker tells; returns what to tell which worker."""
        for task, number, exit_code, last_line in message["ended"]:
            self._given[rank] -= 1
            self._ended(Failure(task, exit_code, last_line), number)
        for task, number in reversed(message["returned"]):
            self._given[rank] -= 1
            self._pending.appendleft((task, number))
        if message["room"]:
            self._room[rank] = message["room"]
        self.version += 1
        return list(self._answers())

    def ending(self) -> Ending:
        """What became of the attempt once it is over."""
        total, first = self._order.tasks, self._first
        if first is None:
            return Ending(ReasonCode.OK, f"all {total} tasks succeeded", 0)
        code = first.exit_code
        how = f"exit code {code}" if code >= 0 else f"ended by {signal_name(-code)}"
        told = f"; last line of stderr: {first.last_line}" if first.last_line else ""
        index = self._order.first_task + first.task
        message = f"{self._failures} of {total} tasks failed; the first, {index}: {how}{told}"
        return Ending(ReasonCode.TASKS_FAILED, message, code)

    def _ended(self, outcome: Failure, number: int) -> None:
        task = outcome.task
        if outcome.exit_code == 0:
            self._succeeded[task // 8] |= 1 << task % 8
        elif number < self._order.task_attempts:
            self._pending.append((task, number + 1))
        else:
            self._failed[task // 8] |= 1 << task % 8
            self._failures += 1
            if self._first is None or task < self._first.task:
                self._first = outcome

    def _answers(self) -> Iterator[tuple[int, Message]]:
        for rank, room in list(self._room.items()):
            share = int(len(self._pending) * SHARE / len(self._given))
            count = min(room, max(1, share), len(self._pending))
            tasks = [self._pending.popleft() for _ in range(count)]
            if tasks or self.over:
                self._given[rank] += len(tasks)
                del self._room[rank]
                yield rank, {"kind": "tasks", "tasks": tasks, "over": not tasks}
