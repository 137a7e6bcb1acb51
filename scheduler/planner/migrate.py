"""What runs on, but would cost less elsewhere, moving included.

The runs that promise most are looked at as the planner looks at jobs: in a snapshot in which they
are not running but pending, each once to stay where it is and once to go on elsewhere after its
grace, beside all that the plan has placed. A move that gains more than it costs is made, a few at a
time; the others see it as made.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from policies.base import Policy
from policies.nongreen import surcharge_yuan_per_kwh
from policies.scene import TOLERANCE, Bools, Floats, Scene
from policies.weights import Weights
from scheduler.domain.job import JobSpec, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.decision import Decision
from scheduler.planner.placements import placement_of, placements_of
from scheduler.planner.places import Choice
from scheduler.planner.plan import Interruption, InterruptionKind, Placement
from scheduler.planner.pools import need_of
from scheduler.planner.sites import it_power_kw, used_by
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.planner.stopping import likely_lost_s, stop_yuan, under_way
from scheduler.planner.what_if import Mover, WhatIf

# Runs that are looked at closely in one round.
LOOKED_AT = 16
# Nothing starts elsewhere sooner after it was told to stop.
GRACE_LEAST_S = 1.0


@dataclass(frozen=True, slots=True)
class Move:
    """Where a run would go on, and what that gains per policy."""

    choice: Choice
    terms: dict[str, float]
    cost_yuan: float

    @property
    def net_yuan(self) -> float:
        return sum(self.terms.values()) - self.cost_yuan


@dataclass(frozen=True, slots=True)
class Moved:
    """The moves of a round, and its placements beside them."""

    interruptions: tuple[Interruption, ...]
    placements: tuple[Placement, ...]


def migrate(
    snapshot: Snapshot,
    decision: Decision,
    placements: Sequence[Placement],
    policies: tuple[Policy, ...],
) -> Moved:
    """What moves. It is entered in the decision's ledger: what is green is shared anew, and what
    is told of the other jobs from then on counts on it."""
    none = Moved((), tuple(placements))
    scene = decision.model.scene
    if len(scene.pools) < 2 or any(under_way(a, snapshot) for a in snapshot.running):
        return none
    movers = _promising(snapshot, decision, _movable(snapshot, scene))
    if not movers:
        return none
    moves = [_move(mover, snapshot, scene.weights) for mover in movers]
    moving = _Moving(snapshot, decision, placements, movers, moves, policies=policies)
    made = moving.decided()
    if not made:
        return none
    moving.enter(decision)
    again = placements_of(snapshot, decision.model, decision.places, decision.ledger, {})
    return Moved(
        made,
        tuple(
            one._replace(green_kwh=anew.green_kwh, carbon_kg=anew.carbon_kg)
            for one, anew in zip(placements, again, strict=True)
        ),
    )


def _movable(snapshot: Snapshot, scene: Scene) -> list[Mover]:
    """Those that have run for a slot at least: nothing moves twice in a slot."""
    found, now_at = [], snapshot.now_at
    for attempt in snapshot.running:
        if not attempt.stoppable or attempt.state is not JobState.RUNNING:
            continue
        spec = attempt.spec
        rest_s = (attempt.unbroken_end_at - now_at).total_seconds()
        speed = spec.speed_on(attempt.accelerator)
        if speed is None or rest_s <= spec.stop_grace_s:
            continue
        if (now_at - attempt.started_at).total_seconds() < snapshot.slot_s:
            continue
        if spec.expected_duration_s > (work_s := speed * rest_s):
            found.append(Mover(attempt, rest_s, work_s))
    return found


def _done_s(mover: Mover, snapshot: Snapshot, weights: Weights) -> float:
    """The work that it will have behind it elsewhere, at relative speed 1."""
    attempt, spec = mover.attempt, mover.attempt.spec
    speed = mover.work_s / mover.rest_s
    lost_s = speed * likely_lost_s(attempt, snapshot, weights)
    return max(spec.expected_duration_s - mover.work_s - lost_s, 0.0)


def _promising(snapshot: Snapshot, decision: Decision, movers: Sequence[Mover]) -> list[Mover]:
    """The few that could save most, by the sites' rates and what operators prefer: all supply green
    elsewhere, none here. Where the plan leaves them no room, nobody looks more closely: that takes
    as long as a plan of all that it has placed."""
    scene = decision.model.scene
    pools = {(pool.cluster, pool.accelerator): p for p, pool in enumerate(scene.pools)}
    alike: dict[tuple[int, int, object, object], list[Mover]] = defaultdict(list)
    for mover in movers:
        attempt, spec = mover.attempt, mover.attempt.spec
        slot = int((scene.now_s + _grace_s(spec)) // scene.slot_s)
        own = pools.get((attempt.cluster, attempt.accelerator))
        if own is not None and slot < scene.slots:
            alike[slot, own, (spec.workers, spec.per_worker), spec.accelerators].append(mover)
    edges_s = np.concatenate(([scene.now_s], np.arange(1, scene.axis + 1) * scene.slot_s))
    left = {slot: _left(decision, slot) for slot in {slot for slot, *_ in alike}}
    found: list[tuple[float, str, Mover]] = []
    for (slot, *_), group in alike.items():
        spec = group[0].attempt.spec
        gang = spec.workers * need_of(spec)
        holds: Bools = np.all(left[slot] >= gang - TOLERANCE, axis=1)
        saved = _most_saved_yuan(scene, pools, group, edges_s, holds)
        for yuan, mover in zip(saved.tolist(), group, strict=True):
            moving_yuan = scene.rules.moving_yuan(mover.attempt.cluster)
            if yuan <= moving_yuan:
                continue
            net = yuan - moving_yuan - stop_yuan(mover.attempt, snapshot, scene.weights)
            if net > 0:
                found.append((-net, mover.attempt.attempt_id, mover))
    return [mover for _, _, mover in sorted(found, key=lambda item: item[:2])[:LOOKED_AT]]


def _left(decision: Decision, slot: int) -> Floats:
    """What the plan leaves of each pool in a slot: accelerators, cores and GB; (P, 3)."""
    scene, problem, places = decision.model.scene, decision.model.problem, decision.places
    columns, begun = scene.columns, (places.pair >= 0) & (places.slot <= slot)
    pair, klass = problem.pairs[places.pair[begun]], places.klass[begun]
    end = np.maximum(places.slot[begun], problem.classes["start"][klass]) + pair["run"]
    there = (end - problem.overlap > slot) | (places.slot[begun] == slot)
    needs = np.stack([columns.gpus, columns.cpus, columns.memory_gb], axis=1)
    needs = needs * columns.workers[:, None]
    used = np.zeros((len(scene.pools), 3))
    np.add.at(used, pair["pool"][there], needs[klass[there]])
    free = [(pool.free_gpus, pool.free_cpus, pool.free_memory_gb) for pool in scene.pools]
    return np.array([[one[:, slot].sum() for one in of_pool] for of_pool in free]) - used


def _most_saved_yuan(
    scene: Scene,
    pools: dict[tuple[str, str], int],
    group: Sequence[Mover],
    edges_s: Floats,
    holds: Bools,
) -> Floats:
    """Shape (group,); of runs alike, in the same pool, that may go where ``holds`` (P,)."""
    attempt = group[0].attempt
    spec, own = attempt.spec, pools[attempt.cluster, attempt.accelerator]
    own_speed = spec.speed_on(attempt.accelerator) or 1.0
    ends_s = scene.now_s + np.array([mover.rest_s for mover in group])
    beyond_h = np.maximum(ends_s - edges_s[-1], 0.0) / 3600
    gpu_hours = scene.weights.size(spec) * (ends_s - scene.now_s) / 3600
    least, surcharge = np.full(len(group), np.inf), surcharge_yuan_per_kwh(scene)
    here = np.zeros(len(group))
    for p, pool in enumerate(scene.pools):
        speed, view = spec.speed_on(pool.accelerator), scene.site_of(p)
        if speed is None or speed <= 0:
            continue
        rule = scene.rules.cluster(pool.cluster)
        nongreen = surcharge[pool.site] if p == own else 0.0
        rate = (view.price_yuan_per_kwh + rule.price_adder_yuan_per_kwh + nongreen) * view.pue
        it_kw = it_power_kw(spec, pool.gpu_power_kw, pool.cpu_power_kw) * own_speed / speed
        summed = np.concatenate(([0.0], np.cumsum(rate * scene.hours)))
        yuan = it_kw * (np.interp(ends_s, edges_s, summed) + rate[-1] * beyond_h)
        yuan += rule.preference_yuan_per_gpu_hour * gpu_hours * own_speed / speed
        if p == own:
            here = yuan
        elif holds[p]:
            least = np.minimum(least, yuan)
    return np.asarray(here - least, dtype=np.float64)


class _Moving(WhatIf):
    """One round's look at what would rather be elsewhere."""

    def decided(self) -> tuple[Interruption, ...]:
        weights = self.model.scene.weights
        made: list[tuple[Interruption, Choice]] = []
        self._goes: list[tuple[Mover, Choice]] = []
        for m, mover in enumerate(self._movers):
            stay = self.stays[m]
            if stay is None or len(made) >= weights.moves_most:
                continue
            self.residual.place(stay, -1)
            self._ledger.add(stay, -1)
            move = self._best(m, stay)
            if move is None:
                self.residual.place(stay)
                self._ledger.add(stay)
                continue
            job_id = mover.attempt.job_id
            place = placement_of(job_id, self.model, move.choice, self._ledger, ())
            done_s = _done_s(mover, self._snapshot, weights)
            made.append((_interruption(mover, move, place, done_s), move.choice))
            self._goes.append((mover, move.choice))
            self.residual.place(move.choice)
            self._ledger.add(move.choice)
        return tuple(replace(one, place=self._place(one.job_id, to)) for one, to in made)

    def _place(self, job_id: str, choice: Choice) -> Placement:
        """A move that is made, beside all others."""
        self._ledger.add(choice, -1)
        place = placement_of(job_id, self.model, choice, self._ledger, ())
        self._ledger.add(choice)
        return place

    def enter(self, decision: Decision) -> None:
        """Enters the moves in the ledger of the plan: each goes on elsewhere, and uses nothing more
        where it was from the slot on after that in which it begins there."""
        scene = decision.model.scene
        site = {view.site.cluster: c for c, view in enumerate(scene.sites)}
        for mover, choice in self._goes:
            decision.ledger.take(*self._ledger.of(choice))
            c = site[mover.attempt.cluster]
            gone = np.zeros((2, len(scene.sites), scene.axis))
            pue = scene.sites[c].pue
            gone[:, c] = used_by(self._snapshot, scene.hours, mover.attempt, pue)
            gone[:, :, : choice.slot + 1] = 0.0
            decision.ledger.take(-gone[0], -gone[1])

    def _best(self, m: int, stay: Choice) -> Move | None:
        """The best move that gains, everything else being where it is."""
        mover, pools = self._movers[m], self.model.candidates.pairs.pool
        k = self.rest_class(m)
        block, own = self._block(k), int(pools[stay.pair])
        slot = int(self.model.scene.classes[k].ready_s // self.model.scene.slot_s)
        # What ends where forecasts end is not compared: only what is known counts.
        axis = self.model.scene.axis
        if slot >= self.model.scene.slots or self._last(stay) >= axis:
            return None
        room_yuan = block.room_yuan(self.residual.left) + np.where(block.allowed, 0.0, np.inf)
        stays = self._terms(stay, self.residual.excess_yuan(stay))
        best: Move | None = None
        barred = self._overdrawn() if mover.attempt.spec.min_green_share else frozenset()
        for row in np.flatnonzero(np.isfinite(room_yuan[:, slot])).tolist():
            choice, pool = Choice(block.span.start + row, slot), int(block.pools[row])
            room = self._decision.model.scene.pools[pool].room(mover.attempt.spec)[slot]
            beyond = self._last(choice) >= axis
            if pool == own or beyond or room < mover.attempt.spec.workers:
                continue
            if self.model.scene.pools[pool].cluster in barred:
                continue
            goes = self._terms(choice, float(room_yuan[row, slot]))
            move = Move(
                choice,
                {name: stays[name] - goes[name] for name in stays},
                self._cost_yuan(mover, k, pool),
            )
            if move.net_yuan > 0 and (best is None or move.net_yuan > best.net_yuan):
                best = move
        return best

    def _overdrawn(self) -> frozenset[str]:
        """Clusters whose green supply is divided otherwise beside what runs than the plan had it,
        so that jobs of one kind hold more than their part: what the other's lacks, nobody sees."""
        return frozenset(
            cluster
            for family in self.model.families
            if family.hard and family.code is ReasonCode.GREEN
            for g, cluster in enumerate(family.rule.groups)
            if (self.residual.left[family.from_row + g] < -TOLERANCE).any()
        )

    def _last(self, choice: Choice) -> int:
        """The slot behind the last one that a run touches."""
        block = self._block(int(self.model.candidates.pairs.klass[choice.pair]))
        return int(block.run.last[choice.pair - block.span.start, choice.slot])

    def _terms(self, choice: Choice, excess_yuan: float) -> dict[str, float]:
        """What an option costs, per policy."""
        block = self._block(int(self.model.candidates.pairs.klass[choice.pair]))
        row = choice.pair - block.span.start
        terms = {name: float(yuan[row, choice.slot]) for name, yuan in block.terms}
        elastic = next((f.name for f in self.model.families if not f.hard), "")
        if elastic:
            terms[elastic] = terms.get(elastic, 0.0) + excess_yuan
        return terms

    def _cost_yuan(self, mover: Mover, klass: int, pool: int) -> float:
        scene = self.model.scene
        row = self.model.candidates.row_of(klass, pool)
        stage_s = float(self.model.candidates.pairs.stage_s[row])
        stop = stop_yuan(mover.attempt, self._snapshot, scene.weights, stage_s)
        return scene.rules.moving_yuan(mover.attempt.cluster) + stop


def _move(mover: Mover, snapshot: Snapshot, weights: Weights) -> PendingJob:
    """The same as a job that goes on from its checkpoint once it has stopped."""
    return PendingJob(
        id=f"{mover.attempt.attempt_id} moves",
        spec=mover.attempt.spec,
        submitted_at=snapshot.now_at,
        not_before_at=snapshot.now_at + timedelta(seconds=_grace_s(mover.attempt.spec)),
        done_s=_done_s(mover, snapshot, weights),
    )


def _grace_s(spec: JobSpec) -> float:
    return max(spec.stop_grace_s, GRACE_LEAST_S)


def _interruption(mover: Mover, move: Move, place: Placement, done_s: float) -> Interruption:
    attempt, terms = mover.attempt, move.terms
    parts = ", ".join(f"{name} {yuan:+.2f}" for name, yuan in terms.items() if abs(yuan) >= 0.005)
    green = f"{place.green_kwh / place.energy_kwh:.0%} green" if place.energy_kwh > 0 else "no load"
    text = (
        f"Moved from {attempt.cluster}/{attempt.accelerator or 'cpu'}, where it had "
        f"{mover.rest_s / 3600:.1f} h to go, to {place.cluster}/{place.accelerator or 'cpu'} "
        f"({green}): that saves {sum(terms.values()):.2f} yuan ({parts}) and costs "
        f"{move.cost_yuan:.2f} yuan"
    )
    return Interruption(
        attempt_id=attempt.attempt_id,
        job_id=attempt.job_id,
        kind=InterruptionKind.MIGRATE,
        reason=Reason(ReasonCode.MIGRATED, text),
        cost_yuan=move.cost_yuan,
        terms=tuple(terms.items()),
        place=place,
        done_s=done_s,
    )
