"""Who has to give way: attempts of lower priority that a waiting gang needs gone, and no more.

A job that waits for nothing but room may have it freed where that gains more, by what waiting costs
it, than stopping costs the others; what they wait then is what a lower priority means.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from policies.scene import Floats, Ints
from scheduler.domain.explanation import Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.binding import blocking_rows
from scheduler.planner.block import Block
from scheduler.planner.decision import Decision
from scheduler.planner.places import Choice
from scheduler.planner.plan import Interruption, InterruptionKind, Placement, Verdict
from scheduler.planner.pools import need_of
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot
from scheduler.planner.stopping import stop_yuan, under_way
from scheduler.planner.victims import Victim, cheapest_room, rooms, taken

WAITS_FOR_ROOM = frozenset({ReasonCode.CAPACITY, ReasonCode.GANG_FRAGMENTED})
# Pools that are searched for victims, those first that are cheapest now: for one job, and in one
# round for all.
POOLS_MOST = 4
SEARCHES_MOST = 40


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that could start now if there were room, with its class and the place it has."""

    job: PendingJob
    klass: int
    choice: Choice | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool that could be freed for a job."""

    pool: int
    victims: tuple[int, ...]  # indices into the running attempts
    workers: Ints
    terms: dict[str, float]
    cost_yuan: float

    @property
    def net_yuan(self) -> float:
        return sum(self.terms.values()) - self.cost_yuan


@dataclass(frozen=True, slots=True)
class Preempted:
    """The attempts to stop, and per waiting job what is being done for it."""

    interruptions: tuple[Interruption, ...]
    told: dict[str, str]


def preempt(
    snapshot: Snapshot,
    decision: Decision,
    placements: Sequence[Placement],
    verdicts: Sequence[Verdict],
) -> Preempted:
    """Frees room for the waiting, the highest priority first, the oldest first among equals."""
    waiting = _waiting(snapshot, decision, verdicts)
    if not waiting:
        return Preempted((), {})
    most = waiting[0].job.spec.priority - decision.model.scene.weights.preempt_priority_step
    if not any(
        under_way(attempt, snapshot) or (attempt.spec.priority <= most and attempt.stoppable)
        for attempt in snapshot.running
    ):
        return Preempted((), {})
    return _Preemption(snapshot, decision, placements).of(waiting)


def _waiting(snapshot: Snapshot, decision: Decision, verdicts: Sequence[Verdict]) -> list[Waiting]:
    scene, found = decision.model.scene, []
    members, places = scene.classes.members.tolist(), decision.places
    for j in np.flatnonzero(scene.classes.ready_s[places.klass] <= scene.now_s).tolist():
        told = verdicts[members[j]]
        if told.outcome is not Outcome.PLACED and told.code in WAITS_FOR_ROOM:
            job = snapshot.jobs[members[j]]
            found.append(Waiting(job, int(places.klass[j]), places.choice(j)))
    return sorted(found, key=lambda w: (-w.job.spec.priority, w.job.submitted_at, w.job.id))


class _Preemption:
    """One round's search; what is given to one job is gone for the next."""

    def __init__(
        self, snapshot: Snapshot, decision: Decision, placements: Sequence[Placement]
    ) -> None:
        self._snapshot, self._decision = snapshot, decision
        self._model, self._scene = decision.model, decision.model.scene
        self._weights = decision.model.scene.weights
        self._searches = SEARCHES_MOST
        self._last_block: Block | None = None
        self._where = {
            node.id: (p, n)
            for p, pool in enumerate(self._scene.pools)
            for n, node in enumerate(pool.nodes)
        }
        # What is free now, and with what is about to be.
        self._free = [
            np.stack([p.free_gpus[:, 0], p.free_cpus[:, 0], p.free_memory_gb[:, 0]], axis=1)
            - p.over
            for p in self._scene.pools
        ]
        specs = {job.id: job.spec for job in snapshot.jobs}
        for placement in placements:
            for name in placement.nodes:
                p, n = self._where[name]
                self._free[p][n] -= need_of(specs[placement.job_id])
        # No room is made on single nodes that are, or will be, in maintenance.
        single = (closure for closure in self._scene.closures if not closure.whole)
        closed = {(c.pool, n) for c in single for n in c.nodes.tolist()}
        for p, n in closed:
            self._free[p][n] = 0.0
        self._soon = [free.copy() for free in self._free]
        self._stoppable: dict[int, list[int]] = {}
        self._known: set[int] = set()
        self._victims: dict[int, Victim] = {}
        for r, attempt in enumerate(snapshot.running):
            if under_way(attempt, snapshot):
                for pool, node in self._nodes(attempt):
                    if (pool, node) not in closed:
                        self._soon[pool][node] += need_of(attempt.spec)
            elif attempt.stoppable and self._outlasts_its_grace(attempt):
                first = next(self._nodes(attempt), None)
                if first is not None and closed.isdisjoint(self._nodes(attempt)):
                    self._stoppable.setdefault(first[0], []).append(r)

    def _nodes(self, attempt: RunningAttempt) -> Iterator[tuple[int, int]]:
        """(pool, row) of each of its workers on a node that takes new work."""
        for name in attempt.nodes:
            if name in self._where:
                yield self._where[name]

    def _outlasts_its_grace(self, attempt: RunningAttempt) -> bool:
        left_s = (attempt.expected_end_at - self._snapshot.now_at).total_seconds()
        return not 0 < left_s <= attempt.spec.stop_grace_s

    def of(self, waiting: Sequence[Waiting]) -> Preempted:
        interruptions: list[Interruption] = []
        told: dict[str, str] = {}
        for one in waiting:
            pairs = list(self._open_pairs(one))
            if self._has_room(one, pairs, told):
                continue
            best = max(self._offers(one, pairs), key=lambda o: (o.net_yuan, -o.pool), default=None)
            if best is None or best.net_yuan <= 0:
                continue
            interruptions += self._stop(one, best)
            told[one.job.id] = self._told(best)
        return Preempted(tuple(interruptions), told)

    def _open_pairs(self, one: Waiting) -> Iterator[int]:
        """The pairs in which only room is missing for a start now."""
        residual, block = self._decision.residual, self._block(one.klass)
        if one.choice is not None:
            residual.place(one.choice, -1)
        for pair in range(block.span.start, block.span.stop):
            judge = block.verdict(pair - block.span.start, 0)
            if judge is not None and judge.code is not ReasonCode.CAPACITY:
                continue
            rows = blocking_rows(self._model, residual, Choice(pair, 0))
            codes = {self._model.family_of(row).code for row, _ in rows}
            if codes <= {ReasonCode.CAPACITY}:
                yield pair
        if one.choice is not None:
            residual.place(one.choice)

    def _block(self, klass: int) -> Block:
        """The options of a class; those of the last one asked for are kept."""
        if self._last_block is None or self._last_block.klass != klass:
            self._last_block = Block(self._model, klass)
        return self._last_block

    def _now_yuan(self, one: Waiting, pair: int) -> float:
        """What a start now would cost by itself."""
        block = self._block(one.klass)
        return sum(float(yuan[pair - block.span.start, 0]) for _, yuan in block.terms)

    def _has_room(self, one: Waiting, pairs: Sequence[int], told: dict[str, str]) -> bool:
        """Sets aside what is free or is being freed, if that is enough."""
        need, workers = need_of(one.job.spec), one.job.spec.workers
        for pair in pairs:
            pool = int(self._model.candidates.pairs.pool[pair])
            free = rooms(self._free[pool], need)
            spread = taken(np.maximum(rooms(self._soon[pool], need), 0), workers)
            if spread is not None:
                self._take(pool, spread, need)
                if taken(np.maximum(free, 0), workers) is None:
                    told[one.job.id] = f"Room for it is being made at {self._name(pool)}."
                return True
        return False

    def _take(self, pool: int, spread: Ints, need: Floats) -> None:
        self._soon[pool] -= spread[:, None] * need
        self._free[pool] -= spread[:, None] * need

    def _offers(self, one: Waiting, pairs: Sequence[int]) -> Iterator[Offer]:
        """What could be freed in the pools that are cheapest now."""
        spec, pools = one.job.spec, self._model.candidates.pairs.pool
        most = spec.priority - self._weights.preempt_priority_step
        found = 0
        for pair in sorted(pairs, key=lambda pair: (self._now_yuan(one, pair), pair)):
            pool, terms = int(pools[pair]), self._gain(one, pair)
            below = [r for r in self._ranked(pool) if self._priority(r) <= most]
            worth = sum(terms.values()) > self._weights.preempting_yuan
            if not below or not worth or self._searches == 0 or found == POOLS_MOST:
                continue
            self._searches -= 1
            victims = [self._victims[r] for r in below]
            room = cheapest_room(self._soon[pool], need_of(spec), spec.workers, victims)
            if room is not None:
                found += 1
                chosen = tuple(below[v] for v in room.victims)
                cost_yuan = sum(self._victims[r].cost_yuan for r in chosen)
                yield Offer(pool, chosen, room.workers, terms, cost_yuan)

    def _priority(self, r: int) -> int:
        return self._snapshot.running[r].spec.priority

    def _ranked(self, pool: int) -> list[int]:
        """Those that may be stopped in a pool, the lowest priority and the youngest run first."""
        stoppable = self._stoppable.get(pool, [])
        if pool not in self._known:
            self._known.add(pool)
            stoppable.sort(key=lambda r: (self._priority(r), -self._started_s(r), r))
            for r in stoppable:
                nodes = tuple(node for _, node in self._nodes(self._snapshot.running[r]))
                need = need_of(self._snapshot.running[r].spec)
                amounts = (float(need[0]), float(need[1]), float(need[2]))
                self._victims[r] = Victim(self._cost_yuan(r), amounts, nodes)
        return stoppable

    def _started_s(self, r: int) -> float:
        return self._snapshot.running[r].started_at.timestamp()

    def _cost_yuan(self, r: int) -> float:
        attempt, weights = self._snapshot.running[r], self._weights
        return weights.preempting_yuan + stop_yuan(attempt, self._snapshot, weights)

    def _gain(self, one: Waiting, pair: int) -> dict[str, float]:
        """What the job's place costs more than this pair would now, per policy."""
        block, choice = self._block(one.klass), one.choice
        if choice is None:
            unplaced = float(self._model.unplaced_yuan[one.klass])
            return {"unplaced": unplaced - self._now_yuan(one, pair)}
        first = block.span.start
        return {
            name: float(yuan[choice.pair - first, choice.slot] - yuan[pair - first, 0])
            for name, yuan in block.terms
        }

    def _stop(self, one: Waiting, offer: Offer) -> list[Interruption]:
        """Enters what goes and what comes; returns the interruptions."""
        running, where = self._snapshot.running, self._name(offer.pool)
        for r in offer.victims:
            for pool, node in self._nodes(running[r]):
                self._soon[pool][node] += need_of(running[r].spec)
            self._stoppable[offer.pool].remove(r)
        self._take(offer.pool, offer.workers, need_of(one.job.spec))
        start = "had no start within the horizon"
        if one.choice is not None:
            first_s = float(self._model.candidates.pairs.start_s(one.choice.pair))
            start_s = max(one.choice.slot * self._scene.slot_s, first_s)
            start = f"would have started at {self._scene.clock(start_s)}"
        gain_yuan = sum(offer.terms.values())
        text = (
            f"Gave way at {where} to {one.job.id} (priority {one.job.spec.priority}), which "
            f"{start}: that is {gain_yuan:.2f} yuan worse for it than now, against "
            f"{offer.cost_yuan:.2f} yuan for {len(offer.victims)} stopped"
        )
        return [
            Interruption(
                attempt_id=running[r].attempt_id,
                job_id=running[r].job_id,
                kind=InterruptionKind.PREEMPT,
                reason=Reason(ReasonCode.PREEMPTED, text),
                cost_yuan=self._victims[r].cost_yuan,
                terms=tuple(offer.terms.items()),
                for_job=one.job.id,
            )
            for r in offer.victims
        ]

    def _told(self, offer: Offer) -> str:
        stopped = [self._snapshot.running[r] for r in offer.victims]
        names = ", ".join(attempt.attempt_id for attempt in stopped)
        grace_s = max(attempt.spec.stop_grace_s for attempt in stopped)
        where = self._name(offer.pool)
        return f"Room for it is being made at {where}: {names} must stop within {grace_s:g} s."

    def _name(self, pool: int) -> str:
        return self._scene.pools[pool].name
