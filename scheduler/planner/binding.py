"""Which full rows kept a job from what it would have liked best, and what they are worth."""

import numpy as np

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
    made = [_binding(model, duals, row, slot) for row, slot in rows]
    made.sort(key=lambda constraint: (-constraint.shadow_price_yuan, constraint.name))
    return tuple(made[:ROWS_MOST])


def _binding(model: Model, duals: Duals, row: int, slot: int) -> BindingConstraint:
    family, price = model.family_of(row), float(duals.prices[row, slot])
    when = model.scene.clock(max(slot * model.scene.slot_s, model.scene.now_s))
    text = f"{family.group(row)} is full at {when} ({family.name})"
    if price > TOLERANCE:
        text += f"; one more {family.rule.unit} would be worth about {price:.3g} yuan in that slot"
    return BindingConstraint(model.label(row, slot), price, text + ".")


def _plural(unit: str) -> str:
    return "s" if unit in ("accelerator", "core") else ""
