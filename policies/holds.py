"""What runs hold of a site's green supply, and for whom what is left of it is.

Jobs that match by the slot hold it in rows over whole runs, those that match by the run in rows
over their first parts. These cannot be the same rows, so in every slot each kind has a part of its
own. The parts are max-min fair: a kind that asks for less than half has what it asks for, the other
has the rest. Where the supply does not hold the smallest job of each kind at a time, parts of it
would be of use to neither: all of it is for the kind of whoever is first in line.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from policies.deadline import ROUNDING_S
from policies.scene import OVERLAP_S, TOLERANCE, Bools, Floats, Ints, Pairs, Scene, shapes

# A site's PUE varies by less than this over a run; where it does not, its forecast says by what.
PUE_WAVE = 1.1


def first_s(share: Floats, run_s: Floats, pue: Floats) -> Floats:
    """How long runs are green from their start on to be so to a share of their energy, (n,).

    With P ≥ all PUE and p ≤ all, share × run × P / p seconds use share × run × P at least, which is
    the share of all that the run can use.

    Args:
        pue: of the site, (A,).
    """
    least = float(pue.min())
    wave = max(PUE_WAVE, float(pue.max()) / least) if least > 0 else math.inf
    return np.asarray(np.minimum(share * wave, 1.0) * run_s)


@dataclass(frozen=True, slots=True)
class Split:
    """Supply that no running attempt holds, in kW at the door, and the parts of it that are for
    jobs that match by the slot and by the run; (C, A) each."""

    left: Floats
    by_slot: Floats
    by_run: Floats


# Filters, rows and each of many sentences ask for the same.
_KNOWN: WeakKeyDictionary[Pairs, Split] = WeakKeyDictionary()


def split_of(scene: Scene, pairs: Pairs) -> Split:
    """Who may have how much of the green supply.

    Args:
        pairs: those of the scene that no rule forbids whatever the time.
    """
    if (known := _KNOWN.get(pairs)) is None:
        known = _KNOWN[pairs] = _split(scene, pairs)
    return known


def _split(scene: Scene, pairs: Pairs) -> Split:
    kept = [view.green_kw - view.running_held_kw for view in scene.sites]
    left = np.maximum(np.array(kept).reshape(len(scene.sites), scene.axis), 0.0)
    columns = scene.columns
    if not columns.green_by_run.any():
        return Split(left, left, np.zeros(left.shape))
    if not (columns.green_share[~columns.green_by_run] > 0).any():
        return Split(left, np.zeros(left.shape), left)
    asks, by_run = _asks(scene, pairs, left), np.empty(left.shape)
    for c, view in enumerate(scene.sites):
        slot = _wants(asks.of(c, by_run=False), left[c], view.pue)
        run = _wants(asks.of(c, by_run=True), left[c], np.full(scene.axis, view.pue.max()))
        by_run[c] = _part(left[c], slot, run)
    return Split(left, left - by_run, by_run)


@dataclass(frozen=True, slots=True)
class Asks:
    """Classes that could start at a site within the horizon, each once per site, (n,): what a job
    holds, in kW of IT, in the least and in the hungriest of its pools there, how many jobs there
    are, and the place of the first of them in the line."""

    site: Ints
    by_run: Bools
    least_kw: Floats
    most_kw: Floats
    jobs: Ints
    rank: Ints

    def of(self, site: int, *, by_run: bool) -> "Asks":
        """Those of one kind at one site."""
        here = (self.site == site) & (self.by_run == by_run)
        columns = (self.site, self.by_run, self.least_kw, self.most_kw, self.jobs, self.rank)
        return Asks(*(column[here] for column in columns))


@dataclass(frozen=True, slots=True)
class Wants:
    """What those of one kind who fit into the supply of a slot hold in it, all and the smallest, in
    kW at the door, and the first of them in the line, inf if there are none; (A,) each."""

    all_kw: Floats
    least_kw: Floats
    front: Floats


def _wants(asks: Asks, left_kw: Floats, pue: Floats) -> Wants:
    order = np.argsort(asks.least_kw, kind="stable")
    least_kw, rank = asks.least_kw[order], asks.rank[order]
    all_kw = np.concatenate(([0.0], np.cumsum((asks.jobs * asks.most_kw)[order])))
    front = np.concatenate(([np.inf], np.minimum.accumulate(rank)))
    fits = np.searchsorted(least_kw, _it_kw(left_kw, pue) + TOLERANCE, side="right")
    smallest_kw = np.where(fits > 0, least_kw[0] if len(order) else 0.0, 0.0)
    return Wants(all_kw[fits] * pue, smallest_kw * pue, front[fits])


def _part(left_kw: Floats, slot: Wants, run: Wants) -> Floats:
    """The part of those that match by the run, (A,)."""
    rest_kw = left_kw - slot.all_kw
    fair_kw = np.clip(left_kw / 2, np.minimum(run.all_kw, rest_kw), np.maximum(run.all_kw, rest_kw))
    # A fair part that is too small for any of its kind is of use to nobody.
    most_kw = left_kw - slot.least_kw
    together = run.least_kw <= most_kw + TOLERANCE
    useful_kw = np.maximum(np.minimum(fair_kw, most_kw), run.least_kw)
    alone_kw = np.where(run.front < slot.front, left_kw, 0.0)
    return np.asarray(np.clip(np.where(together, useful_kw, alone_kw), 0.0, left_kw))


def _it_kw(left_kw: Floats, pue: Floats) -> Floats:
    """The IT power that a supply covers; of no energy at the door, any."""
    unlimited = np.full(left_kw.shape, np.inf)
    return np.asarray(np.divide(left_kw, pue, out=unlimited, where=pue > 0))


def _asks(scene: Scene, pairs: Pairs, left_kw: Floats) -> Asks:
    columns, sites = scene.columns, len(scene.sites)
    rows = np.flatnonzero(columns.green_share[pairs.klass] > 0)
    rows = rows[_could_start(scene, pairs, rows, left_kw)]
    kw = _held_kw(scene, pairs, rows)
    key = pairs.klass[rows].astype(np.int64) * sites + pairs.site[rows]
    once, which = np.unique(key, return_inverse=True)
    least_kw, most_kw = np.full(len(once), np.inf), np.zeros(len(once))
    np.minimum.at(least_kw, which, kw)
    np.maximum.at(most_kw, which, kw)
    klass, rank = once // max(sites, 1), np.empty(len(columns.priority), dtype=np.int64)
    # Classes are in the order of their oldest jobs.
    rank[np.argsort(-columns.priority, kind="stable")] = np.arange(len(rank))
    return Asks(
        site=once % max(sites, 1),
        by_run=columns.green_by_run[klass],
        least_kw=least_kw,
        most_kw=most_kw,
        jobs=scene.classes.sizes[klass],
        rank=rank[klass],
    )


def _held_kw(scene: Scene, pairs: Pairs, rows: Ints) -> Floats:
    """What runs hold, in kW of IT: of those that match by the run, all that they draw; (n,)."""
    columns, klass, pool = scene.columns, pairs.klass[rows], pairs.pool[rows]
    it_kw = (scene.it_of_class()[klass] * scene.it_of_pool()[pool]).sum(axis=1)
    return np.asarray(it_kw * np.where(columns.green_by_run, 1.0, columns.green_share)[klass])


def held_s(scene: Scene, pairs: Pairs, rows: Ints) -> Floats:
    """How long runs hold green supply, (n,)."""
    columns, klass, site = scene.columns, pairs.klass[rows], pairs.site[rows]
    length_s, share = pairs.run_s[rows].copy(), columns.green_share[klass]
    for c, view in enumerate(scene.sites):
        here = columns.green_by_run[klass] & (site == c)
        length_s[here] = first_s(share[here], length_s[here], view.pue)
    return length_s


def _could_start(scene: Scene, pairs: Pairs, rows: Ints, left_kw: Floats) -> Bools:
    """Which pairs could start within the horizon if nobody but what runs already were there: in
    time, with room, and with green supply for long enough; (n,)."""
    columns, klass, site = scene.columns, pairs.klass[rows], pairs.site[rows]
    start_s, length_s = pairs.start_s(rows), held_s(scene, pairs, rows)
    by_run, kw = columns.green_by_run[klass], _held_kw(scene, pairs, rows)
    could = start_s < scene.slots * scene.slot_s
    could &= start_s + pairs.run_s[rows] <= columns.deadline_s[klass] + ROUNDING_S
    # What matches by the run has its green part within what is looked at.
    could &= ~by_run | (start_s + length_s <= scene.axis * scene.slot_s + ROUNDING_S)
    could &= _room(scene)[klass, pairs.pool[rows]]
    for c, view in enumerate(scene.sites):
        for kind, pue in ((False, view.pue), (True, np.full(scene.axis, view.pue.max()))):
            here = np.flatnonzero((site == c) & (by_run == kind))
            if len(here):
                lasts_s = _lasts_s(scene, _it_kw(left_kw[c], pue), kw[here])
                could[here] &= length_s[here] <= lasts_s + OVERLAP_S
    return could


def _room(scene: Scene) -> Bools:
    """Whether gangs find room beside what runs at any time of the horizon, (K, P)."""
    columns = scene.columns
    found = np.empty((len(scene.classes), len(scene.pools)), dtype=bool)
    for p, pool in enumerate(scene.pools):
        free = [pool.free_gpus, pool.free_cpus, pool.free_memory_gb]
        most = np.stack([one[:, : scene.slots].max(axis=1) for one in free], axis=1)
        found[:, p] = shapes(most).room(columns) >= columns.workers
    return found


def _lasts_s(scene: Scene, level_kw: Floats, kw: Floats) -> Floats:
    """The longest time, begun within the horizon, in which a supply, (A,), is never below each of
    some figures, (n,); -inf if it never reaches it. What lasts to the end lasts for ever.
    """
    longest_s = np.empty(len(level_kw))
    for t, (first, stop) in enumerate(zip(*_stretches(level_kw.tolist()), strict=True)):
        lasts_s = stop * scene.slot_s if stop < len(level_kw) else math.inf
        begins_s = max(first * scene.slot_s, scene.now_s)
        longest_s[t] = lasts_s - begins_s if first < scene.slots else -math.inf
    order = np.argsort(level_kw, kind="stable")
    best_s = np.maximum.accumulate(longest_s[order][::-1])[::-1]
    at = np.searchsorted(level_kw[order], kw - TOLERANCE, side="left")
    return np.asarray(np.concatenate((best_s, [-math.inf]))[at])


def _stretches(levels: list[float]) -> tuple[list[int], list[int]]:
    """For each of some values, from where to where around it none is less."""
    first, stop, open_at = [0] * len(levels), [len(levels)] * len(levels), list[int]()
    for t, level in enumerate(levels):
        while open_at and levels[open_at[-1]] > level:
            stop[open_at.pop()] = t
        equal = bool(open_at) and levels[open_at[-1]] == level
        first[t] = first[open_at[-1]] if equal else (open_at[-1] + 1 if open_at else 0)
        open_at.append(t)
    return first, stop
