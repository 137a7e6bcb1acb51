"""One attempt inside the site actor, from reserving its bundles to releasing them."""

import asyncio
import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from agents.executor import bundles, wire
from agents.executor.base import Observation
from agents.executor.launch import Ending
from agents.executor.tasks import TaskBook
from agents.executor.wire import NODE_LABEL, Order
from agents.executor.worker import LeashAddress, clean_up, run_worker
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode

# What the other workers of a gang get to end in when one has failed.
SIBLING_GRACE_S = 5.0
# Past its grace a worker kills at once; one that has not answered after this is forced.
ANSWER_S = 5.0
REAP_TIMEOUT_S = 10.0
RELEASE_WAIT_S = 2.0
# The progress of an array is published at most so often.
PROGRESS_EVERY_S = 1.0
STOPPED = Reason(ReasonCode.STOPPED, "stopped on request")


@dataclass(slots=True)
class Rank:
    """What the site actor knows of one worker."""

    ref: Any = None
    leash: asyncio.StreamWriter | None = None
    host: str = ""
    port: int = 0
    started_at_s: float | None = None
    ending: Ending | None = None
    reaper: asyncio.Task[None] | None = None

    def tell(self, message: wire.Message) -> None:
        if self.leash is not None and not self.leash.is_closing():
            self.leash.write(wire.encode(message))


@dataclass(slots=True)
class Gang:
    """Conducts one attempt: all workers or none, and released as a whole.

    ``publish`` is called with every change, ``seek_sick`` with a node that gave a sick accelerator
    and its folder. Leashes come in through ``arrived``, ``news`` and
    ``dropped``; ``stop`` may be called at any time.
    """

    order: Order
    leash_at: LeashAddress
    start_timeout_s: float
    publish: Callable[[Observation], None]
    seek_sick: Callable[[str, Path], None]
    ranks: list[Rank] = field(init=False)
    book: TaskBook | None = field(init=False)
    failure: Ending | None = None
    stop_asked: bool = False
    stop_reason: Reason = STOPPED
    ends_at: float = math.inf
    started_at_s: float | None = None
    group: PlacementGroup | None = None
    teller: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ranks = [Rank() for _ in self.order.nodes]
        self.book = TaskBook(self.order) if self.order.tasks else None

    # What comes in over the leashes and from outside.

    def arrived(self, rank: int, leash: asyncio.StreamWriter, host: str, port: int) -> None:
        """A worker's task runs and waits. The last one to arrive sets all of them going, so that
        no process of a gang starts before every one can. One that cannot has no port; its
        ending is the next that it tells."""
        worker = self.ranks[rank]
        worker.leash, worker.host, worker.port = leash, host, port
        if self.ending_it:
            worker.tell({"kind": "stop", "grace_s": 0.0})
        elif all(other.leash is not None and other.port for other in self.ranks):
            first = self.ranks[0]
            for other in self.ranks:
                other.tell({"kind": "go", "master_host": first.host, "master_port": first.port})

    def news(self, rank: int, message: wire.Message) -> None:
        """A worker's process runs, or has ended; or the worker has news of an array's tasks."""
        worker = self.ranks[rank]
        if message["kind"] == "running":
            worker.started_at_s = message["started_at_s"]
            if all(other.started_at_s is not None for other in self.ranks):
                self.started_at_s = min(other.started_at_s or 0.0 for other in self.ranks)
                self.publish(self._observation(AttemptState.RUNNING))
        elif message["kind"] == "tasks" and self.book is not None:
            for other, answer in self.book.heard(rank, message):
                self.ranks[other].tell(answer)
        elif message["kind"] == "ended":
            del message["kind"]
            self._ended(rank, Ending(**{**message, "code": ReasonCode(message["code"])}))

    def dropped(self, rank: int) -> None:
        """A leash broke: unless the worker had ended, its Ray process or its host is gone."""
        worker = self.ranks[rank]
        if worker.ending is None and worker.reaper is None:
            self._reap(rank, "the connection to its Ray worker broke")

    def stop(self, grace_s: float, reason: Reason = STOPPED) -> None:
        """Ends every worker. The first reason stands, and the soonest end."""
        if not self.ending_it:
            self.stop_asked, self.stop_reason = True, reason
        ends_at = time.monotonic() + grace_s
        if ends_at < self.ends_at:
            self.ends_at = ends_at
            self._end_workers(grace_s)

    # The attempt's way.

    async def conduct(self, working_dir: bytes | None) -> None:
        """Runs the attempt to its end; returns when its bundles are released."""
        self.publish(self._observation(AttemptState.STARTING))
        try:
            await asyncio.to_thread(self._reserve, working_dir)
            for rank in range(len(self.ranks)):
                self._spawn(self._await_task(rank))
            if self.stop_asked:
                self._end_workers(0.0)
            self._spawn(self._watch_start())
            if self.book is not None:
                self.teller = self._spawn(self._publish_progress(self.book))
            while any(worker.ending is None for worker in self.ranks):
                await self.changed.wait()
                self.changed.clear()
        except Exception as error:
            # Whatever went wrong, an attempt must not stay in the table as if it were starting.
            self._fail(Ending(ReasonCode.RAY_ERROR, f"Ray refused the attempt: {error!r}"))
        if self.teller is not None:
            self.teller.cancel()
        self.publish(self._verdict())
        await self._release()

    def _reserve(self, working_dir: bytes | None) -> None:
        """Asks for the bundles and queues a task in each; nothing here waits for them."""
        order = self.order
        shape = bundles.bundle(order)
        self.group = bundles.ask(order)
        archive: Any = None if working_dir is None else ray.put(working_dir)
        for rank, worker in enumerate(self.ranks):
            worker.ref = run_worker.options(
                num_cpus=shape.get("CPU", 0),
                num_gpus=shape.get("GPU", 0),
                memory=shape.get("memory", 0),
                name=f"{order.attempt_id}/{rank}",
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    self.group, placement_group_bundle_index=rank
                ),
            ).remote(order, rank, self.leash_at, archive)

    async def _await_task(self, rank: int) -> None:
        """A task that failed before its worker arrived is not heard of over the leash."""
        worker = self.ranks[rank]
        try:
            await worker.ref
        except RayError as error:
            if worker.ending is None and worker.reaper is None:
                self._reap(rank, str(error).strip().splitlines()[0])

    async def _watch_start(self) -> None:
        await asyncio.sleep(self.start_timeout_s)
        late = [rank for rank, worker in enumerate(self.ranks) if worker.leash is None]
        if late and not self.ending_it:
            told = f"{len(late)} of {len(self.ranks)} workers did not run within"
            nodes = [self.order.nodes[rank] for rank in late]
            why = await bundles.lacking(self.order, self.group, nodes)
            text = f"{told} {self.start_timeout_s:g} s: {why}"
            self._fail(Ending(ReasonCode.RAY_ERROR, text, ended_at_s=time.time()))

    async def _publish_progress(self, book: TaskBook) -> None:
        told = book.version
        while True:
            # All attempts of the cluster at the same moment: each change has all of them told.
            await asyncio.sleep(PROGRESS_EVERY_S - time.time() % PROGRESS_EVERY_S)
            if self.started_at_s is not None and book.version != told:
                told = book.version
                self.publish(self._observation(AttemptState.RUNNING))

    # Ending.

    @property
    def ending_it(self) -> bool:
        return self.stop_asked or self.failure is not None

    def _fail(self, ending: Ending) -> None:
        if not self.ending_it:
            self.failure = ending
            self._end_workers(SIBLING_GRACE_S)

    def _ended(self, rank: int, ending: Ending) -> None:
        self.ranks[rank].ending = ending
        if ending.code is ReasonCode.ACCELERATOR_SICK:
            # While the gang still holds what is sick: whoever asks first then gets it.
            node_id = self.order.nodes[rank]
            self.seek_sick(node_id, self.order.folder(node_id).parent.parent)
        if ending.code is not ReasonCode.OK:
            self._fail(ending)
        self.changed.set()

    def _end_workers(self, grace_s: float) -> None:
        for rank, worker in enumerate(self.ranks):
            if worker.ending is None and worker.leash is None:
                # Without a leash it was never told to go, and never will be.
                self._ended(rank, Ending(ReasonCode.STOPPED, "never ran", ended_at_s=time.time()))
            elif worker.ending is None:
                worker.tell({"kind": "stop", "grace_s": grace_s})
        self._spawn(self._force(grace_s + ANSWER_S))

    async def _force(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        for rank, worker in enumerate(self.ranks):
            if worker.ending is None and worker.reaper is None and worker.ref is not None:
                self._reap(rank, f"it did not answer within {after_s:g} s of being told to stop")

    def _reap(self, rank: int, why: str) -> None:
        message = f"worker {rank} on {self.order.nodes[rank]} was lost: {why}"
        ending = Ending(ReasonCode.WORKER_LOST, message, ended_at_s=time.time())
        self.ranks[rank].reaper = self._spawn(self._reap_worker(rank, ending))
        self._fail(ending)

    async def _reap_worker(self, rank: int, ending: Ending) -> None:
        """Kills a worker's Ray process and, on its node, what that left. A node that does not
        answer is left to its own agent; its processes lost their leash."""
        worker, node_id = self.ranks[rank], self.order.nodes[rank]
        ray.cancel(worker.ref, force=True)
        if worker.leash is not None:
            sweep = clean_up.options(label_selector={NODE_LABEL: node_id}).remote(
                self.order, rank, ending
            )
            try:
                async with asyncio.timeout(REAP_TIMEOUT_S):
                    await sweep
            except (RayError, TimeoutError):
                ray.cancel(sweep)
        self._ended(rank, ending)

    def _verdict(self) -> Observation:
        endings = [worker.ending for worker in self.ranks if worker.ending]
        if self.stop_asked and not all(
            ending.code is ReasonCode.OK and not ending.told_to_stop for ending in endings
        ):
            told, exit_code = self.stop_reason, _exit_code_when_stopped(endings)
            stopped = Ending(told.code, told.message, exit_code, ended_at_s=time.time())
            return self._observation(AttemptState.STOPPED, stopped)
        if self.failure is not None:
            return self._observation(AttemptState.FAILED, self.failure)
        ended_at_s = max(worker.ending.ended_at_s or 0.0 for worker in self.ranks if worker.ending)
        ok = Ending(ReasonCode.OK, "every worker exited with 0", 0)
        ending = replace(self.book.ending() if self.book else ok, ended_at_s=ended_at_s)
        succeeded = ending.code is ReasonCode.OK
        state = AttemptState.SUCCEEDED if succeeded else AttemptState.FAILED
        return self._observation(state, ending)

    async def _release(self) -> None:
        """Gives the bundles back. The tasks are awaited first, as Ray kills the worker processes
        that still run in a group when it is removed, and warm ones are worth keeping."""
        arrived = [worker.ref for worker in self.ranks if worker.leash is not None]
        if arrived:
            tasks = [asyncio.ensure_future(_over(ref)) for ref in arrived]
            await asyncio.wait(tasks, timeout=RELEASE_WAIT_S)
        for worker in self.ranks:
            if worker.leash is None and worker.ref is not None:
                ray.cancel(worker.ref)
        if self.group is not None:
            await asyncio.to_thread(remove_placement_group, self.group)
        for task in self.tasks:
            task.cancel()

    def _observation(self, state: AttemptState, ending: Ending | None = None) -> Observation:
        observation = observation_at(self.order, state, self.started_at_s, ending)
        return replace(observation, tasks=self.book.progress()) if self.book else observation

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def observation_at(
    order: Order, state: AttemptState, started_at_s: float | None, ending: Ending | None
) -> Observation:
    """What is known of an attempt in this state; ``ending`` is None while it runs."""
    return Observation(
        attempt_id=order.attempt_id,
        epoch=order.epoch,
        state=state,
        started_at_s=started_at_s,
        ended_at_s=(ending.ended_at_s or time.time()) if ending else None,
        exit_code=ending.exit_code if ending else None,
        reason=Reason(ending.code, ending.message) if ending else None,
        outlives_lease=order.outlives_lease,
    )


def _exit_code_when_stopped(endings: Sequence[Ending]) -> int | None:
    """SIGKILL's if any worker needed it, as then not all of them have saved their work; None if
    one of them was lost, or never ran."""
    codes = [ending.exit_code for ending in endings]
    if -signal.SIGKILL in codes or None in codes:
        return -signal.SIGKILL if -signal.SIGKILL in codes else None
    return next((code for code in codes if code), 0)


async def _over(ref: Any) -> None:
    """Returns when a task is over, however it ended; its worker told how."""
    try:
        await ref
    except RayError:
        return
