"""An Executor without Ray: plain processes on this host, real files and real signals."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen

from agents.executor import processes, wire
from agents.executor.base import Assignment, Observation
from agents.executor.launch import Ending, LaunchError, ending_of, environment, finish, prepare
from agents.executor.launch import launch as launch_process
from agents.executor.wire import Order
from agents.lease import Lease
from agents.waiting import wait
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from tests.fakes.local_array import LocalArray

MASTER_PORT = 29500


@dataclass
class LocalAttempt:
    """One attempt."""

    order: Order
    observation: Observation
    stopping: bool = False
    array: LocalArray | None = None


class LocalExecutor:
    """Runs commands; nodes are only folders."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._attempts: dict[str, LocalAttempt] = {}
        self._changed = asyncio.Event()
        self._changed.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, assignment: Assignment) -> None:
        if assignment.attempt_id in self._attempts:
            return
        order = wire.order_of(assignment, data_dir=self._data_dir, cluster="local")
        observation = Observation(
            attempt_id=order.attempt_id, epoch=order.epoch, state=AttemptState.STARTING
        )
        attempt = LocalAttempt(order, observation)
        self._attempts[order.attempt_id] = attempt
        self._changed.set()
        if order.tasks:
            attempt.array = LocalArray(order, lambda: self._tell_progress(attempt))
            self._spawn(self._conduct_array(attempt, attempt.array))
        else:
            self._spawn(self._conduct(attempt))

    async def stop(self, attempt_id: str, *, grace_s: float | None = None) -> None:
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and not attempt.observation.state.final:
            attempt.stopping = True
            if grace_s is None:
                grace_s = attempt.order.stop_grace_s
            if attempt.array is not None:
                attempt.array.stop(grace_s)
            else:
                self._spawn(asyncio.to_thread(_end, attempt_id, grace_s))

    def hold(self, lease: Lease) -> None:
        """Whoever uses this one outlives what it runs."""

    def not_serving(self) -> str:
        return ""

    async def observe(self, timeout_s: float) -> Sequence[Observation]:
        await wait(self._changed, timeout_s)
        self._changed.clear()
        return [attempt.observation for attempt in self._attempts.values()]

    async def forget(self, attempt_id: str) -> None:
        attempt = self._attempts.get(attempt_id)
        if attempt is not None and attempt.observation.state.final:
            del self._attempts[attempt_id]

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _conduct(self, attempt: LocalAttempt) -> None:
        order = attempt.order
        try:
            workers = [self._start_worker(order, rank) for rank in range(len(order.nodes))]
        except LaunchError as error:
            self._end(attempt, error.ending)
            processes.end(order.attempt_id)
            return
        started_at_s = time.time()
        self._put(attempt, state=AttemptState.RUNNING, started_at_s=started_at_s)
        waits = [
            asyncio.create_task(self._wait(order, rank, worker, started_at_s))
            for rank, worker in enumerate(workers)
        ]
        first_failure: Ending | None = None
        for over in asyncio.as_completed(waits):
            ending = await over
            if ending.code is not ReasonCode.OK and first_failure is None:
                first_failure = ending
                await asyncio.to_thread(processes.end, order.attempt_id, grace_s=1.0)
        self._end(attempt, first_failure or ending)

    async def _conduct_array(self, attempt: LocalAttempt, array: LocalArray) -> None:
        self._put(attempt, state=AttemptState.RUNNING, started_at_s=time.time())
        ending = await array.run()
        self._tell_progress(attempt)
        self._end(attempt, ending)

    def _tell_progress(self, attempt: LocalAttempt) -> None:
        if attempt.array is not None:
            self._put(attempt, tasks=attempt.array.book.progress())

    def _start_worker(self, order: Order, rank: int) -> Popen[bytes]:
        folder = order.folder(order.nodes[rank])
        archive = Path(order.archive).read_bytes() if order.archive else None
        prepare(folder, rank, archive)
        env = environment(
            order, rank, base=os.environ, master_host="127.0.0.1", master_port=MASTER_PORT
        )
        return launch_process(order.argv or [], folder, rank, env)

    async def _wait(
        self, order: Order, rank: int, worker: Popen[bytes], started_at_s: float
    ) -> Ending:
        exit_code = await asyncio.to_thread(worker.wait)
        await asyncio.to_thread(processes.end, order.attempt_id, rank=rank)
        ending = ending_of(order, rank, exit_code, started_at_s=started_at_s)
        finish(order.folder(order.nodes[rank]), rank, ending)
        return ending

    def _end(self, attempt: LocalAttempt, ending: Ending) -> None:
        state, reason = AttemptState.FAILED, Reason(ending.code, ending.message)
        exit_code = ending.exit_code
        if attempt.stopping:
            state = AttemptState.STOPPED
            reason = Reason(ReasonCode.STOPPED, "stopped on request")
        elif ending.code is ReasonCode.OK:
            state = AttemptState.SUCCEEDED
        self._put(attempt, state=state, ended_at_s=time.time(), exit_code=exit_code, reason=reason)

    def _put(self, attempt: LocalAttempt, **changes: object) -> None:
        attempt.observation = replace(attempt.observation, **changes)  # type: ignore[arg-type]
        self._changed.set()

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _end(attempt_id: str, grace_s: float) -> None:
    processes.end(attempt_id, grace_s=grace_s)
