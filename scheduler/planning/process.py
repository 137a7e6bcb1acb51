"""Runs the pure planner in a process of its own, so that a round never delays an RPC."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from scheduler.domain.explanation import Explanation
from scheduler.domain.why import Obstacles, Starts
from scheduler.heap import collect_rarely
from scheduler.planning.front import Front
from scheduler.planning.maker import RoundMaker
from scheduler.planning.messages import Ask, Asked, Changes, Decided, Part
from scheduler.rounds.thought import think

# Many times what a round of the largest fleet takes: past it, the process hangs.
PLAN_MOST_S = 300.0


class PlannerHungError(Exception):
    """A round took longer than any round may; its process was ended."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the planner took longer than {limit_s:g} s")


# In the planner's process: what keeps the world and the last rounds.
_MAKER: list[RoundMaker] = []

Given = TypeVar("Given")
Answer = TypeVar("Answer")


def _asked(method: Callable[[RoundMaker, Given], Answer], given: Given) -> Answer:
    """Runs in the planner's process."""
    if not _MAKER:
        _MAKER.append(RoundMaker(think))
    try:
        return method(_MAKER[0], given)
    except Exception as error:
        portable = _portable(error)
        if portable is error:
            raise
        raise portable from error


def _portable(error: Exception) -> Exception:
    """One that arrives: an exception that cannot be read again would count as the process' end."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _load() -> None:
    """Loads the solver, and compiles what no earlier process has."""
    from scheduler.planner.warmup import warm_up  # noqa: PLC0415

    warm_up()


def _settle() -> None:
    """Ties the fresh process to the scheduler's."""
    collect_rarely()
    # Ctrl-C goes to every process of the terminal; the scheduler decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()


def _end_with_parent() -> None:
    """A scheduler that is killed cannot end its planner, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only ever runs in a child"
    parent.join()
    os._exit(0)


class PlannerProcess:
    """One worker process; a fresh one takes its place if it dies or hangs."""

    def __init__(self, limit_s: float = PLAN_MOST_S) -> None:
        """Starts the process at once, so that the first round finds it ready.

        Args:
            limit_s: seconds of real time until a round counts as hung.
        """
        self._limit_s = limit_s
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_settle
        )
        self._pid: Future[int] = self._pool.submit(os.getpid)
        self._loaded = self._pool.submit(_load)

    @property
    def pid(self) -> int | None:
        """The process' number, once it has one."""
        started = self._pid.done() and not self._pid.cancelled() and not self._pid.exception()
        return self._pid.result() if started else None

    async def ready(self) -> None:
        """Waits until the process has loaded all it needs, or failed to: then the next call of
        ``plan`` tells why."""
        await asyncio.wait({asyncio.wrap_future(self._loaded)})

    async def tell(self, changes: Changes) -> None:
        """Takes in a page of changes; raises as ``plan`` does."""
        await self._call(RoundMaker.tell, changes)

    async def front(self, ask: Ask) -> Front | None:
        """The front of the line, None where that is all who wait; raises as ``plan`` does."""
        return await self._call(RoundMaker.front, ask)

    async def plan(self, ask: Ask) -> Decided:
        """Plans off the event loop.

        Raises:
            BrokenProcessPool: the process died; the next call has a new one.
            PlannerHungError: it took too long and was ended; the next call has a new one.
            DriftedError: it knows another world than it was told of, as a new one does.
            IllegalPlanError: the checker objects to the plan.
            Exception: what the planner raised.
        """
        return await self._call(RoundMaker.plan, ask)

    async def part(self, number: int) -> Part:
        """A later part of what the last round has decided; raises as ``plan`` does."""
        return await self._call(RoundMaker.part, number)

    async def answer(self, asked: Asked[Answer]) -> Answer:
        """What would be planned now; raises as ``plan`` does, and TooLongError."""
        return await self._call(RoundMaker.answer, asked)

    async def explain(self, job_id: str) -> Explanation | None:
        """What the last rounds thought of a job, with all candidates; None if it was in none, or
        the process has died since. Waits for a round that is being planned."""
        return await self._looked_up(RoundMaker.explain, job_id)

    async def obstacles(self, job_id: str) -> Obstacles | None:
        """What kept a job from a start in the last rounds; None, and waits, as ``explain``."""
        return await self._looked_up(RoundMaker.obstacles, job_id)

    async def starts(self, job_id: str) -> Starts | None:
        """What every start would have cost a job; None, and waits, as ``explain``."""
        return await self._looked_up(RoundMaker.starts, job_id)

    async def export(self, round_id: int) -> bytes | None:
        """A round as a file, 0 for the last whole one; None if it is no longer kept, or the process
        has died since. Waits for a round that is being planned."""
        return await self._looked_up(RoundMaker.export, round_id)

    async def _looked_up(
        self, method: Callable[[RoundMaker, Given], Answer | None], given: Given
    ) -> Answer | None:
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._submit(method, given)
        except (BrokenProcessPool, TimeoutError):
            return None

    async def _call(self, method: Callable[[RoundMaker, Given], Answer], given: Given) -> Answer:
        pool = self._pool
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._submit(method, given)
        except BrokenProcessPool:
            if pool is self._pool:  # of several calls the first sees to a new one
                self._start()
            raise
        except TimeoutError as error:
            if pool is self._pool:
                self.close()
                self._start()
            raise PlannerHungError(self._limit_s) from error

    async def _submit(self, method: Callable[[RoundMaker, Given], Answer], given: Given) -> Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, _asked, method, given)

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        pid = self.pid
        for child in multiprocessing.active_children():
            if pid is not None and child.pid == pid:
                child.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
