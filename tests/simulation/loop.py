"""An event loop whose time is simulated, and processes on it that can be killed at any await."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")
# Which process the running code belongs to; tasks hand it on to the tasks they make.
CURRENT: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")


class DeadlockError(Exception):
    """Everybody waits and no timer is set."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready, then jumps to the next timer. No sockets, threads or signals."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._selector = self
        self.set_task_factory(cast(Any, _owned_task))

    def time(self) -> float:
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """What BaseEventLoop asks its selector: here waiting is what makes time pass."""
        if timeout is None:
            raise DeadlockError("nothing is ready and no timer is set")
        self._now_s += max(0.0, timeout)
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps in the selector: there is nobody to wake."""


@dataclass(frozen=True, slots=True)
class HostClock:
    """A monotonic clock: its own zero, and a rate that differs a little from the true one."""

    loop: asyncio.AbstractEventLoop
    rate: float
    zero_s: float

    def now_s(self) -> float:
        return self.zero_s + self.loop.time() * self.rate


class Process:
    """All tasks that come of one program; ``kill`` ends them together, wherever they are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, clock: HostClock) -> None:
        self.name = name
        self.clock = clock
        self.alive = True
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self._loop = loop
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        return self._loop.create_task(work, context=self._context)

    def later(self, delay_s: float, work: Callable[..., None], *arguments: Any) -> None:
        """Calls a function after a while, if the process is still alive."""

        def call() -> None:
            if self.alive:
                work(*arguments)

        self._loop.call_later(delay_s, call, context=self._context)

    def kill(self) -> None:
        """As SIGKILL would: what its tasks do on their way out reaches nobody, since network,
        disk and Ray ask ``alive`` first."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()


def _owned_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    context: contextvars.Context | None = None,
) -> asyncio.Task[T]:
    task = asyncio.Task(work, loop=loop, context=context)
    owner = (context or contextvars.copy_context()).get(CURRENT)
    if owner is not None:
        owner.tasks[task] = None
        task.add_done_callback(lambda done: owner.tasks.pop(done, None))
    return task
