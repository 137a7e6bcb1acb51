"""In short why jobs are where they are, for all that nobody looks at closely.

Where thousands wait, a table of candidates for each would take longer than the plan. What is told
here is the outcome, the code that a closer look would give, and one sentence.
"""

from functools import cache

import numpy as np

from policies.scene import Floats, Ints
from scheduler.domain.explanation import Saving
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.decision import Decision
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.kernels.waiting import lacking, now_instead
from scheduler.planner.never import never_ranks
from scheduler.planner.placements import price_yuan
from scheduler.planner.places import Choice, Places, costs_yuan
from scheduler.planner.savings import saving_of
from scheduler.planner.split_told import runs_told
from scheduler.planner.starting import starting

CODES = tuple(ReasonCode)


class Briefly:
    """What became of each job of the decision's places, by its index in them.

    ``starting`` (N,) are those that start now; ``codes`` (N,) the precedence of each one's reason.
    """

    def __init__(self, decision: Decision) -> None:
        self._decision, self._model = decision, decision.model
        # Thousands start at the same few times.
        self._clock = cache(decision.model.scene.clock)
        places, n = decision.places, len(decision.places.pair)
        self._now_pair, self._why = np.full((2, n), -1, dtype=np.int64)
        self._now_yuan: Floats = np.zeros(n)
        model = self._model
        codes = [PRECEDENCE[family.code] for family in model.families]
        rank = np.array(codes, dtype=np.int64)[model.family]
        self.starting = starting(model, places)
        later = np.flatnonzero((places.pair >= 0) & ~self.starting)
        now_pair, why = np.empty((2, len(later)), dtype=np.int64)
        now_yuan: Floats = np.empty(len(later))
        now_instead(
            model.problem,
            decision.residual.left,
            rank,
            self._barred(),
            later,
            places.klass,
            _in_one_run(places),
            places.slot,
            now_pair,
            now_yuan,
            why,
        )
        self._now_pair[later], self._now_yuan[later], self._why[later] = now_pair, now_yuan, why
        self._saved = self._savings()
        self.codes = self._codes(self._lacking(rank))

    def _barred(self) -> Ints:
        """The precedence of the rule that forbids each pair to start now by itself, -1: none."""
        candidates, model = self._model.candidates, self._model
        barred = np.full(len(candidates.pairs.klass), -1, dtype=np.int8)
        for judge, bounds in zip(candidates.start_filters, candidates.bounds, strict=True):
            out = np.zeros(len(barred), dtype=bool)
            if bounds.first is not None:
                out |= bounds.first > 0
            if bounds.last is not None:
                out |= bounds.last < 0
            barred[out & (barred < 0)] = PRECEDENCE[judge.code]
        blocked = np.fromiter(model.blocked, dtype=np.int64)
        barred[blocked] = np.maximum(barred[blocked], PRECEDENCE[ReasonCode.GANG_FRAGMENTED])
        return barred

    def _lacking(self, rank: Ints) -> Ints:
        """The precedence of what keeps each pair of those without a place from taking one; (m,)."""
        model, places = self._model, self._decision.places
        problem = model.problem
        which = np.unique(places.klass[places.pair < 0])
        lacks, blocked = np.zeros((2, len(problem.pairs)), dtype=np.int8)
        if not len(which):
            return lacks
        blocked[list(model.blocked)] = 1
        lacking(
            problem,
            sums_at(problem, np.zeros(problem.capacity.shape)),
            self._decision.residual.left,
            rank,
            PRECEDENCE[ReasonCode.GANG_FRAGMENTED],
            PRECEDENCE[ReasonCode.CAPACITY],
            blocked,
            which,
            lacks,
        )
        never = np.flatnonzero(lacks < 0)
        lacks[never] = never_ranks(model, never)
        return lacks

    def _savings(self) -> tuple[Floats, Floats]:
        """What each job's place saves of the tariff, and in all, against a start now; (N,)."""
        places = self._decision.places
        both = self._now_pair >= 0
        tariff, total = np.zeros((2, len(both)))
        now, none = self._now_pair[both], np.zeros(int(both.sum()), dtype=np.int64)
        pair, slot = places.pair[both], places.slot[both]
        tariff[both] = price_yuan(self._model, now, none) - price_yuan(self._model, pair, slot)
        total[both] = self._now_yuan[both] - costs_yuan(self._model, pair, slot)
        for j, own in places.split.items():
            if both[j]:
                runs, one = np.array(own.runs).T, [j]
                tariff[j] += float(price_yuan(self._model, places.pair[one], places.slot[one])[0])
                tariff[j] -= float(price_yuan(self._model, runs[0], runs[1]).sum())
                total[j] = self._now_yuan[j] - own.yuan
        return tariff, total

    def _codes(self, lacks: Ints) -> Ints:
        """The precedence of each job's reason, (N,)."""
        places, scene = self._decision.places, self._model.scene
        tariff, total = self._saved
        why = np.where(self._why >= 0, self._why, PRECEDENCE[ReasonCode.CAPACITY])
        why[why == PRECEDENCE[ReasonCode.GREEN]] = PRECEDENCE[ReasonCode.WAITING_FOR_GREEN]
        greener = np.where(
            total - tariff > tariff,
            PRECEDENCE[ReasonCode.WAITING_FOR_GREEN],
            PRECEDENCE[ReasonCode.WAITING_FOR_CHEAPER],
        )
        codes = np.where(self._now_pair >= 0, greener, why)
        not_yet = scene.columns.ready_s[places.klass] > scene.now_s
        codes[not_yet] = PRECEDENCE[ReasonCode.NOT_YET]
        codes[self.starting] = PRECEDENCE[ReasonCode.CHOSEN]
        waits = places.pair < 0
        if waits.any():
            codes[waits] = self._nowhere_codes(lacks)[places.klass[waits]]
        return np.asarray(codes, dtype=np.int64)

    def _nowhere_codes(self, lacks: Ints) -> Ints:
        """What stands in the way of each class in the pool that came nearest, (K,)."""
        candidates = self._model.candidates
        verdict = candidates.pair_verdict
        if not verdict.shape[1]:
            return np.full(len(verdict), PRECEDENCE[ReasonCode.NO_CLUSTER])
        filters = [PRECEDENCE[judge.code] for judge in candidates.pair_filters]
        ruled_out = np.where(verdict >= 0, np.array([*filters, -1])[verdict], -1)
        codes = ruled_out.max(axis=1)
        klass = candidates.pairs.klass  # behind them are pairs of several runs
        np.maximum.at(codes, klass, lacks[: len(klass)])
        return np.asarray(codes, dtype=np.int64)

    def tell(self, job: int) -> tuple[Reason, Saving | None]:
        """Why one job is where it is, and what that saves if it starts now."""
        places = self._decision.places
        code = CODES[int(self.codes[job])]
        choice = places.choice(job)
        if choice is None:
            return Reason(code, self._nowhere(int(places.klass[job]))), None
        saving = None
        if self.starting[job]:
            text, saving = self._start(choice)
        else:
            text = self._later(job, choice, code)
        runs = f" {runs_told(self._model, choice)}." if choice.split is not None else ""
        return Reason(code, text + runs), saving

    def _start(self, choice: Choice) -> tuple[str, Saving | None]:
        """Where one starts now, and what that saves."""
        model = self._model
        pair, slot = np.array(choice.runs, dtype=np.int64).T
        figures = [*self._decision.ledger.energies(pair, slot)[:3], price_yuan(model, pair, slot)]
        kwh, green_kwh, carbon_kg, price = (float(figure.sum()) for figure in figures)
        name = model.scene.pools[model.candidates.pairs.pool[choice.pair]].name
        share = green_kwh / kwh if kwh > 0 else 0.0
        text = f"Starts now at {name}: {kwh:.3g} kWh, {share:.0%} green."
        return text, saving_of(model, choice.pair, kwh, carbon_kg, price)

    def _later(self, job: int, choice: Choice, code: ReasonCode) -> str:
        """Why a job that has a place does not start now."""
        scene, pairs = self._model.scene, self._model.candidates.pairs
        start_s = max(choice.slot * scene.slot_s, float(pairs.start_s(choice.pair)))
        where = f"Starts at {self._clock(start_s)} at {scene.pools[pairs.pool[choice.pair]].name}"
        if code is ReasonCode.NOT_YET:
            ready_s = float(scene.columns.ready_s[self._decision.places.klass[job]])
            return f"{where}; it may not start before {self._clock(ready_s)}."
        now = int(self._now_pair[job])
        if now >= 0:
            more = max(float(self._saved[1][job]), 0.0)
            name = scene.pools[pairs.pool[now]].name
            return f"{where}; a start now at {name} would cost {more:.2g} yuan more."
        return f"{where}; until then {_LACKS.get(code, 'the rules leave')} it no room."

    def _nowhere(self, k: int) -> str:
        """Why a job has no place."""
        verdicts, pools = self._model.candidates.pair_verdict[k], len(self._model.scene.pools)
        if not pools:
            return "No cluster with nodes has ever reported."
        out = int((verdicts >= 0).sum())
        if out == pools:
            return f"None of {pools} pools may run it."
        return (
            f"No start within the horizon: {out} of {pools} pools are ruled out, the others full."
        )


_LACKS = {
    ReasonCode.CAPACITY: "the nodes leave",
    ReasonCode.GANG_FRAGMENTED: "no nodes together leave",
    ReasonCode.WAITING_FOR_GREEN: "the green supply leaves",
    ReasonCode.POWER_CAP: "the power cap leaves",
    ReasonCode.LINK: "the links leave",
}


def _in_one_run(places: Places) -> Ints:
    """The pairs, -1 for jobs in several runs: for those, what is left is beside themselves."""
    if not places.split:
        return places.pair
    pair = places.pair.copy()
    pair[list(places.split)] = -1
    return pair
