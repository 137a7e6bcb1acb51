"""The simulated clock: arrivals, ends and rounds, one after the other, always in the same order.

A round is made when something happened that may let a job start (an arrival, an end, a stop, a
job's earliest start), gathered for ``gather_s``; when a planned start is due; and at every slot's
beginning while anything waits, since prices, green supply and power change there.
"""

import heapq
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from scheduler.planner.pauses import next_ask_at
from scheduler.planner.plan import Interruption
from scheduler.planner.snapshot import Claim, PlannedStart, Snapshot
from scheduler.planner.stability import changed
from scheduler.replay.book import Live, ReplayBook
from scheduler.replay.case import CaseError, ReplayCase
from scheduler.replay.fleet import Fleet
from scheduler.replay.outcome import Outcome, RoundNote
from scheduler.replay.placers import Decision, Placer, placer_of

# Times closer than this are the same.
TICK = timedelta(microseconds=1)


class _What(IntEnum):
    """In this order at the same time: what ends makes room for what arrives."""

    END = 0
    ARRIVE = 1
    READY = 2
    EXPIRE = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come."""

    clock_at: datetime
    ended: int
    jobs: int


def replay(
    case: ReplayCase,
    policy: str,
    *,
    placer: Placer | None = None,
    gather_s: float = 60.0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Replays a case under one policy.

    Args:
        placer: in place of the policy's own, e.g. the planner with another budget.
        gather_s: what happens is gathered so long before a round; 0: a round for every event.

    Raises:
        CaseError: an unknown policy, or a job id that appears twice.
    """
    fleet = Fleet(case.world.nodes, case.world.sites)
    engine = _Engine(case, fleet, placer or placer_of(policy, fleet), gather_s)
    began_s = time.perf_counter()
    engine.run(on_progress)
    return Outcome(
        policy=policy,
        case=case,
        runs=tuple(engine.book.runs),
        states=engine.book.states(),
        rounds=tuple(engine.rounds),
        clock_at=engine.now_at,
        wall_s=time.perf_counter() - began_s,
    )


class _Engine:
    def __init__(self, case: ReplayCase, fleet: Fleet, placer: Placer, gather_s: float) -> None:
        self._case = case
        self._placer = placer
        self._gather = timedelta(seconds=gather_s)
        self._number = itertools.count()
        self._due: list[tuple[datetime, _What, int, str]] = []
        self._arriving = {job.id: job for job in case.jobs}
        self._asked_at: datetime | None = None
        self._start_due_at: datetime | None = None
        self._pause_due_at: datetime | None = None
        self._slot_end_at = case.start_at
        self._previous: dict[str, PlannedStart] = {}
        self._claims: dict[str, Claim] = {}
        # Since when nothing ran and nothing started.
        self._idle_since: datetime | None = None
        self.book = ReplayBook(fleet)
        self.now_at = case.start_at
        self.rounds: list[RoundNote] = []
        for job_id, times in Counter(job.id for job in case.jobs).items():
            if times > 1:
                raise CaseError(f"job id {job_id!r} appears {times} times; give every job its own")
        for job in case.jobs:
            self._push(max(job.submitted_at, case.start_at), _What.ARRIVE, job.id)

    def run(self, on_progress: Callable[[Progress], None]) -> None:
        """Until every job has ended, or nothing moves any more."""
        jobs = len(self._arriving)
        while not self._over():
            times = [at for at in (self._due[0][0] if self._due else None, self._round_at()) if at]
            self.now_at = max(min(times), self.now_at)
            while self._due and self._due[0][0] <= self.now_at:
                _, what, _, name = heapq.heappop(self._due)
                self._happen(what, name)
            # Past slots in which nothing waited ask for nothing.
            self._slot_end_at = max(self._slot_end_at, self._slot_from(self.now_at))
            round_at = self._round_at()
            if round_at is not None and round_at <= self.now_at:
                self._round()
            on_progress(Progress(self.now_at, jobs - self._unfinished(), jobs))

    def _unfinished(self) -> int:
        return len(self._arriving) + len(self.book.pending) + len(self.book.live)

    def _over(self) -> bool:
        """Every job has ended; or for a whole horizon nothing has run, started or arrived, and
        what waits will never start."""
        if self._arriving or self.book.live:
            self._idle_since = None
            return False
        if not self.book.pending:
            return True
        self._idle_since = self._idle_since or self.now_at
        idle_s = (self.now_at - self._idle_since).total_seconds()
        return idle_s > self._case.horizon_slots * self._case.slot_s

    def _round_at(self) -> datetime | None:
        """When the next round is due if nothing else happens before; None: it could do nothing."""
        stoppable = self._placer.interrupts and self.book.stoppable
        if not self.book.pending and not stoppable:
            return None
        times = (self._asked_at, self._start_due_at, self._pause_due_at, self._slot_end_at)
        return min(at for at in times if at is not None)

    def _push(self, at: datetime, what: _What, name: str) -> None:
        heapq.heappush(self._due, (at, what, next(self._number), name))

    def _ask(self) -> None:
        """Something happened: a round soon."""
        if self._asked_at is None:
            self._asked_at = self.now_at + self._gather

    def _happen(self, what: _What, name: str) -> None:
        if what is _What.END:
            self._end(name)
        elif what is _What.ARRIVE:
            traced = self._arriving.pop(name)
            self.book.submit(traced)
            self._wait(name)
            earliest_at = traced.spec.earliest_start_at
            if earliest_at is not None and earliest_at > self.now_at:
                self._push(earliest_at, _What.READY, name)
        elif what is _What.EXPIRE and self.book.expire(name, self.now_at):
            self._previous.pop(name, None)
            self._claims.pop(name, None)
        elif what is _What.READY:
            self._ask()

    def _wait(self, job_id: str) -> None:
        """A job begins to wait."""
        self._ask()
        expire_at = self.book.expire_at(job_id)
        if expire_at is not None:
            self._push(max(expire_at, self.now_at) + TICK, _What.EXPIRE, job_id)

    def _end(self, attempt_id: str) -> None:
        live = self.book.live.get(attempt_id)
        if live is None or live.end_at > self.now_at:
            return  # the end it would have had, had it not been stopped before
        self.book.end(attempt_id, self.now_at)
        if live.stopping:
            self._wait(live.run.job_id)
        elif self.book.pending:
            self._ask()

    def _round(self) -> None:
        snapshot = self._snapshot()
        began_s = time.perf_counter()
        decision = self._placer.place(snapshot)
        wall_ms = (time.perf_counter() - began_s) * 1000
        starting = [p for p in decision.placements if p.now]
        for placement in starting:
            live = self.book.start(placement, self.now_at)
            self._push(live.end_at, _What.END, live.run.attempt_id)
            self._claims.pop(placement.job_id, None)
        stopped = [i for i in decision.interruptions if self._stop(i)]
        kept, moved = self._moved(decision)
        self._previous = {
            p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at)
            for p in decision.placements
            if not p.now
        }
        self._next_times()
        self.rounds.append(
            RoundNote(
                at=self.now_at,
                jobs=len(snapshot.jobs),
                started=len(starting),
                planned=len(self._previous),
                stopped=len(stopped),
                wall_ms=wall_ms,
                gap=decision.gap,
                kept=kept,
                moved=moved,
            )
        )

    def _next_times(self) -> None:
        """When to look again if nothing happens: a planned start, a grace before a run could
        pause, the next slot."""
        self._asked_at = None
        planned = [max(p.start_at, self.now_at + TICK) for p in self._previous.values()]
        self._start_due_at = min(planned, default=None)
        now_at, slot_s = self.now_at, self._case.slot_s
        asks = [next_ask_at(now_at, grace_s, slot_s) for grace_s in self.book.graces_s()]
        self._pause_due_at = min(asks, default=None) if self._placer.interrupts else None
        self._slot_end_at = self._slot_from(self.now_at + TICK)

    def _slot_from(self, at: datetime) -> datetime:
        """The first beginning of a slot that is not before a time."""
        slot_s = self._case.slot_s
        slot = math.ceil(at.timestamp() / slot_s)
        return max(datetime.fromtimestamp(slot * slot_s, at.tzinfo), at)

    def _snapshot(self) -> Snapshot:
        self._claims = {k: c for k, c in self._claims.items() if c.until_at > self.now_at}
        return Snapshot(
            now_at=self.now_at,
            slot_s=self._case.slot_s,
            slots=self._case.horizon_slots,
            jobs=tuple(self.book.pending.values()),
            running=self.book.running_at(self.now_at),
            nodes=self._case.world.nodes,
            sites=self._case.world.sites,
            regions=self._case.world.regions,
            previous=self._previous,
            claims=tuple(claim for _, claim in sorted(self._claims.items())),
        )

    def _stop(self, interruption: Interruption) -> bool:
        """Asks an attempt to stop; its room is kept for the job it makes way for."""
        live = self.book.stop(interruption, self.now_at)
        if live is None:
            return False
        self._push(live.end_at, _What.END, live.run.attempt_id)
        waiting = self.book.pending.get(interruption.for_job)
        if waiting is not None:
            self._claims[waiting.id] = self._claim(waiting.id, waiting.spec.priority, live)
        return True

    def _claim(self, job_id: str, priority: int, live: Live) -> Claim:
        grace_s = live.traced.spec.stop_grace_s
        return Claim(
            job_id=job_id,
            priority=priority,
            cluster=live.run.cluster,
            accelerator=live.run.accelerator,
            until_at=self.now_at + timedelta(seconds=grace_s + self._case.slot_s),
        )

    def _moved(self, decision: Decision) -> tuple[int, int]:
        """Plans of the round before whose time has not passed, and how many of them are moved."""
        found = changed(self._previous, self.now_at, decision.placements)
        return found.ahead, found.moved
