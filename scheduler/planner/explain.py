"""Why every job is where it is: in one word for all, in sentences for whoever is read."""

from dataclasses import replace

import numpy as np

from policies.scene import Bools
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.planner.brief import CODES, Briefly
from scheduler.planner.closely import told_closely
from scheduler.planner.decision import Decision
from scheduler.planner.kernels.distinct import distinct
from scheduler.planner.places import Choice
from scheduler.planner.plan import Verdict
from scheduler.planner.snapshot import Snapshot

# What starts in one round is explained closely up to so many, beside the others.
STARTS_MOST = 100


class Explainer:
    """Explains the jobs of a decided round, each when it is asked for: with all candidates what
    starts now and so many others, in short the rest, and what goes beyond STARTS_MOST."""

    def __init__(self, snapshot: Snapshot, decision: Decision, closely: int) -> None:
        self._snapshot, self._decision = snapshot, decision
        self._brief = Briefly(decision)
        members, pair = decision.model.scene.classes.members, decision.places.pair
        # Where each job of the snapshot stands in the places.
        self._place = np.empty(len(members), dtype=np.int64)
        self._place[members] = np.arange(len(members))
        self._outcomes = np.where(pair < 0, 2, np.where(self._brief.starting, 0, 1))[self._place]
        self._close = _close(decision, self._brief.starting, closely)
        # Alike jobs share their candidates.
        self._known: dict[tuple[int, Choice | None], Explanation] = {}

    def verdicts(self) -> list[Verdict]:
        """What becomes of each job of the snapshot."""
        codes = self._brief.codes[self._place].tolist()
        jobs, outcomes = self._snapshot.jobs, self._outcomes.tolist()
        return [
            Verdict(job.id, OUTCOMES[outcome], CODES[code])
            for job, outcome, code in zip(jobs, outcomes, codes, strict=True)
        ]

    def closely(self, i: int) -> Explanation:
        """One job of the snapshot, with all its candidates."""
        j, places = int(self._place[i]), self._decision.places
        key = (int(places.klass[j]), places.choice(j))
        if key not in self._known:
            self._known[key] = told_closely(self._decision, *key, CODES[int(self._brief.codes[j])])
        return replace(self._known[key], job_id=self._snapshot.jobs[i].id)

    def explain(self, i: int) -> Explanation:
        """One job of the snapshot."""
        j, job_id = int(self._place[i]), self._snapshot.jobs[i].id
        if self._close[j]:
            return self.closely(i)
        reason, saving = self._brief.tell(j)
        return Explanation(
            job_id=job_id,
            decided_at=self._decision.decided_at,
            outcome=OUTCOMES[int(self._outcomes[i])],
            reason=reason,
            candidates=(),
            saving=saving,
            round_objective_yuan=self._decision.objective_yuan,
            round_bound_yuan=self._decision.bound_yuan,
            round_gap=self._decision.gap,
        )


OUTCOMES = (Outcome.PLACED, Outcome.PLANNED, Outcome.UNPLACED)


def _close(decision: Decision, starting: Bools, closely: int) -> Bools:
    """Which jobs to explain closely, (N,): those without a place first, then those that start
    soonest; those that are alike are one."""
    places = decision.places
    own = np.full(len(places.pair), -1, dtype=np.int64)
    own[list(places.split)] = list(places.split)
    order = np.lexsort((places.slot, places.pair >= 0))
    slot = np.where(places.pair < 0, 0, places.slot)
    like, first = distinct(np.stack([places.klass, places.pair, slot, own], axis=1)[order])
    chosen, count = np.zeros(len(first), dtype=bool), 0
    for n, starts in enumerate(starting[order][first].tolist()):
        if count >= closely + STARTS_MOST:
            break
        if count < closely or starts:
            chosen[n] = True
            count += 1
    close = np.empty(len(order), dtype=bool)
    close[order] = chosen[like]
    return close
