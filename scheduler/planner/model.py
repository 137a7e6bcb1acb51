"""The problem: a place for every job at least cost, under the rows that couple them.

minimise    Σ cost · x + Σ unplaced · (1 - placed) + Σ elastic · excess
subject to  each job in at most one place; in every row, use ≤ capacity (+ excess if elastic)
"""

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from policies.base import Rows
from policies.scene import TOLERANCE, Bools, Floats, Ints, Scene
from scheduler.planner.candidates import Candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``cost_yuan`` (m, S) is infinite where no start is allowed; ``jobs`` and ``unplaced_yuan``
    are per class (K,), ``spans`` the pairs of each. ``uses[pair]`` are its (family, entry).
    """

    scene: Scene
    candidates: Candidates
    cost_yuan: Floats
    jobs: Ints
    unplaced_yuan: Floats
    spans: tuple[slice, ...]
    families: tuple[Rows, ...]
    uses: tuple[tuple[tuple[int, int], ...], ...]
    active: Ints  # classes that have a start at all

    def load(self, family: int, entry: int, slot: int) -> tuple[int, slice, Floats]:
        """What an option uses: the group, the slots, the amounts."""
        rows = self.families[family]
        pair, group = int(rows.row[entry]), int(rows.group[entry])
        if rows.exact:
            span, hours = rows.window.touched(pair, slot, self.scene.hours)
            return group, span, rows.demand[entry] * hours * rows.profile[group, span]
        span = slice(slot, int(rows.window.last[pair, slot]))
        return group, span, rows.demand[entry] * rows.profile[group, span]


def build_model(scene: Scene, candidates: Candidates) -> Model:
    """Leaves out what cannot bind: groups whose capacity all jobs together could not exceed."""
    jobs = np.array([len(klass.jobs) for klass in scene.classes], dtype=np.int64)
    slack_free = [_binding_part(scene, candidates, rows, jobs) for rows in candidates.rows]
    families = tuple(rows for rows in slack_free if len(rows.row))
    uses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for f, rows in enumerate(families):
        for entry, pair in enumerate(rows.row.tolist()):
            uses[pair].append((f, entry))
    return Model(
        scene=scene,
        candidates=candidates,
        cost_yuan=np.where(candidates.allowed, candidates.cost_yuan, np.inf),
        jobs=jobs,
        unplaced_yuan=candidates.unplaced_yuan,
        spans=tuple(candidates.rows_of(k) for k in range(len(scene.classes))),
        families=families,
        uses=tuple(tuple(uses[pair]) for pair in range(len(candidates.options.klass))),
        active=np.unique(candidates.options.klass[candidates.allowed.any(axis=1)]),
    )


def _binding_part(scene: Scene, candidates: Candidates, rows: Rows, jobs: Ints) -> Rows:
    hours = scene.hours if rows.exact else np.ones(scene.axis)
    most = (rows.profile * hours).max(axis=1)[rows.group] * rows.demand
    startable = np.asarray(candidates.allowed.any(axis=1), dtype=bool)[rows.row]
    klass = candidates.options.klass[rows.row]
    peak = np.zeros((len(rows.groups), len(jobs)))
    np.maximum.at(peak, (rows.group, klass), np.where(startable, most, 0.0))
    tight: Bools = peak @ jobs > rows.capacity.min(axis=1) + TOLERANCE
    keep = startable & tight[rows.group]
    return replace(rows, row=rows.row[keep], group=rows.group[keep], demand=rows.demand[keep])


class Residual:
    """What is left of every row while jobs are placed and taken back."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.left = [rows.capacity.copy() for rows in model.families]
        self.blocked = np.zeros(model.cost_yuan.shape, dtype=bool)
        bounds = np.array([[s.start, s.stop] for s in model.spans], dtype=np.int64).reshape(-1, 2)
        self._entries: list[Ints] = [
            np.searchsorted(rows.row, bounds.ravel()).reshape(-1, 2) for rows in model.families
        ]

    def place(self, pair: int, slot: int, times: int = 1) -> None:
        """Uses up what an option needs, so many times; -1 gives it back."""
        for family, entry in self._model.uses[pair]:
            group, span, amounts = self._model.load(family, entry, slot)
            self.left[family][group, span] -= times * amounts

    def has_room(self, pair: int, slot: int) -> bool:
        """Whether what is left still allows one option, as ``fits`` tells it for a class."""
        for family, entry in self._model.uses[pair]:
            if self._model.families[family].elastic_yuan is None:
                group, span, amounts = self._model.load(family, entry, slot)
                if (amounts > self.left[family][group, span] + TOLERANCE).any():
                    return False
        return not self.blocked[pair, slot]

    def fits(self, klass: int) -> Bools:
        """The starts of a class that what is left allows; shape (pairs of the class, S)."""
        model, span = self._model, self._model.spans[klass]
        allowed = np.isfinite(model.cost_yuan[span]) & ~self.blocked[span]
        for f, rows in enumerate(model.families):
            low, high = self._entries[f][klass]
            if rows.elastic_yuan is not None or low == high:
                continue
            pairs, groups = rows.row[low:high], rows.group[low:high]
            need = rows.demand[low:high, None] * rows.profile[groups]
            left = self.left[f][groups] + TOLERANCE
            if rows.exact:
                over = self._exact_over(rows, pairs, need, left)
            else:
                over = rows.window.any_slot(need > left, pairs)
            allowed[pairs - span.start] &= ~over
        return np.asarray(allowed)

    def _exact_over(self, rows: Rows, pairs: Ints, need: Floats, left: Floats) -> Bools:
        """Whether the hours that each option covers of its slots need more than is left."""
        win, hours = rows.window, self._model.scene.hours
        last, slots = win.last[pairs], win.last.shape[1]
        end = last - 1
        over = need[:, :slots] * win.head_h[pairs] > left[:, :slots]
        tail = np.take_along_axis(need, end, axis=1) * win.tail_h[pairs]
        over |= tail > np.take_along_axis(left, end, axis=1)
        counted = np.zeros((len(pairs), left.shape[1] + 1), dtype=np.int32)
        np.cumsum(need * hours > left, axis=1, out=counted[:, 1:])
        inner = np.maximum(np.arange(slots) + 1, end)
        full = np.take_along_axis(counted, inner, axis=1) - counted[:, 1 : slots + 1]
        return np.asarray(over | (full > 0))

    def excess_yuan(self, klass: int) -> Floats:
        """What the elastic rows would charge one more job of a class; (pairs of the class, S)."""
        model, span = self._model, self._model.spans[klass]
        yuan = np.zeros((span.stop - span.start, model.scene.slots))
        for f, rows in enumerate(model.families):
            low, high = self._entries[f][klass]
            if rows.elastic_yuan is None or low == high:
                continue
            pairs, groups = rows.row[low:high], rows.group[low:high]
            need = rows.demand[low:high, None] * rows.profile[groups]
            left = np.maximum(self.left[f][groups], 0.0)
            win, hours = rows.window, model.scene.hours
            last, slots = win.last[pairs], model.scene.slots
            end = last - 1
            full = np.maximum(need * hours - left, 0.0)
            summed = np.concatenate([np.zeros((len(pairs), 1)), np.cumsum(full, axis=1)], axis=1)
            excess = np.take_along_axis(summed, last, axis=1) - summed[:, :slots]
            head = np.maximum(need[:, :slots] * win.head_h[pairs] - left[:, :slots], 0.0)
            excess += head - full[:, :slots]
            tail = np.take_along_axis(need, end, axis=1) * win.tail_h[pairs]
            tail = np.maximum(tail - np.take_along_axis(left, end, axis=1), 0.0)
            many = last > np.arange(1, slots + 1)
            excess += np.where(many, tail - np.take_along_axis(full, end, axis=1), 0.0)
            yuan[pairs - span.start] += rows.elastic_yuan * np.maximum(excess, 0.0)
        return yuan

    def total_excess_yuan(self) -> float:
        """What the elastic rows charge for all that is placed."""
        total = 0.0
        for rows, left in zip(self._model.families, self.left, strict=True):
            if rows.elastic_yuan is not None:
                over = np.where(np.isfinite(left), np.maximum(-left, 0.0), 0.0)
                total += rows.elastic_yuan * float(over.sum())
        return total


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a job goes: a pair and a start slot."""

    pair: int
    slot: int


# Per class, one entry for each of its jobs: a place, or none.
Assignment = list[list[Choice | None]]


def objective_yuan(model: Model, assignment: Assignment) -> float:
    """The exact objective over the classes that have a start at all."""
    residual, total = Residual(model), 0.0
    for k in model.active.tolist():
        for choice in assignment[k]:
            if choice is None:
                total += float(model.unplaced_yuan[k])
            else:
                total += float(model.cost_yuan[choice.pair, choice.slot])
                residual.place(choice.pair, choice.slot)
    return total + residual.total_excess_yuan()
