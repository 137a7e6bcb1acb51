"""Which full rows kept a job from what it would have liked best, and what they are worth."""

from collections.abc import Iterable, Iterator

import numpy as np

from policies.base import StageRows
from policies.scene import TOLERANCE, Floats
from scheduler.domain.explanation import BindingConstraint
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.duals import Duals
from scheduler.planner.kernels.uses import short_of
from scheduler.planner.model import Model
from scheduler.planner.places import Choice, Residual

# An explanation names so many rows at most, the dearest first.
ROWS_MOST = 5

Row = tuple[int, int]  # row and slot
Window = tuple[int, int, int]  # row, first slot, and the one after the last


def blocking_rows(model: Model, residual: Residual, choice: Choice) -> list[Row]:
    """The rows that have too little left for an option."""
    rows, slots = short_of(model.problem, residual.left, choice.pair, choice.slot)
    return list(zip(rows.tolist(), slots.tolist(), strict=True))


def blocking_reason(model: Model, residual: Residual, choice: Choice) -> Reason:
    """Why an option that the job may take alone does not fit beside the other jobs."""
    rows = blocking_rows(model, residual, choice)
    if not rows:
        return Reason(
            ReasonCode.GANG_FRAGMENTED, "What is free does not lie together as the gang needs it."
        )
    row, slot = max(rows, key=lambda at: PRECEDENCE[model.family_of(at[0]).code])
    family = model.family_of(row)
    left = max(float(residual.left[row, slot]), 0.0)
    use = next(use for use in model.uses(choice.pair) if use.row == row)
    span, amounts = model.load(use, choice.pair, choice.slot)
    when = model.scene.clock(max(slot * model.scene.slot_s, model.scene.now_s))
    unit = family.rule.unit
    text = (
        f"{family.name} at {family.group(row)}: {amounts[slot - span.start]:.3g} > {left:.3g} "
        f"{unit}{_plural(unit)} left at {when} beside the other jobs."
    )
    return Reason(family.code, text[0].upper() + text[1:])


def binding_rows(
    model: Model,
    residual: Residual,
    duals: Duals,
    *,
    choice: Choice | None,
    first_pair: int,
    free_yuan: Floats,
) -> tuple[BindingConstraint, ...]:
    """The rows in the way of the job's favourite option, and those that its own place fills.

    Args:
        residual: what all other jobs leave.
        first_pair: that of the class.
        free_yuan: what each option of the class would cost if no row were full.
    """
    rows: dict[Row, None] = {}
    if np.isfinite(free_yuan).any():
        pair, slot = np.unravel_index(int(np.argmin(free_yuan)), free_yuan.shape)
        favourite = Choice(first_pair + int(pair), int(slot))
        rows |= dict.fromkeys(blocking_rows(model, residual, favourite))
    for run, begin in choice.runs if choice is not None else ():
        for use in model.uses(run):
            if model.family_of(use.row).hard:
                touched, amounts = model.load(use, run, begin)
                full = 2 * amounts > residual.left[use.row, touched] + TOLERANCE
                priced = duals.prices[use.row, touched] > TOLERANCE
                slots = touched.start + np.flatnonzero(full & priced)
                rows |= dict.fromkeys((use.row, int(t)) for t in slots)
    made = [_binding(model, duals, *window) for window in _dearest(model, duals, _windows(rows))]
    made.sort(key=lambda constraint: (-constraint.shadow_price_yuan, constraint.name))
    return tuple(made[:ROWS_MOST])


def _windows(rows: Iterable[Row]) -> Iterator[Window]:
    """Rows that are full in slots one after the other."""
    window: Window | None = None
    for row, slot in sorted(rows):
        if window is not None and window[0] == row and window[2] == slot:
            window = (row, window[1], slot + 1)
            continue
        if window is not None:
            yield window
        window = (row, slot, slot + 1)
    if window is not None:
        yield window


def _dearest(model: Model, duals: Duals, windows: Iterable[Window]) -> list[Window]:
    """Of windows that say the same of the same nodes, site or link (accelerators, and blocks of
    them), the one that is worth most."""
    best: dict[object, Window] = {}
    for row, first, stop in windows:
        family = model.family_of(row)
        key = (family.code, family.group(row), first, stop)
        before = best.get(key)
        price = duals.prices[row, first:stop].sum()
        if before is None or price > duals.prices[before[0], first:stop].sum():
            best[key] = (row, first, stop)
    return list(best.values())


def _binding(model: Model, duals: Duals, row: int, first: int, stop: int) -> BindingConstraint:
    """A row over a window of slots; its price is the mean of theirs."""
    family, scene = model.family_of(row), model.scene
    price = float(duals.prices[row, first:stop].mean())
    since = scene.clock(max(first * scene.slot_s, scene.now_s))
    until = scene.clock(stop * scene.slot_s)
    unit, group = family.rule.unit, family.group(row)
    # That they are counted in blocks, too, is the model's affair; the unit says of how many.
    what = family.name.split("-blocks-of-")[0]
    text = f"{group} is full from {since} to {until} ({what})"
    if price > TOLERANCE:
        # A unit of energy or data is used up in its slot; others are held for its time.
        used_up = isinstance(family.rule, StageRows) or family.rule.exact
        worth = f"{price:.3g} yuan" if used_up else f"{price * 3600 / scene.slot_s:.3g} yuan/h"
        text += f"; one more {unit} there would be worth about {worth}"
    return BindingConstraint(model.label(row, first), price, text + ".")


def _plural(unit: str) -> str:
    return "s" if unit in ("accelerator", "core") else ""
