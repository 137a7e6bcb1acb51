"""Which class may run in which pool, from which slot to which, and why not elsewhere."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from policies.base import (
    EnergyRate,
    PairFilter,
    Policy,
    Rows,
    StageRows,
    StartCost,
    StartFilter,
)
from policies.scene import Floats, Ints, Pairs, Scene
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.scene import pairs_of

PRECEDENCE = {code: rank for rank, code in enumerate(ReasonCode)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one policy charges: for energy, for the time of a start, for a pair as such (m,), for
    another start than the planned one (K,)."""

    name: str
    energy: EnergyRate | None
    start: StartCost | None
    pair_yuan: Floats | None
    kept_yuan: Floats | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The slots that one filter lets each pair start in, (m,) each; None: any."""

    first: Ints | None
    last: Ints | None

    def allow(self, row: int, slot: int) -> bool:
        """Whether a pair may start in a slot."""
        early = self.first is not None and slot < self.first[row]
        return not early and (self.last is None or slot <= self.last[row])


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The filters' answer. ``pair_verdict`` (K, P) is the index of the pair filter that ruled a
    pair out, -1 where none; the pairs left may start from slot ``first`` to slot ``last`` (m,), if
    first ≤ last. ``pairs_from`` (K + 1,) is where the pairs of each class begin. ``tally`` counts
    the starts that each filter ruled out, over all jobs. ``unplaced_yuan`` (K,) is the surcharge
    for having no place.
    """

    costs: tuple[Costs, ...]
    unplaced_yuan: Floats
    pairs: Pairs
    pairs_from: Ints
    pair_filters: tuple[PairFilter, ...]
    start_filters: tuple[StartFilter, ...]
    pair_verdict: Ints
    bounds: tuple[Bounds, ...]
    first: Ints
    last: Ints
    rows: tuple[Rows, ...]
    stage_rows: tuple[StageRows, ...]
    tally: Counter[ReasonCode]

    @property
    def rules(self) -> list[Rows | StageRows]:
        """All rows, in the order in which the problem numbers them."""
        return [*self.rows, *self.stage_rows]

    def rows_of(self, klass: int) -> slice:
        """The pairs of a class."""
        return slice(int(self.pairs_from[klass]), int(self.pairs_from[klass + 1]))

    def row_of(self, klass: int, pool: int) -> int:
        """The pair of a class and a pool that no pair filter ruled out."""
        span = self.rows_of(klass)
        return int(span.start + np.searchsorted(self.pairs.pool[span], pool))

    def start_verdict(self, row: int, slot: int) -> int:
        """The index of the start filter that rules a start out, -1 where none."""
        for f, bounds in enumerate(self.bounds):
            if not bounds.allow(row, slot):
                return f
        return -1

    def kept(self, scene: Scene) -> tuple[Ints, Ints]:
        """The pair (-1: none) and the slot in which the round before meant each class to start, if
        it still may; (K,) each."""
        kept, k = scene.classes.kept, np.arange(len(scene.classes))
        pool_of = {(pool.cluster, pool.accelerator): p for p, pool in enumerate(scene.pools)}
        here = np.array([*(pool_of.get(pool, -1) for pool in kept.pools), -1], dtype=np.int64)
        pool = here[kept.pool]
        known = pool >= 0
        known[known] = self.pair_verdict[k[known], pool[known]] < 0
        # Pairs are sorted by class and pool.
        pools = len(scene.pools)
        sought = k[known] * pools + pool[known]
        row = np.searchsorted(self.pairs.klass.astype(np.int64) * pools + self.pairs.pool, sought)
        at = kept.slot[known]
        may = (self.first[row] <= at) & (at <= self.last[row])
        pair, slot = np.full(len(k), -1, dtype=np.int64), np.zeros(len(k), dtype=np.int64)
        pair[k[known][may]], slot[k[known][may]] = row[may], at[may]
        return pair, slot

    def pair_reason(self, scene: Scene, klass: int, pool: int) -> Reason | None:
        """Why a pair is ruled out whatever the time; None where it is not."""
        verdict = int(self.pair_verdict[klass, pool])
        if verdict < 0:
            return None
        judge = self.pair_filters[verdict]
        return Reason(judge.code, judge.why(scene, klass, pool))

    def start_reason(self, scene: Scene, row: int, slot: int) -> Reason:
        """Why a start filter rules a start out."""
        judge = self.start_filters[self.start_verdict(row, slot)]
        return Reason(judge.code, judge.why(scene, self.pairs, row, slot))


def find_candidates(scene: Scene, policies: tuple[Policy, ...]) -> Candidates:
    """Asks every policy; filters go in the precedence of their reasons."""
    pair_filters = tuple(
        sorted((f for p in policies for f in p.pair_filters), key=lambda f: PRECEDENCE[f.code])
    )
    start_filters = tuple(
        sorted((f for p in policies for f in p.start_filters), key=lambda f: PRECEDENCE[f.code])
    )
    tally: Counter[ReasonCode] = Counter()
    jobs = scene.classes.sizes
    pair_verdict = _judge_pairs(scene, pair_filters, jobs, tally)
    klass, pool = (i.astype(np.int32) for i in np.nonzero(pair_verdict < 0))
    pairs = pairs_of(scene, klass, pool)
    bounds = tuple(_bounds(f, scene, pairs) for f in start_filters)
    first, last = _narrowed(scene, start_filters, bounds, jobs[klass], tally)
    unplaced_yuan = np.zeros(len(jobs))
    for policy in policies:
        if policy.unplaced_yuan:
            unplaced_yuan += policy.unplaced_yuan(scene)
    return Candidates(
        costs=tuple(
            Costs(
                name=p.name,
                energy=p.energy_rate(scene) if p.energy_rate else None,
                start=p.start_cost(scene) if p.start_cost else None,
                pair_yuan=p.pair_yuan(scene, pairs) if p.pair_yuan else None,
                kept_yuan=p.kept_yuan(scene) if p.kept_yuan else None,
            )
            for p in policies
            if p.energy_rate or p.start_cost or p.pair_yuan or p.kept_yuan
        ),
        unplaced_yuan=unplaced_yuan,
        pairs=pairs,
        pairs_from=np.concatenate(([0], np.cumsum(np.bincount(klass, minlength=len(jobs))))),
        pair_filters=pair_filters,
        start_filters=start_filters,
        pair_verdict=pair_verdict,
        bounds=bounds,
        first=first,
        last=last,
        rows=tuple(rows for p in policies if p.rows for rows in p.rows(scene, pairs)),
        stage_rows=tuple(r for p in policies if p.stage_rows for r in p.stage_rows(scene, pairs)),
        tally=tally,
    )


def _judge_pairs(
    scene: Scene, filters: tuple[PairFilter, ...], jobs: Ints, tally: Counter[ReasonCode]
) -> Ints:
    verdict = np.full((len(scene.classes), len(scene.pools)), -1, dtype=np.int8)
    for i, judge in enumerate(filters):
        rejected = ~judge.allows(scene) & (verdict < 0)
        verdict[rejected] = i
        tally[judge.code] += int((rejected.sum(axis=1) * jobs).sum()) * scene.slots
    return verdict


def _bounds(judge: StartFilter, scene: Scene, pairs: Pairs) -> Bounds:
    first = None if judge.first is None else judge.first(scene, pairs)
    last = None if judge.last is None else judge.last(scene, pairs)
    return Bounds(
        None if first is None else first.astype(np.int16, copy=False),
        None if last is None else last.astype(np.int16, copy=False),
    )


def _narrowed(
    scene: Scene,
    filters: tuple[StartFilter, ...],
    bounds: tuple[Bounds, ...],
    jobs: Ints,
    tally: Counter[ReasonCode],
) -> tuple[Ints, Ints]:
    """The slots that all filters allow."""
    first = np.zeros(len(jobs), dtype=np.int16)
    last = np.full(len(jobs), scene.slots - 1, dtype=np.int16)
    open_slots = scene.slots * int(jobs.sum())
    for judge, bound in zip(filters, bounds, strict=True):
        if bound.first is not None:
            np.maximum(first, bound.first, out=first)
        if bound.last is not None:
            np.minimum(last, bound.last, out=last)
        still = int(np.maximum(last - first + 1, 0) @ jobs)
        tally[judge.code] += open_slots - still
        open_slots = still
    return first, last
