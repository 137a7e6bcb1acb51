"""A job as it might have been asked for, beside all others of a plan that keep their places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from policies.base import Policy
from policies.registry import POLICIES
from policies.scene import TOLERANCE, Floats, Ints
from scheduler.domain.job import JobSpec
from scheduler.planner.block import Block
from scheduler.planner.candidates import find_candidates
from scheduler.planner.closures import closed_to_runs
from scheduler.planner.decision import Decision
from scheduler.planner.model import Model, build_model
from scheduler.planner.plan import Placement
from scheduler.planner.pools import need_of
from scheduler.planner.relax.taken import Others
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import PendingJob, Snapshot


@dataclass(frozen=True, slots=True)
class Place:
    """The cheapest place that a wish could have: a pair of its model and a slot."""

    pair: int
    slot: int
    yuan: float


class Beside:
    """One job of a plan, with whatever wishes, in one piece."""

    def __init__(
        self,
        snapshot: Snapshot,
        decision: Decision,
        placements: Sequence[Placement],
        job: int,
        *,
        policies: tuple[Policy, ...] = POLICIES,
    ) -> None:
        """``job`` is its index in the snapshot; ``placements`` are the plan's, with the nodes of
        what starts now."""
        self.snapshot, self.job = snapshot, snapshot.jobs[job]
        listed = decision.model.scene.classes.members.tolist()
        self._others = Others(decision, listed.index(job))
        self._weights, self._policies = decision.model.scene.weights, policies
        self._held: dict[str, Floats] = {}
        specs = {one.id: one.spec for one in snapshot.jobs}
        for placement in placements:
            if placement.job_id != self.job.id:
                for node in placement.nodes:
                    taken = self._held.setdefault(node, np.zeros(3))
                    taken += need_of(specs[placement.job_id])

    def wishes(self, specs: Sequence[JobSpec]) -> "Wishes":
        """The job, once with each spec."""
        jobs = tuple(
            replace(self.job, id=f"{self.job.id} {n}", spec=spec) for n, spec in enumerate(specs)
        )
        previous = {}
        if (planned := self.snapshot.previous.get(self.job.id)) is not None:
            previous = dict.fromkeys((job.id for job in jobs), planned)
        seen = replace(self.snapshot, jobs=jobs, previous=previous, prices=None)
        scene = build_scene(seen, self._weights)
        candidates = self._others.leave(find_candidates(scene, self._policies))
        return Wishes(build_model(scene, candidates), self._held, jobs)


class Wishes:
    """A job with several specs. ``model`` has a class for each that differs, and what others leave
    as the capacity of its rows; ``held`` is what those that start now take of each node."""

    def __init__(self, model: Model, held: dict[str, Floats], jobs: tuple[PendingJob, ...]) -> None:
        """``jobs``: the job with each spec."""
        self.model, self.jobs = model, jobs
        self._held = held
        self._class_of = {n: k for k, klass in enumerate(model.scene.classes) for n in klass.jobs}
        self.block = cache(lambda klass: Block(model, klass))
        self._yuan = cache(self._priced)

    def klass(self, n: int) -> int:
        """The class of a spec, by its number."""
        return self._class_of[n]

    def place(self, n: int, last_slot: int | None = None) -> Place | None:
        """Where the job would start with a spec, at ``last_slot`` at the latest; None: nowhere."""
        klass = self.klass(n)
        yuan = self._yuan(klass)[:, : None if last_slot is None else last_slot + 1]
        if not np.isfinite(yuan).any():
            return None
        row, slot = np.unravel_index(int(np.argmin(yuan)), yuan.shape)
        first = self.block(klass).span.start
        return Place(first + int(row), int(slot), float(yuan[row, slot]))

    def starts(self, n: int) -> Floats:
        """What each start costs, infinite where there is no room; (pairs, S)."""
        return self._yuan(self.klass(n))

    def _priced(self, klass: int) -> Floats:
        block = self.block(klass)
        yuan = block.cost_yuan + block.room_yuan(self.model.problem.capacity)
        now = np.flatnonzero(np.isfinite(yuan[:, 0]) & (block.start_s[:, 0] <= self._now_s))
        for row in now.tolist():
            if not self._holds(klass, int(block.pools[row]), float(block.run_s[row])):
                yuan[row, 0] = np.inf
        return yuan

    @property
    def _now_s(self) -> float:
        return self.model.scene.now_s

    def _holds(self, klass: int, pool: int, run_s: float) -> bool:
        """Whether a gang that starts now finds nodes beside those that do."""
        scene, spec = self.model.scene, self.model.scene.classes[klass].spec
        where, need = scene.pools[pool], need_of(spec)
        free = np.stack(
            [where.free_gpus[:, 0], where.free_cpus[:, 0], where.free_memory_gb[:, 0]], axis=1
        )
        for n, node in enumerate(where.nodes):
            if node.id in self._held:
                free[n] -= self._held[node.id]
        if (closed := closed_to_runs(scene, pool, [scene.now_s + run_s])) is not None:
            free[closed[0]] = 0.0
        return int(_rooms(free, need, spec.workers).sum()) >= spec.workers


def _rooms(free: Floats, need: Floats, most: int) -> Ints:
    """Workers that each node holds, at most so many; (n,)."""
    asked = need > 0
    fits = np.floor(np.maximum(free, 0.0)[:, asked] / need[asked] + TOLERANCE)
    return np.asarray(fits.min(axis=1, initial=most), dtype=np.int64)
