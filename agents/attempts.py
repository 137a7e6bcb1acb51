"""Converges the cluster to what the scheduler desires, and tells what is observed of it."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from agents import lease, wire
from agents.executor.base import Executor, Observation
from agents.link import Session
from agents.reconcile import Forget, LeaseState, Seen, Start, Stop, Wanted, job_of, reconcile
from agents.waiting import wait
from agents.workdirs import WorkingDirError, WorkingDirs
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from westward.v1 import node_pb2

log = structlog.get_logger()

OBSERVE_S = 5.0
# Everything is told again so often, and several times within a lease; each answer renews it.
TELL_EVERY_S = 3.0
TELLS_PER_LEASE = 6
# Changes that come closer together than this are told together.
TELL_GAP_S = 0.05
STOP_AGAIN_S = 10.0
LOOK_AGAIN_S = 1.0
REMEMBERED_ENDS = 10_000


@dataclass(slots=True)
class _Given:
    """An attempt on its way to the executor; ``given_s`` is when the executor had taken it."""

    epoch: int
    task: asyncio.Task[None] | None = None
    fetching: bool = True
    given_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    at_s: float
    code: ReasonCode


class Attempts:
    """The attempts of one cluster, on its head node."""

    def __init__(self, executor: Executor, working_dirs: WorkingDirs, lease_file: Path) -> None:
        self._executor = executor
        self._working_dirs = working_dirs
        self._lease_file = lease_file
        self._lease = lease.read(lease_file)
        if self._lease is not None:
            executor.hold(self._lease)
        self._wanted: dict[str, node_pb2.DesiredAttempt] | None = None
        self._ttl_s = math.inf
        # The newest desired state by stream and seq: as it came, and as it was last acted on.
        self._came: tuple[Session | None, int] = (None, 0)
        self._acted: tuple[Session | None, int] = (None, 0)
        self._acted_on: frozenset[str] = frozenset()
        self._observations: dict[str, Observation] = {}
        self._looked = asyncio.Event()
        self._given: dict[str, _Given] = {}
        # Ended before the executor had them.
        self._unstarted: dict[str, Observation] = {}
        self._stopping: dict[str, _Asked] = {}
        self._forgotten: set[str] = set()
        self._confirmed: set[str] = set()
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._end_told_seq: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Looks and acts until cancelled; attempts keep running afterwards."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look())
                group.create_task(self._act())
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

    async def on_desired(self, session: Session, message: node_pb2.ConnectResponse) -> None:
        """Takes what should run; a message older than the last of its stream is left aside."""
        desired = message.desired
        last_session, last_seq = self._came
        if session is last_session and message.seq <= last_seq:
            return
        if not (math.isfinite(desired.lease_ttl_s) and desired.lease_ttl_s > 0):
            raise wire.RefusedMessageError(
                f"desired.lease_ttl_s is {desired.lease_ttl_s:g}, not more than 0"
            )
        if self._lease_state() is LeaseState.ENDING:
            # Whatever held this daemon up: what outlived its lease is stopped before a new one
            # could seem to cover it.
            for action in self._actions():
                self._perform(action)
        self._came = (session, message.seq)
        self._wanted = {attempt.attempt_id: attempt for attempt in desired.attempts}
        self._ttl_s = desired.lease_ttl_s
        sent_at_s = session.sent_at_s(desired.lease_answers_seq)
        if sent_at_s is not None:
            self._renew(sent_at_s, desired.lease_ttl_s)
        self._confirm(session, desired)
        self._wake.set()

    def _confirm(self, session: Session, desired: node_pb2.DesiredState) -> None:
        """Notes which ends are stored. That one was heard is not enough: the write may have failed,
        or the scheduler died before it, and nobody else knows how the attempt ended."""
        stored_seq = desired.lease_answers_seq
        if desired.HasField("stored_seq"):
            stored_seq = desired.stored_seq
        if session.sent_at_s(stored_seq) is None:
            return
        self._confirmed |= {
            attempt_id for attempt_id, seq in self._end_told_seq.items() if seq <= stored_seq
        }

    async def tell(self, session: Session, terms: wire.Terms) -> None:
        """Tells all that is observed on a stream, on every change and every few seconds."""
        self._end_told_seq = {}
        # Before the first look, "nothing runs" would be a guess.
        await self._looked.wait()
        while True:
            self._news.clear()
            known = self._waiting() | self._known()
            told = [wire.observed(known[attempt_id], terms.clock) for attempt_id in sorted(known)]
            acted_session, acted_seq = self._acted
            answers_seq = acted_seq if acted_session is session else 0
            seq = await session.send(
                observed=node_pb2.ObservedState(
                    attempts=told,
                    answers_desired_seq=answers_seq,
                    not_serving=self._executor.not_serving(),
                )
            )
            for observation in known.values():
                if observation.state.final:
                    self._end_told_seq.setdefault(observation.attempt_id, seq)
            await asyncio.sleep(TELL_GAP_S)
            await wait(self._news, min(TELL_EVERY_S, self._ttl_s / TELLS_PER_LEASE))

    def _renew(self, sent_at_s: float, ttl_s: float) -> None:
        renewed = lease.renewed(self._lease, sent_at_s=sent_at_s, ttl_s=ttl_s)
        if renewed is self._lease:
            return
        self._lease = renewed
        self._executor.hold(renewed)
        try:
            lease.write(renewed, self._lease_file)
        except OSError as error:
            # What is on disk ends earlier than what was granted: safe for the next daemon.
            log.warning("lease_not_kept", file=str(self._lease_file), error=str(error))

    def _lease_state(self) -> LeaseState:
        if self._lease is None:
            return LeaseState.UNKNOWN
        return LeaseState.HELD if self._lease.held(lease.lease_clock_s()) else LeaseState.ENDING

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                observations = await self._executor.observe(OBSERVE_S)
            except Exception:
                # Whatever an executor meets, leases must go on being kept: it is logged, what was
                # observed before still stands, and a lease that runs out stops its attempt.
                log.exception("observe_failed")
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            self._observations = {o.attempt_id: o for o in observations}
            self._forgotten &= self._observations.keys()
            for attempt_id, given in list(self._given.items()):
                # Taken before this look and not seen by it: the executor lost it.
                lost = given.given_s is not None and given.given_s < began_s
                if attempt_id in self._observations or lost:
                    del self._given[attempt_id]
            self._looked.set()
            self._changed()

    def _changed(self) -> None:
        self._news.set()
        self._wake.set()

    async def _act(self) -> None:
        await self._looked.wait()
        while True:
            self._wake.clear()
            came = self._came
            for action in self._actions():
                self._perform(action)
            if came != self._acted:
                self._acted = came
                self._tell_if_others_are_wanted()
            remaining_s = LOOK_AGAIN_S
            if self._lease is not None and self._lease_state() is LeaseState.HELD:
                remaining_s = self._lease.stop_at_s - lease.lease_clock_s()
            await wait(self._wake, min(LOOK_AGAIN_S, max(0.01, remaining_s)))

    def _tell_if_others_are_wanted(self) -> None:
        """A desired state that names the same attempts as the one before needs no answer: each
        answer brings a desired state, and the two would chase each other."""
        wanted = frozenset(self._wanted or ())
        if wanted != self._acted_on:
            self._acted_on = wanted
            self._news.set()

    def _actions(self) -> list[Start | Stop | Forget]:
        known = self._known()
        for observation in known.values():
            if observation.state.final:
                self._remember_end(observation)
        wanted = None
        if self._wanted is not None:
            wanted = [Wanted(a.attempt_id, a.epoch) for a in self._wanted.values()]
        return reconcile(
            wanted,
            [Seen(o.attempt_id, o.epoch, o.state, o.outlives_lease) for o in known.values()],
            self._lease_state(),
            self._confirmed,
            self._ended,
        )

    def _remember_end(self, observation: Observation) -> None:
        job_id = job_of(observation.attempt_id)
        self._ended[job_id] = max(observation.epoch, self._ended.get(job_id, -1))
        self._ended.move_to_end(job_id)
        while len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    def _known(self) -> dict[str, Observation]:
        """All attempts here: on the way, refused before they ran, and the executor's own."""
        known = {
            attempt_id: Observation(
                attempt_id=attempt_id, epoch=given.epoch, state=AttemptState.STARTING
            )
            for attempt_id, given in self._given.items()
        }
        known |= self._unstarted
        known |= {
            attempt_id: self._with_our_reason(observation)
            for attempt_id, observation in self._observations.items()
            if attempt_id not in self._forgotten
        }
        return known

    def _waiting(self) -> dict[str, Observation]:
        """Attempts that will start once the lease or another attempt of their job lets them.

        They must be told of: the scheduler takes what is wanted and not told of for gone.
        """
        return {
            attempt.attempt_id: Observation(
                attempt_id=attempt.attempt_id, epoch=attempt.epoch, state=AttemptState.STARTING
            )
            for attempt in (self._wanted or {}).values()
            if attempt.epoch > self._ended.get(job_of(attempt.attempt_id), -1)
        }

    def _with_our_reason(self, observation: Observation) -> Observation:
        """The executor knows that it was told to stop an attempt, but not why."""
        asked = self._stopping.get(observation.attempt_id)
        if observation.state is not AttemptState.STOPPED or asked is None:
            return observation
        return replace(observation, reason=_stop_reason(asked.code))

    def _perform(self, action: Start | Stop | Forget) -> None:
        match action:
            case Start(attempt_id):
                self._start(attempt_id)
            case Stop(attempt_id, code):
                self._stop(attempt_id, code)
            case Forget(attempt_id):
                self._forget(attempt_id)

    def _start(self, attempt_id: str) -> None:
        assert self._wanted is not None
        attempt = self._wanted[attempt_id]
        log.info("attempt_starts", attempt=attempt_id, epoch=attempt.epoch)
        given = self._given[attempt_id] = _Given(attempt.epoch)
        if not attempt.may_start:
            # Its spec may be left out.
            told = "it has run before and the agent no longer knows it"
            self._never_started(attempt_id, Reason(ReasonCode.WORKER_LOST, told))
            return
        if (objection := wire.objection(attempt)) is not None:
            self._never_started(attempt_id, Reason(ReasonCode.RAY_ERROR, objection))
            return
        given.task = self._spawn(self._give(attempt, given), f"start {attempt_id}")
        self._news.set()

    async def _give(self, attempt: node_pb2.DesiredAttempt, given: _Given) -> None:
        """Fetches what the attempt needs and hands it to the executor."""
        attempt_id, sha256 = attempt.attempt_id, attempt.spec.working_dir_sha256
        try:
            path = await self._working_dirs.get(sha256) if sha256 else None
            # The fetch may have outlasted the lease.
            if self._lease_state() is not LeaseState.HELD:
                self._never_started(attempt_id, _stop_reason(ReasonCode.LEASE_EXPIRED))
                return
            given.fetching = False
            await self._executor.start(wire.assignment(attempt, path))
            given.given_s = asyncio.get_running_loop().time()
        except WorkingDirError as error:
            self._never_started(attempt_id, Reason(ReasonCode.WORKING_DIR, str(error)))
        except Exception as error:
            log.exception("start_failed", attempt=attempt_id)
            self._never_started(attempt_id, Reason(ReasonCode.RAY_ERROR, repr(error)))

    def _never_started(self, attempt_id: str, reason: Reason) -> None:
        """Ends an attempt on its way that the executor will not see."""
        stopped = reason.code in (ReasonCode.STOPPED, ReasonCode.LEASE_EXPIRED)
        given = self._given.pop(attempt_id)
        log.warning("attempt_not_started", attempt=attempt_id, reason=reason.message)
        self._unstarted[attempt_id] = Observation(
            attempt_id=attempt_id,
            epoch=given.epoch,
            state=AttemptState.STOPPED if stopped else AttemptState.FAILED,
            reason=reason,
        )
        self._changed()

    def _stop(self, attempt_id: str, code: ReasonCode) -> None:
        given = self._given.get(attempt_id)
        if given is not None and attempt_id not in self._observations:
            # Once the executor is being asked, its own observation decides what there is to stop.
            if given.fetching and given.task is not None:
                given.task.cancel()
                self._never_started(attempt_id, _stop_reason(code))
            return
        now_s = lease.lease_clock_s()
        asked = self._stopping.get(attempt_id)
        sooner = code is ReasonCode.LEASE_EXPIRED and asked is not None and asked.code is not code
        if asked is not None and not sooner and now_s - asked.at_s < STOP_AGAIN_S:
            return
        grace_s = None
        if code is ReasonCode.LEASE_EXPIRED and self._lease is not None:
            grace_s = self._lease.grace_s(now_s)
        self._stopping[attempt_id] = _Asked(now_s, code)
        log.info("attempt_stops", attempt=attempt_id, code=code, grace_s=grace_s)
        stopping = self._executor.stop(attempt_id, grace_s=grace_s)
        self._spawn(stopping, f"stop {attempt_id}")

    def _forget(self, attempt_id: str) -> None:
        self._unstarted.pop(attempt_id, None)
        self._stopping.pop(attempt_id, None)
        self._confirmed.discard(attempt_id)
        self._end_told_seq.pop(attempt_id, None)
        if attempt_id in self._observations:
            self._forgotten.add(attempt_id)
            self._spawn(self._drop(attempt_id), f"forget {attempt_id}")

    async def _drop(self, attempt_id: str) -> None:
        try:
            await self._executor.forget(attempt_id)
        except Exception:
            # Whatever it was, the task's end logs it; here the attempt is taken for known again, so
            # that it is told again, heard of again, and dropped again.
            self._forgotten.discard(attempt_id)
            raise

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Asked again by a later pass, for as long as it is still called for.
            log.error("action_failed", action=task.get_name(), error=repr(error))


def _stop_reason(code: ReasonCode) -> Reason:
    if code is ReasonCode.LEASE_EXPIRED:
        told = "stopped before its lease could expire: the scheduler had been silent"
        return Reason(code, told)
    return Reason(code, "stopped: no longer desired")
