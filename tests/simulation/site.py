"""A western site as a model: the head node's disk, and Ray with its site actor and processes."""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from agents.lease import Lease
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from tests.simulation.loop import HostClock

# How long workers outlive their site actor.
LEASH_S = 3.0
LEASE_LOOK_S = 0.5
# Between SIGKILL and the end.
KILLED_S = 0.3


@dataclass(slots=True)
class Life:
    """One process of an attempt, from start to end: the truth that the checkers go by."""

    job_id: str
    attempt_id: str
    cluster: str
    started_s: float
    ended_s: float | None = None
    succeeded: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What an attempt would do if nobody stopped it. ``stubborn`` ones ignore SIGTERM."""

    startup_s: float
    runs_s: float
    exit_code: int
    stubborn: bool


@dataclass(slots=True)
class Gang:
    """An attempt in the site actor's memory."""

    epoch: int
    state: AttemptState = AttemptState.STARTING
    reason: Reason | None = None
    stopping: Reason | None = None
    life: Life | None = None
    ends_s: float = float("inf")
    # When a stop that was asked for has killed it at the latest.
    killed_s: float = float("inf")
    outlives_lease: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """An attempt on the head node's disk; ``ray`` is the Ray it may have been started in."""

    epoch: int
    job_id: str
    state: AttemptState = AttemptState.STARTING
    reason: Reason | None = None
    ray: int | None = None
    stop_grace_s: float | None = None
    granted_grace_s: float = 5.0
    outlives_lease: bool = False


class MemoryFile:
    """As much of a Path as the lease's keeper uses; survives the daemon, not a reboot."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.broken = False

    def with_suffix(self, _: str) -> "MemoryFile":
        partial = MemoryFile()
        partial.broken = self.broken
        return partial

    def write_text(self, text: str, encoding: str) -> None:
        if self.broken:
            raise OSError(28, f"no space left for {len(text)} characters in {encoding}")
        self.text = text

    def replace(self, target: "MemoryFile") -> None:
        target.text = self.text

    def read_text(self, encoding: str) -> str:
        if self.text is None:
            raise FileNotFoundError(f"no file to read as {encoding}")
        return self.text


@dataclass
class Site:
    """One cluster. ``born`` is told of every process as it starts, ``forgotten`` of every attempt
    of which the head node's disk keeps nothing any more."""

    name: str
    loop: asyncio.AbstractEventLoop
    clock: HostClock
    chance: random.Random
    work: Callable[[str], Work]
    born: Callable[[Life], None]
    forgotten: Callable[[str], None]
    records: dict[str, Record] = field(default_factory=dict)
    lease_file: MemoryFile = field(default_factory=MemoryFile)
    gangs: dict[str, Gang] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    ray: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lease: Lease | None = None
    _rays: Any = field(default_factory=lambda: itertools.count(1))

    # Ray as a whole.

    def start_ray(self) -> None:
        """A fresh Ray, whose site actor knows of nothing."""
        if self.ray is None:
            self.ray = next(self._rays)
            self.lease = None
            self.changed.set()
            self._watch_lease(self.ray)

    def lose_ray(self, leash_s: float = LEASH_S) -> None:
        """The site actor is gone at once; workers notice within ``leash_s``."""
        self.ray = None
        self.gangs.clear()
        for life in self.lives:
            if life.ended_s is None:
                self.loop.call_later(self.chance.uniform(0, leash_s), self._end_life, life)
        self.changed.set()

    def reboot(self) -> None:
        """Everything that ran is gone in the same moment; the lease is of an earlier boot."""
        self.lose_ray(0.0)
        for life in self.lives:
            self._end_life(life)
        if self.lease_file.text is not None:
            self.lease_file.text = self.lease_file.text.replace('"boot": "', '"boot": "before ')

    # The site actor, as the executor speaks to it.

    def start(self, attempt_id: str, record: Record) -> None:
        if attempt_id in self.gangs:
            return
        gang = self.gangs[attempt_id] = Gang(record.epoch, outlives_lease=record.outlives_lease)
        if self._lease_over(gang):
            over = Reason(ReasonCode.LEASE_EXPIRED, "its lease was over before it could start")
            self._over(gang, AttemptState.STOPPED, over)
            return
        job_id = record.job_id
        work = self.work(attempt_id)
        self.changed.set()
        self.loop.call_later(work.startup_s, self._run, attempt_id, job_id, gang, work)

    def stop(self, attempt_id: str, grace_s: float, reason: Reason) -> None:
        gang = self.gangs.get(attempt_id)
        if gang is None or gang.state.final:
            return
        gang.stopping = gang.stopping or reason
        if self.loop.time() + grace_s >= gang.killed_s:
            return
        gang.killed_s = self.loop.time() + grace_s
        if gang.life is None:
            self._over(gang, AttemptState.STOPPED, gang.stopping)
            return
        takes_s = self.chance.uniform(0, grace_s)
        if self.work(attempt_id).stubborn:
            takes_s = grace_s + self.chance.uniform(0, KILLED_S)
        if self.loop.time() + takes_s < gang.ends_s:
            gang.ends_s = self.loop.time() + takes_s
            self.loop.call_later(takes_s, self._stopped, gang)

    def forget(self, attempt_id: str) -> None:
        gang = self.gangs.get(attempt_id)
        if gang is not None and gang.state.final:
            del self.gangs[attempt_id]

    def _watch_lease(self, ray: int) -> None:
        if self.ray != ray:
            return
        for attempt_id, gang in list(self.gangs.items()):
            if self.lease is not None and self._lease_over(gang):
                over = Reason(ReasonCode.LEASE_EXPIRED, "no agent has renewed the lease")
                self.stop(attempt_id, self.lease.grace_s(self.clock.now_s()), over)
        self.loop.call_later(LEASE_LOOK_S, self._watch_lease, ray)

    def _lease_over(self, gang: Gang) -> bool:
        if self.lease is None or gang.outlives_lease:
            return False
        return not self.lease.held(self.clock.now_s())

    # Processes.

    def _run(self, attempt_id: str, job_id: str, gang: Gang, work: Work) -> None:
        if self.gangs.get(attempt_id) is not gang or gang.state.final:
            return
        now_s = self.loop.time()
        gang.life = Life(job_id, attempt_id, self.name, now_s)
        gang.state = AttemptState.RUNNING
        gang.ends_s = now_s + work.runs_s
        self.lives.append(gang.life)
        self.loop.call_later(work.runs_s, self._exit, gang, work)
        self.changed.set()
        self.born(gang.life)

    def _exit(self, gang: Gang, work: Work) -> None:
        """The command came to its own end, unless something else had ended it before."""
        if gang.life is None or gang.life.ended_s is not None:
            return
        gang.life.succeeded = work.exit_code == 0
        self._end_life(gang.life)
        if work.exit_code == 0:
            self._over(gang, AttemptState.SUCCEEDED, Reason(ReasonCode.OK, "exit code 0"))
        else:
            told = f"exit code {work.exit_code}"
            self._over(gang, AttemptState.FAILED, Reason(ReasonCode.NONZERO_EXIT, told))

    def _stopped(self, gang: Gang) -> None:
        if gang.life is not None and gang.life.ended_s is None:
            self._end_life(gang.life)
            self._over(gang, AttemptState.STOPPED, gang.stopping)

    def _end_life(self, life: Life) -> None:
        if life.ended_s is None:
            life.ended_s = self.loop.time()

    def _over(self, gang: Gang, state: AttemptState, reason: Reason | None) -> None:
        gang.state, gang.reason = state, reason
        self.changed.set()

    def end_attempt(self, attempt_id: str) -> None:
        """What the executor does to leftovers on a lost Ray."""
        for life in self.lives:
            if life.attempt_id == attempt_id:
                self._end_life(life)

    def keep(self, attempt_id: str, **changes: Any) -> None:
        """Writes a record anew."""
        self.records[attempt_id] = replace(self.records[attempt_id], **changes)
