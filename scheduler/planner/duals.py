"""Shadow prices of the rows, and the lower bound that they certify.

For any prices λ ≥ 0 (λ ≤ elastic price), every job picking its cheapest option at cost plus λ × use
on its own costs no more than any plan: L(λ) = Σ min(unplaced, min(cost + λ·use)) - Σ λ·capacity.
The largest L is found by a projected subgradient with Polyak's step and an averaged direction
(Held, Wolfe and Crowder 1974; Camerini, Fratta and Maffioli 1975); rows are scaled by 1 / capacity.
"""

from dataclasses import dataclass

import numpy as np

from policies.scene import Floats, Ints
from scheduler.planner.model import Model

AVERAGING = 0.3
STEP_FIRST = 1.0
STEP_LEAST = 0.02
# Rounds without a better bound before the step is halved.
PATIENCE = 4
# The bound is as good as the plan, relative to it.
CLOSE = 1e-4


@dataclass(frozen=True, slots=True)
class Duals:
    """The best prices found, per family (G, A) in yuan per unit, and their bound in yuan."""

    prices: tuple[Floats, ...]
    bound_yuan: float


def reduced_yuan(model: Model, prices: tuple[Floats, ...]) -> Floats:
    """Cost of every option at given prices; shape (m, S), infinite where not allowed."""
    total = model.cost_yuan.copy()
    slots, axis = model.scene.slots, model.scene.axis
    run = model.candidates.options.run
    summed = np.zeros((len(total), axis + 1))
    whole = False
    for rows, price in zip(model.families, prices, strict=True):
        if not price.any():
            continue
        rate = rows.profile * price
        if rows.exact:
            for group in np.flatnonzero(rate.any(axis=1)):
                entries = np.flatnonzero(rows.group == group)
                pairs = rows.row[entries]
                hourly = rows.window.integral(rate[group], model.scene.hours, pairs)
                total[pairs] += rows.demand[entries, None] * hourly
            continue
        assert rows.window is run, f"{rows.name}: a row that is not exact lasts for the whole run"
        summed[rows.row, 1:] += rows.demand[:, None] * np.cumsum(rate, axis=1)[rows.group]
        whole = True
    if whole:
        total += np.take_along_axis(summed, run.last, axis=1) - summed[:, :slots]
    return total


def find_duals(model: Model, plan_yuan: float, iterations: int) -> Duals:
    """Climbs from zero prices towards the value of a known plan."""
    capacity = [np.where(np.isfinite(r.capacity), r.capacity, 0.0) for r in model.families]
    scale = [1 / np.maximum(c, 1.0) for c in capacity]
    prices = [_first(r.capacity, r.elastic_yuan) for r in model.families]
    direction = [np.zeros_like(price) for price in prices]
    best = Duals(tuple(prices), -np.inf)
    step, stale = STEP_FIRST, 0
    for _ in range(iterations):
        value, used = _evaluate(model, tuple(prices), capacity)
        if value > best.bound_yuan:
            better = value > best.bound_yuan + 1e-5 * abs(value)
            best = Duals(tuple(price.copy() for price in prices), value)
            stale = 0 if better else stale + 1
        else:
            stale += 1
        if plan_yuan - best.bound_yuan <= CLOSE * abs(plan_yuan) or step < STEP_LEAST:
            break
        if stale >= PATIENCE:
            step, stale = step / 2, 0
        norm = 0.0
        for f, rows in enumerate(model.families):
            slope = np.where(np.isfinite(rows.capacity), used[f] - capacity[f], 0.0) * scale[f]
            # A row with room and no price stays so: it must not shorten the others' step.
            slope[(prices[f] <= 0) & (slope < 0)] = 0.0
            direction[f] = AVERAGING * direction[f] + (1 - AVERAGING) * slope
            norm += float((direction[f] ** 2).sum())
        if norm <= 0:
            break
        stride = step * max(plan_yuan - value, CLOSE * abs(plan_yuan)) / norm
        for f, rows in enumerate(model.families):
            moved = prices[f] + stride * direction[f] * scale[f]
            prices[f] = np.clip(moved, 0.0, rows.elastic_yuan)
    return best


def _first(capacity: Floats, elastic_yuan: float | None) -> Floats:
    """Nothing, but the full price where an elastic row has no capacity at all."""
    if elastic_yuan is None:
        return np.zeros_like(capacity)
    return np.where(capacity <= 0, elastic_yuan, 0.0)


def _evaluate(
    model: Model, prices: tuple[Floats, ...], capacity: list[Floats]
) -> tuple[float, list[Floats]]:
    """L at the prices, and what the jobs' own choices use of every row."""
    reduced = reduced_yuan(model, prices)
    slot = np.argmin(reduced, axis=1)
    least = reduced[np.arange(len(reduced)), slot]
    value = -sum(float((p * c).sum()) for p, c in zip(prices, capacity, strict=True))
    pairs = []
    for k in model.active.tolist():
        span = model.spans[k]
        pair = span.start + int(np.argmin(least[span]))
        value += float(model.jobs[k]) * min(float(least[pair]), float(model.unplaced_yuan[k]))
        if least[pair] < model.unplaced_yuan[k]:
            pairs.append(pair)
    chosen = np.array(pairs, dtype=np.int64)
    return value, _usage(model, chosen, slot[chosen])


def _usage(model: Model, pairs: Ints, slots: Ints) -> list[Floats]:
    """What one choice per class uses of every row, times the jobs of the class."""
    count = np.zeros(len(model.cost_yuan))
    count[pairs] = model.jobs[model.candidates.options.klass[pairs]]
    start = np.zeros(len(model.cost_yuan), dtype=np.int64)
    start[pairs] = slots
    used = []
    for rows in model.families:
        entries = np.flatnonzero(count[rows.row] > 0)
        pair, group = rows.row[entries], rows.group[entries]
        amount = rows.demand[entries] * count[pair]
        first = start[pair]
        last = rows.window.last[pair, first]
        edges = np.zeros((len(rows.groups), model.scene.axis + 1))
        np.add.at(edges, (group, first), amount)
        np.add.at(edges, (group, last), -amount)
        level = np.cumsum(edges, axis=1)[:, :-1]
        if rows.exact:
            hours = model.scene.hours
            level *= hours
            short = rows.window.head_h[pair, first] - hours[first]
            np.add.at(level, (group, first), amount * short)
            many = last > first + 1
            short = rows.window.tail_h[pair, first] - hours[last - 1]
            np.add.at(level, (group, last - 1), np.where(many, amount * short, 0.0))
        used.append(level * rows.profile)
    return used
