"""Which class may run in which pool from which slot on, what that costs, and why not elsewhere."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from policies.base import PairFilter, Policy, Rows, StartFilter
from policies.scene import Bools, Floats, Ints, Options, Scene, window
from scheduler.domain.reason import Reason, ReasonCode

PRECEDENCE = {code: rank for rank, code in enumerate(ReasonCode)}
# They bound the window of time that a job asks for, and say little about what happens within it.
WINDOW_CODES = frozenset({ReasonCode.DEADLINE, ReasonCode.DATA, ReasonCode.NOT_YET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The filters' answer and the costs of what passed.

    ``pair_verdict`` (K, P) is the index of the pair filter that ruled a pair out, -1 where none;
    ``verdict`` (m, S) the same for starts and start filters. ``terms`` are (policy, yuan (m, S)),
    and their sum is ``cost_yuan``. ``tally`` counts the starts that each reason ruled out, over
    all jobs. ``unplaced_yuan`` (K,) is what a job without a place costs.
    """

    options: Options
    pair_filters: tuple[PairFilter, ...]
    start_filters: tuple[StartFilter, ...]
    pair_verdict: Ints
    verdict: Ints
    terms: tuple[tuple[str, Floats], ...]
    cost_yuan: Floats
    unplaced_yuan: Floats
    rows: tuple[Rows, ...]
    tally: Counter[ReasonCode]

    @property
    def allowed(self) -> Bools:
        return self.verdict < 0

    def reason(self, scene: Scene, klass: int, pool: int) -> Reason:
        """Why a pair has no start at all: the reason of the start that came nearest, within the
        job's window of time if that is not empty.
        """
        verdict = int(self.pair_verdict[klass, pool])
        if verdict >= 0:
            judged = self.pair_filters[verdict]
            return Reason(judged.code, judged.why(scene, klass, pool))
        row = self.row_of(klass, pool)
        ranks = self.verdict[row]
        present: list[int] = np.unique(ranks).tolist()
        inside = [r for r in present if self.start_filters[r].code not in WINDOW_CODES]
        slot = int(np.argmax(ranks == max(inside) if inside else ranks))
        return self.start_reason(scene, row, slot)

    def start_reason(self, scene: Scene, row: int, slot: int) -> Reason:
        """Why one start is ruled out."""
        judge = self.start_filters[int(self.verdict[row, slot])]
        return Reason(judge.code, judge.why(scene, self.options, row, slot))

    def rows_of(self, klass: int) -> slice:
        """The pairs of a class."""
        low, high = np.searchsorted(self.options.klass, (klass, klass + 1))
        return slice(int(low), int(high))

    def row_of(self, klass: int, pool: int) -> int:
        """The pair of a class and a pool that no pair filter ruled out."""
        first, last = np.searchsorted(self.options.klass, (klass, klass + 1))
        return int(first + np.searchsorted(self.options.pool[first:last], pool))


def find_candidates(scene: Scene, policies: tuple[Policy, ...]) -> Candidates:
    """Asks every policy; filters go in the precedence of their reasons."""
    pair_filters = tuple(
        sorted((f for p in policies for f in p.pair_filters), key=lambda f: PRECEDENCE[f.code])
    )
    start_filters = tuple(
        sorted((f for p in policies for f in p.start_filters), key=lambda f: PRECEDENCE[f.code])
    )
    tally: Counter[ReasonCode] = Counter()
    jobs = np.array([len(klass.jobs) for klass in scene.classes], dtype=np.int64)
    pair_verdict = _judge_pairs(scene, pair_filters, jobs, tally)
    options = _options(scene, *np.nonzero(pair_verdict < 0))
    verdict = _judge_starts(scene, options, start_filters, jobs, tally)
    terms = tuple(
        (policy.name, policy.cost_yuan(scene, options)) for policy in policies if policy.cost_yuan
    )
    cost_yuan = np.zeros(options.start_s.shape)
    for _, yuan in terms:
        cost_yuan += yuan
    rows = tuple(row for policy in policies if policy.rows for row in policy.rows(scene, options))
    return Candidates(
        options=options,
        pair_filters=pair_filters,
        start_filters=start_filters,
        pair_verdict=pair_verdict,
        verdict=verdict,
        terms=terms,
        cost_yuan=cost_yuan,
        unplaced_yuan=_unplaced(
            scene, policies, options, cost_yuan=cost_yuan, allowed=verdict < 0, rows=rows
        ),
        rows=rows,
        tally=tally,
    )


def _judge_pairs(
    scene: Scene, filters: tuple[PairFilter, ...], jobs: Ints, tally: Counter[ReasonCode]
) -> Ints:
    verdict = np.full((len(scene.classes), len(scene.pools)), -1, dtype=np.int64)
    for i, judge in enumerate(filters):
        rejected = ~judge.allows(scene) & (verdict < 0)
        verdict[rejected] = i
        tally[judge.code] += int((rejected.sum(axis=1) * jobs).sum()) * scene.slots
    return verdict


def _judge_starts(
    scene: Scene,
    options: Options,
    filters: tuple[StartFilter, ...],
    jobs: Ints,
    tally: Counter[ReasonCode],
) -> Ints:
    verdict = np.full(options.start_s.shape, -1, dtype=np.int64)
    for i, judge in enumerate(filters):
        rejected = ~judge.allows(scene, options) & (verdict < 0)
        verdict[rejected] = i
        tally[judge.code] += int((rejected.sum(axis=1) * jobs[options.klass]).sum())
    return verdict


def _options(scene: Scene, klass: Ints, pool: Ints) -> Options:
    ready_s = np.array([c.ready_s for c in scene.classes], dtype=float)[klass]
    slot_s = np.maximum(np.arange(scene.slots) * scene.slot_s, scene.now_s)
    start_s = np.maximum(slot_s[None, :], ready_s[:, None])
    run_s = scene.run_s[klass, pool]
    site = np.array([p.site for p in scene.pools], dtype=np.int64)[pool]
    run = window(start_s, run_s, scene.slot_s, scene.hours)
    stages_s = scene.stage_s[klass, pool]
    return Options(
        klass=klass,
        pool=pool,
        site=site,
        it_kw=scene.it_kw[klass, pool],
        run_s=run_s,
        start_s=start_s,
        run=run,
        stage=window(start_s, stages_s, scene.slot_s, scene.hours) if stages_s.any() else run,
    )


def _unplaced(
    scene: Scene,
    policies: tuple[Policy, ...],
    options: Options,
    *,
    cost_yuan: Floats,
    allowed: Bools,
    rows: tuple[Rows, ...],
) -> Floats:
    """The dearest place of each class, every elastic unit paid for, and the surcharges."""
    dearest = np.where(allowed, cost_yuan, 0.0).max(axis=1, initial=0.0)
    for family in rows:
        if family.elastic_yuan is not None:
            hours = scene.hours.sum() if family.exact else scene.axis
            most = np.minimum(options.run_s[family.row] / 3600, hours)
            units = family.demand * most * family.profile.max(axis=1)[family.group]
            dearest[family.row] += family.elastic_yuan * units
    unplaced = np.zeros(len(scene.classes))
    np.maximum.at(unplaced, options.klass, dearest)
    for policy in policies:
        if policy.unplaced_yuan:
            unplaced += policy.unplaced_yuan(scene)
    return unplaced
