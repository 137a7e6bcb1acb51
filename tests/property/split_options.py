"""Every way in which a class may run in several runs, one by one: slow and plain."""

import itertools
from collections.abc import Iterator

import numpy as np

from policies.base import EnergyRate
from policies.scene import OVERLAP_S
from scheduler.planner.block import Block
from scheduler.planner.model import Model

RUNS_MOST = 6

# Start slot and length, in slots.
Runs = list[tuple[int, float]]


def split_options(model: Model, klass: int) -> Iterator[tuple[int, Runs, float]]:
    """Pair, runs and yuan."""
    scene, spec = model.scene, model.scene.classes[klass].spec
    if not spec.interruptible:
        return
    block = Block(model, klass)
    restart = spec.restart_s / scene.slot_s
    for row in range(len(block.pools)):
        pair = block.span.start + row
        run, ready = float(block.run_s[row]) / scene.slot_s, float(block.start_s[row, 0])
        staged = len(model.problem.stage_from) and np.diff(model.problem.stage_from)[pair]
        first, last = model.candidates.first[pair], model.candidates.last[pair]
        if run < 2 or staged or first > last:
            continue
        latest_s = min(last * scene.slot_s, scene.columns.overdue_s[klass]) + OVERLAP_S
        for runs in _patterns(first, scene.slots, ready / scene.slot_s, run, restart):
            end_s = (max(runs[-1][0], ready / scene.slot_s) + runs[-1][1]) * scene.slot_s
            if end_s - float(block.run_s[row]) > latest_s:
                continue
            if restart == 0 or len(runs) <= RUNS_MOST:
                yield pair, runs, _yuan(model, block, row, runs, end_s)


def _patterns(first: int, slots: int, ready: float, run: float, restart: float) -> Iterator[Runs]:
    """All runs but the last one end with a slot; the last one when the work is done."""
    for edges in _edges(first, slots):
        runs = [(a, b - max(a, ready)) for a, b in zip(edges[:-1:2], edges[1::2], strict=True)]
        rest = run + restart * len(runs) - sum(length for _, length in runs)
        if rest - restart > 1e-5:
            yield [*runs, (edges[-1], rest)]


def _edges(first: int, slots: int) -> Iterator[tuple[int, ...]]:
    """Ascending slots: start, stop, start, stop … and at last a start."""
    for stops in range(1, slots):
        yield from itertools.combinations(range(first, slots), 2 * stops + 1)


def _yuan(model: Model, block: Block, row: int, runs: Runs, end_s: float) -> float:
    scene, k, spec = model.scene, block.klass, model.scene.classes[block.klass].spec
    pool, weights = int(block.pools[row]), scene.weights
    ready_s, run_s = float(block.start_s[row, 0]), float(block.run_s[row])
    yuan = 0.0
    for costs in model.candidates.costs:
        if costs.energy is not None:
            for slot, length in runs:
                start_s = max(slot * scene.slot_s, ready_s)
                end = start_s + length * scene.slot_s
                yuan += _energy_yuan(model, (k, pool), costs.energy, start_s, end)
        if costs.pair_yuan is not None:
            yuan += float(costs.pair_yuan[block.span.start + row])
        if costs.start is not None:
            late_s = end_s - run_s - ready_s
            yuan += float(costs.start.before_yuan_per_h[k]) * late_s / 3600
    moving_yuan = scene.rules.moving_yuan(scene.pools[pool].cluster)
    for _, length in runs[:-1]:
        unsaved_s = spec.checkpoint_interval_s or length * scene.slot_s
        lost_s = spec.stop_grace_s + spec.restart_s + weights.stop_fails_share * unsaved_s
        lost_h = weights.size(spec) * lost_s / 3600
        yuan += moving_yuan + weights.lost_yuan_per_gpu_hour * lost_h
    return yuan


def _energy_yuan(
    model: Model, of: tuple[int, int], rate: EnergyRate, start_s: float, end_s: float
) -> float:
    """Of a class in a pool, from a time to another."""
    scene, total = model.scene, 0.0
    site = scene.pools[of[1]].site
    for t in range(scene.axis):
        share_s = min(end_s, (t + 1) * scene.slot_s) - max(start_s, t * scene.slot_s)
        total += rate.inside[site, t] * scene.sites[site].pue[t] * max(share_s, 0.0) / 3600
    beyond_h = max(end_s - scene.axis * scene.slot_s, 0.0) / 3600
    total += rate.beyond[site] * scene.sites[site].pue[-1] * beyond_h
    return scene.it_kw(*of) * float(total)
