"""What runs, looked at as the planner looks at jobs: in a snapshot in which it is not running but
pending, beside all that the plan has placed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.base import Policy
from policies.scene import Ints
from scheduler.planner.block import Block
from scheduler.planner.candidates import find_candidates
from scheduler.planner.decision import Decision
from scheduler.planner.ledger import Ledger
from scheduler.planner.model import build_model
from scheduler.planner.places import Choice, Places, Residual, nowhere
from scheduler.planner.plan import Placement
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import PendingJob, RunningAttempt, Snapshot
from scheduler.planner.splits import carried


@dataclass(frozen=True, slots=True)
class Mover:
    """A run that may move, and how long it would still run where it is; ``work_s`` is its work in
    that time, at relative speed 1."""

    attempt: RunningAttempt
    rest_s: float
    work_s: float


class WhatIf:
    """Some runs as jobs of a snapshot of their own, beside all that the plan has placed: each once
    as it is (``stays``; None where it could not start any more, and nobody can say what it costs),
    once as another job for the rest of it. ``residual`` is what is left beside the plan and those
    that stay."""

    def __init__(
        self,
        snapshot: Snapshot,
        decision: Decision,
        placements: Sequence[Placement],
        movers: Sequence[Mover],
        rests: Sequence[PendingJob],
        *,
        policies: tuple[Policy, ...],
    ) -> None:
        self._snapshot, self._decision, self._movers = snapshot, decision, movers
        ids = {mover.attempt.attempt_id for mover in movers}
        placed = {placement.job_id for placement in placements}
        kept = [i for i, job in enumerate(snapshot.jobs) if job.id in placed]
        jobs = [snapshot.jobs[i] for i in kept]
        stays = [_stay(mover, snapshot) for mover in movers]
        weights = decision.model.scene.weights
        self._what_if = what_if = replace(
            snapshot,
            jobs=(*jobs, *stays, *rests),
            running=tuple(a for a in snapshot.running if a.attempt_id not in ids),
        )
        scene = build_scene(what_if, weights)
        self.model = build_model(scene, find_candidates(scene, policies))
        self._klass = {i: k for k, klass in enumerate(scene.classes) for i in klass.jobs}
        self._first = len(jobs)
        self._blocks: dict[int, Block] = {}
        # Where each job of the what-if stands among the places.
        listed = scene.classes.members.tolist()
        at = np.empty(len(listed), dtype=np.int64)
        at[listed] = np.arange(len(listed))
        self._places = places = self._as_planned(kept, at)
        self.stays = [self._staying(m) for m in range(len(movers))]
        for m, choice in enumerate(self.stays):
            if choice is not None:
                job = at[self._first + m]
                places.pair[job], places.slot[job] = choice.pair, choice.slot
        self.residual: Residual = Residual(self.model, places)
        self._ledger = Ledger(self.model, places)

    def _as_planned(self, kept: list[int], at: Ints) -> Places:
        """The plan's places, as options of this model.

        Args:
            kept: the index in the snapshot of each job that has a place.
            at: where each job of this model stands among its places.
        """
        planned, before, places = self._decision.places, self._decision.model, nowhere(self.model)
        listed = before.scene.classes.members
        placed = np.flatnonzero(planned.pair >= 0)
        job = at[np.searchsorted(kept, listed[placed])]
        pool = before.candidates.pairs.pool[planned.pair[placed]].astype(np.int64)
        pairs, pools = self.model.candidates.pairs, len(self.model.scene.pools)
        # Pairs are sorted by class and pool.
        keys = pairs.klass.astype(np.int64) * pools + pairs.pool
        places.pair[job] = np.searchsorted(keys, places.klass[job] * pools + pool)
        places.slot[job] = planned.slot[placed]
        splits = {
            int(job[n]): (int(places.pair[job[n]]), planned.split[int(placed[n])])
            for n in (np.searchsorted(placed, list(planned.split)) if planned.split else ())
        }
        self.model, places.split = carried(before, self.model, splits)
        return places

    def rest_class(self, m: int) -> int:
        """The class of the rest of a run."""
        return self._klass[self._first + len(self._movers) + m]

    def _block(self, klass: int) -> Block:
        """The options of a class."""
        if klass not in self._blocks:
            self._blocks[klass] = Block(self.model, klass)
        return self._blocks[klass]

    def _staying(self, m: int) -> Choice | None:
        """The run as it is."""
        attempt, k = self._movers[m].attempt, self._klass[self._first + m]
        for p, pool in enumerate(self.model.scene.pools):
            if (pool.cluster, pool.accelerator) == (attempt.cluster, attempt.accelerator):
                allowed = self.model.candidates.pair_verdict[k, p] < 0
                return Choice(self.model.candidates.row_of(k, p), 0) if allowed else None
        return None


def _stay(mover: Mover, snapshot: Snapshot) -> PendingJob:
    """The rest of a run as a job that starts now, with all it needs there already."""
    spec = mover.attempt.spec
    rest = replace(
        spec,
        expected_duration_s=mover.work_s,
        restart_s=0.0,
        data=(),
        earliest_start_at=None,
        deadline_at=None,
        max_delay_s=0.0,
        max_rtt_ms=None,
        must_be_in=(),
        must_not_be_in=(),
    )
    job_id = f"{mover.attempt.attempt_id} stays"
    return PendingJob(id=job_id, spec=rest, submitted_at=snapshot.now_at)
