"""Runs the pure planner in a process of its own, so that a round never delays an RPC."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler.domain.explanation import Explanation
from scheduler.heap import collect_rarely
from scheduler.planner.plan import Plan, StageTime
from scheduler.planner.snapshot import Snapshot

if TYPE_CHECKING:
    from scheduler.planner.pipeline import Round

# Many times what a round of the largest fleet takes: past it, the process hangs.
PLAN_MOST_S = 120.0


class PlannerHungError(Exception):
    """A round took longer than any round may; its process was ended."""

    def __init__(self, jobs: int, limit_s: float) -> None:
        super().__init__(f"planning {jobs} jobs took longer than {limit_s:g} s")


# In the planner's process: the last round, for what is asked about it.
_LAST: list["Round"] = []


def timed_plan(snapshot: Snapshot) -> Plan:
    """Plans, and notes how long each stage took: the planner itself has no clock."""
    # Loads the compiler, which the scheduler's own process has no use for.
    from scheduler.planner.pipeline import plan_round  # noqa: PLC0415

    stages: list[StageTime] = []
    began_s = time.perf_counter()

    def on_stage(name: str) -> None:
        nonlocal began_s
        now_s = time.perf_counter()
        stages.append(StageTime(name, (now_s - began_s) * 1000))
        began_s = now_s

    _LAST[:] = [plan_round(snapshot, on_stage=on_stage)]
    return replace(_LAST[0].plan, stages=tuple(stages))


def explain_last(job_id: str) -> Explanation | None:
    """What the last round thought of a job, closely; None if it was not in it."""
    return _LAST[0].explain(job_id) if _LAST else None


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

    async def ready(self) -> None:
        """Waits until the process has loaded all it needs, or failed to: then the next call of
        ``plan`` tells why."""
        await asyncio.wait({asyncio.wrap_future(self._loaded)})

    async def plan(self, snapshot: Snapshot) -> Plan:
        """Plans off the event loop.

        Raises:
            BrokenProcessPool: the process died; the next call has a new one.
            PlannerHungError: it took too long and was ended; the next call has a new one.
            Exception: what the planner raised.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limit_s):
                return await loop.run_in_executor(self._pool, timed_plan, snapshot)
        except BrokenProcessPool:
            self._start()
            raise
        except TimeoutError as error:
            self.close()
            self._start()
            raise PlannerHungError(len(snapshot.jobs), self._limit_s) from error

    async def explain(self, job_id: str) -> Explanation | None:
        """What the last round thought of a job, with all candidates; None if it was not in it, or
        the process has died since. Waits for a round that is being planned."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limit_s):
                return await loop.run_in_executor(self._pool, explain_last, job_id)
        except (BrokenProcessPool, TimeoutError):
            return None

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        started = self._pid.done() and not self._pid.cancelled() and not self._pid.exception()
        for child in multiprocessing.active_children():
            if started and child.pid == self._pid.result():
                child.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
