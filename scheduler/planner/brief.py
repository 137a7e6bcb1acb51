"""In short why jobs are where they are, for all that nobody looks at closely.

Where thousands wait, a table of candidates for each would take longer than the plan. What is told
here is the outcome, the code that a closer look would give, and one sentence.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from policies.scene import Floats, Ints
from scheduler.domain.explanation import Explanation, Outcome, Saving
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
from scheduler.planner.starting import starts_now

CODES = tuple(ReasonCode)


class Briefly:
    """Explains jobs by their indices in the decision's places."""

    def __init__(self, decision: Decision, jobs: Sequence[int]) -> None:
        self._decision, self._model = decision, decision.model
        self._jobs = np.array(jobs, dtype=np.int64)
        # Thousands start at the same few times.
        self._clock = cache(decision.model.scene.clock)
        places, n = decision.places, len(jobs)
        self._now_pair, self._why = np.empty((2, n), dtype=np.int64)
        self._now_yuan: Floats = np.empty(n)
        model = self._model
        codes = [PRECEDENCE[family.code] for family in model.families]
        rank = np.array(codes, dtype=np.int64)[model.family]
        self._lacks = self._lacking(rank)
        now_instead(
            model.problem,
            decision.residual.left,
            rank,
            self._barred(),
            self._jobs,
            places.klass,
            _in_one_run(places),
            places.slot,
            self._now_pair,
            self._now_yuan,
            self._why,
        )

    def _barred(self) -> Ints:
        """The precedence of the rule that forbids each pair to start now by itself, -1: none."""
        candidates, model = self._model.candidates, self._model
        barred = np.full(len(candidates.pairs.klass), -1, dtype=np.int64)
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
        which = np.unique(places.klass[self._jobs[places.pair[self._jobs] < 0]])
        lacks, blocked = np.zeros((2, len(problem.pairs)), dtype=np.int64)
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

    def explanations(self, ids: Sequence[str]) -> list[Explanation]:
        """One for each of the jobs, which have these ids."""
        places, decision = self._decision.places, self._decision
        pair, slot = places.pair[self._jobs], places.slot[self._jobs]
        saved = self._saved(pair, slot)
        starts = self._starts()
        made = []
        for q, j in enumerate(self._jobs.tolist()):
            k, i = int(places.klass[j]), int(pair[q])
            outcome, saving = Outcome.UNPLACED, None
            if j in starts:
                outcome, (reason, saving) = Outcome.PLACED, starts[j]
            elif i >= 0:
                outcome, reason = Outcome.PLANNED, self._later(k, i, int(slot[q]), q, saved)
                reason = Reason(reason.code, reason.message + self._told(j))
            else:
                reason = self._nowhere(k)
            made.append(
                Explanation(
                    job_id=ids[q],
                    decided_at=decision.decided_at,
                    outcome=outcome,
                    reason=reason,
                    candidates=(),
                    saving=saving,
                    round_objective_yuan=decision.objective_yuan,
                    round_bound_yuan=decision.bound_yuan,
                    round_gap=decision.gap,
                )
            )
        return made

    def _starts(self) -> dict[int, tuple[Reason, Saving | None]]:
        """Of those that start now, where, and what that saves."""
        places, model = self._decision.places, self._model
        jobs = [j for j in self._jobs.tolist() if is_starting(self._decision, j)]
        job, pair, slot = self._runs(jobs)
        of_run = [*self._decision.ledger.energies(pair, slot)[:3], price_yuan(model, pair, slot)]
        each = np.array([np.bincount(job, of_each, len(jobs)) for of_each in of_run])
        found = {}
        for j, (kwh, green_kwh, carbon_kg, price) in zip(jobs, each.T.tolist(), strict=True):
            i = int(places.pair[j])
            name = model.scene.pools[model.candidates.pairs.pool[i]].name
            share = green_kwh / kwh if kwh > 0 else 0.0
            text = f"Starts now at {name}: {kwh:.3g} kWh, {share:.0%} green."
            saving = saving_of(model, i, kwh, carbon_kg, price)
            found[j] = (Reason(ReasonCode.CHOSEN, text + self._told(j)), saving)
        return found

    def _runs(self, jobs: Sequence[int]) -> tuple[Ints, Ints, Ints]:
        """Of every run of jobs that have a place: which of the jobs, pair and slot."""
        runs = [self._placed(j).runs for j in jobs]
        each = [(q, *run) for q, of_job in enumerate(runs) for run in of_job]
        made = np.array(each, dtype=np.int64).reshape(-1, 3)
        return made[:, 0], made[:, 1], made[:, 2]

    def _placed(self, job: int) -> Choice:
        choice = self._decision.places.choice(job)
        assert choice is not None, "asked of jobs with a place"
        return choice

    def _told(self, job: int) -> str:
        """The runs of a job that has several."""
        choice = self._placed(job)
        return f" {runs_told(self._model, choice)}." if choice.split is not None else ""

    def _saved(self, pair: Ints, slot: Ints) -> tuple[Floats, Floats]:
        """What each job's place saves of the tariff, and in all, against a start now; (jobs,)."""
        both = (pair >= 0) & (self._now_pair >= 0)
        tariff, total = np.zeros((2, len(pair)))
        now, none = self._now_pair[both], np.zeros(int(both.sum()), dtype=np.int64)
        tariff[both] = price_yuan(self._model, now, none)
        tariff[both] -= price_yuan(self._model, pair[both], slot[both])
        total[both] = self._now_yuan[both] - costs_yuan(self._model, pair[both], slot[both])
        for q in np.flatnonzero(both).tolist() if self._decision.places.split else ():
            if (split := self._decision.places.split.get(int(self._jobs[q]))) is not None:
                runs = np.array(split.runs).T
                tariff[q] += float(price_yuan(self._model, pair[[q]], slot[[q]])[0])
                tariff[q] -= float(price_yuan(self._model, runs[0], runs[1]).sum())
                total[q] = self._now_yuan[q] - split.yuan
        return tariff, total

    def _later(self, k: int, i: int, slot: int, q: int, saved: tuple[Floats, Floats]) -> Reason:
        """Why a job that has a place does not start now."""
        scene, pairs = self._model.scene, self._model.candidates.pairs
        start_s = max(slot * scene.slot_s, float(pairs.start_s[i]))
        where = f"Starts at {self._clock(start_s)} at {scene.pools[pairs.pool[i]].name}"
        ready_s = scene.classes[k].ready_s
        if ready_s > scene.now_s:
            text = f"{where}; it may not start before {self._clock(ready_s)}."
            return Reason(ReasonCode.NOT_YET, text)
        now = int(self._now_pair[q])
        if now >= 0:
            tariff, total = float(saved[0][q]), float(saved[1][q])
            text = f"{where}; a start now at {scene.pools[pairs.pool[now]].name} would cost "
            text += f"{max(total, 0.0):.2g} yuan more."
            greener = total - tariff > tariff
            code = ReasonCode.WAITING_FOR_GREEN if greener else ReasonCode.WAITING_FOR_CHEAPER
            return Reason(code, text)
        code = CODES[int(self._why[q])] if self._why[q] >= 0 else ReasonCode.CAPACITY
        if code is ReasonCode.GREEN:
            code = ReasonCode.WAITING_FOR_GREEN
        return Reason(
            code, f"{where}; until then {_LACKS.get(code, 'the rules leave')} it no room."
        )

    def _nowhere(self, k: int) -> Reason:
        """Why a job has no place: what stands in the way in the pool that came nearest."""
        candidates, pools = self._model.candidates, len(self._model.scene.pools)
        verdicts = candidates.pair_verdict[k]
        if not len(verdicts):
            return Reason(ReasonCode.NO_CLUSTER, "No cluster with nodes has ever reported.")
        codes = [PRECEDENCE[candidates.pair_filters[v].code] for v in verdicts[verdicts >= 0]]
        code = CODES[max([*codes, *self._lacks[candidates.rows_of(k)].tolist()])]
        out = int((verdicts >= 0).sum())
        text = (
            f"No start within the horizon: {out} of {pools} pools are ruled out, the others full."
        )
        if out == pools:
            text = f"None of {pools} pools may run it."
        return Reason(code, text)


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


def is_starting(decision: Decision, job: int) -> bool:
    """Whether a job of the places starts now."""
    choice = decision.places.choice(job)
    return choice is not None and starts_now(decision.model, choice)
