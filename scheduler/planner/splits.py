"""Interruptible jobs in several runs, where that pays more than the stops cost.

After the search, which gives every job one run: those that promise most are taken out, one after
the other, and put back in as many runs in one pool as cost least beside all others. Waiting is what
passes from when a job is ready until it ends, but for an unbroken run: a pause costs what a later
start does, and is within what the job allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.budget import Budget
from scheduler.planner.duals import Duals
from scheduler.planner.kernels.placing import worths
from scheduler.planner.kernels.pricing import Sums, sums_at
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.runs import excess_yuan, fits, place
from scheduler.planner.kernels.split_pairs import (
    best_split,
    energies_yuan,
    floors,
    split_least,
)
from scheduler.planner.kernels.splits import Room, Stops, room_for_runs
from scheduler.planner.model import Model
from scheduler.planner.places import Places, Residual, Split
from scheduler.planner.search import GAIN_LEAST_YUAN, LISTED, Searched
from scheduler.planner.stopping import planned_stop

# Pairs by which their array grows when runs are added.
GROW = 256


@dataclass(frozen=True, slots=True)
class Splitted:
    """The plan with its splits; the model has a pair for each of their runs behind the others.
    The bound of ``duals`` holds for all plans with splits."""

    model: Model
    places: Places
    duals: Duals


def split(model: Model, found: Searched, budget: Budget) -> Splitted:
    """Splits what gains by it, and makes the bound one over all ways to split."""
    stops = stops_of(model)
    may = found.active[stops.may[found.active] > 0]
    if not len(may):
        return Splitted(model, found.places, found.duals)
    problem = model.problem
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    room, least = room_for_runs(problem, sums, stops), np.empty(len(may))
    floors(problem, sums, stops, room, may, least)
    may, least = may[np.isfinite(least)], least[np.isfinite(least)]
    if not len(may):
        return Splitted(model, found.places, found.duals)
    bound_yuan = _bound_yuan(model, found, stops, may, budget.split_states)
    splitter = Splitter(model, found.places, stops, sums, room)
    floor = np.full(len(model.jobs), np.inf)
    floor[may] = least
    splitter.improve(splitter.promising(floor), budget.split_states)
    duals = replace(found.duals, bound_yuan=bound_yuan)
    return Splitted(splitter.model(), splitter.places, duals)


def stops_of(model: Model) -> Stops:
    """What it costs to stop the classes that may be stopped."""
    scene, count = model.scene, len(model.jobs)
    may, once, per_run, restart = np.zeros((4, count))
    for k, spec in enumerate(scene.classes.specs):
        if spec.interruptible:
            may[k], restart[k] = 1, spec.restart_s / scene.slot_s
            once[k], per_h = planned_stop(spec, scene.weights)
            per_run[k] = per_h * scene.slot_s / 3600
    pool_yuan = np.array([scene.rules.moving_yuan(pool.cluster) for pool in scene.pools])
    return Stops(may.astype(np.int64), once, per_run, restart, pool_yuan.astype(float))


def _bound_yuan(model: Model, found: Searched, stops: Stops, may: Ints, states: int) -> float:
    """That of the prices, less what splits could save each class at them."""
    problem = model.problem
    sums = sums_at(problem, found.guide.duals.prices)
    room = room_for_runs(problem, sums, stops)
    least = np.minimum(found.guide.least, model.unplaced_yuan)[may]
    split_yuan = least.copy()
    split_least(problem, sums, stops, room, may, least, states, split_yuan)
    return found.guide.duals.bound_yuan - float(((least - split_yuan) * model.jobs[may]).sum())


def carried(
    before: Model, model: Model, splits: Mapping[int, tuple[int, Split]]
) -> tuple[Model, dict[int, Split]]:
    """Splits of one model in another one: that one with a pair for each run, and the splits by job.

    Args:
        splits: by job of the other model, with the job's pair there.
    """
    problem, count, made = model.problem, len(model.problem.pairs), dict[int, Split]()
    for job, (pair, old) in splits.items():
        runs = list[tuple[int, int]]()
        for row, slot in old.runs:
            if count == len(problem.pairs):
                problem = _grown(problem)
            problem.pairs[count] = problem.pairs[pair]
            problem.pairs["run"][count] = before.problem.pairs["run"][row]
            runs.append((count, slot))
            count += 1
        made[job] = replace(old, runs=tuple(runs))
    return replace(model, problem=problem._replace(pairs=problem.pairs[:count])), made


class Splitter:
    """Splits jobs of a plan, one after the other.

    Args:
        sums: at no prices.
    """

    def __init__(self, model: Model, places: Places, stops: Stops, sums: Sums, room: Room) -> None:
        self._model, self._stops, self._sums, self._room = model, stops, sums, room
        self._problem, self._pairs = model.problem, len(model.problem.pairs)
        self.places = places.copy()
        self._left = Residual(model, places).left

    def promising(self, floor: Floats) -> list[tuple[int, float]]:
        """Jobs that could gain, and what each costs now, those first that could gain most.

        Args:
            floor: what no split of each class costs less than, (K,).
        """
        places = self.places
        jobs = np.flatnonzero(np.isfinite(floor[places.klass]))
        now = self._model.unplaced_yuan[places.klass[jobs]]
        placed = places.pair[jobs] >= 0
        here = jobs[placed]
        now[placed] = worths(self._problem, self._left, places.pair[here], places.slot[here])
        gain = now - floor[places.klass[jobs]]
        order = np.argsort(-gain, kind="stable")
        order = order[gain[order] > GAIN_LEAST_YUAN]
        return list(zip(jobs[order].tolist(), now[order].tolist(), strict=True))

    def improve(self, jobs: Sequence[tuple[int, float]], states: int) -> None:
        """Splits jobs that gain by it, until so many states have been looked at."""
        self._room.work[0] = 0
        for job, _ in jobs:
            if self._room.work[0] >= states:
                return
            self._try(job)

    def _try(self, job: int) -> None:
        places, left = self.places, self._left
        i, s, k = int(places.pair[job]), int(places.slot[job]), int(places.klass[job])
        now_yuan = float(self._model.unplaced_yuan[k])
        if i >= 0:
            here = np.array([i]), np.array([s])
            now_yuan = float(worths(self._problem, left, *here)[0])
            place(self._problem, left, i, s, -1.0)
        below = now_yuan - GAIN_LEAST_YUAN
        found, count, _ = best_split(
            self._problem, self._sums, self._stops, self._room, left, k, below, LISTED
        )
        if found >= 0:
            made = self._made(found, self._room.runs[:count].tolist())
            if self._fits(made) and self._yuan(made) < below:
                places.pair[job], places.slot[job] = found, made.runs[0][1]
                places.split[job] = made
                for pair, slot in made.runs:
                    place(self._problem, left, pair, slot, 1.0)
                return
        if i >= 0:
            place(self._problem, left, i, s, 1.0)

    def _fits(self, made: Split) -> bool:
        return all(fits(self._problem, self._left, pair, slot) for pair, slot in made.runs)

    def _yuan(self, made: Split) -> float:
        """With what the elastic rows would charge."""
        problem, left = self._problem, self._left
        return made.yuan + sum(float(excess_yuan(problem, left, i, s)) for i, s in made.runs)

    def _made(self, i: int, spans: Sequence[Sequence[int]]) -> Split:
        """A pair's runs: from a slot up to another, the last one to its end."""
        pair = self._problem.pairs[i]
        k, start = int(pair["klass"]), float(self._problem.classes[pair["klass"]]["start"])
        lengths = [stop - max(float(slot), start) for slot, stop in spans[:-1]]
        restarts = (len(spans) - 1) * float(self._stops.restart[k])
        lengths.append(float(pair["run"]) + restarts - sum(lengths))
        rows = [self._added(i, length) for length in lengths]
        runs = tuple((row, int(slot)) for row, (slot, _) in zip(rows, spans, strict=True))
        late = spans[-1][0] + lengths[-1] - float(pair["run"]) - start
        once_yuan = self._stops.once_yuan[k] + self._stops.pool_yuan[pair["pool"]]
        stops_yuan = float((len(spans) - 1) * once_yuan)
        stops_yuan += float(self._stops.run_yuan[k] * sum(lengths[:-1]))
        yuan = self._whole_yuan(i, runs, late) + stops_yuan
        return Split(runs=runs, yuan=yuan, stops_yuan=stops_yuan, late=late)

    def _whole_yuan(self, i: int, runs: Sequence[tuple[int, int]], late: float) -> float:
        """All but the stops."""
        pair, slot = self._problem.pairs[i], runs[0][1]
        job, (pairs, slots) = self._problem.classes[pair["klass"]], np.array(runs).T
        yuan = float(pair["yuan"] + energies_yuan(self._problem, pairs, slots).sum())
        yuan += float(job["before_yuan"]) * late
        kept = job["kept_pair"] == i and job["kept_slot"] == slot
        return yuan if slot == 0 or kept else yuan + float(job["moving_yuan"])

    def _added(self, i: int, run: float) -> int:
        """A pair like another, for one run."""
        if self._pairs == len(self._problem.pairs):
            self._problem = _grown(self._problem)
        row, self._pairs = self._pairs, self._pairs + 1
        self._problem.pairs[row] = self._problem.pairs[i]
        self._problem.pairs["run"][row] = run
        return row

    def model(self) -> Model:
        """With all runs that were added."""
        pairs = self._problem.pairs[: self._pairs].copy()
        return replace(self._model, problem=self._problem._replace(pairs=pairs))


def _grown(problem: Problem) -> Problem:
    """With room for more pairs, none of which has stages."""
    more = np.zeros(GROW, dtype=problem.pairs.dtype)
    stages = problem.stage_from
    if len(stages):
        stages = np.concatenate([stages, np.full(GROW, stages[-1], dtype=stages.dtype)])
    return problem._replace(pairs=np.concatenate([problem.pairs, more]), stage_from=stages)
