"""Which full rows kept a job from what it would have liked best, and what they are worth."""

import numpy as np

from policies.scene import TOLERANCE, Floats
from scheduler.domain.explanation import BindingConstraint
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.duals import Duals
from scheduler.planner.model import Choice, Model, Residual

# An explanation names so many rows at most, the dearest first.
ROWS_MOST = 5

Row = tuple[int, int, int]  # family, group, slot


def blocking_rows(model: Model, residual: Residual, choice: Choice) -> list[Row]:
    """The rows that have too little left for an option."""
    rows = []
    for family, entry in model.uses[choice.pair]:
        if model.families[family].elastic_yuan is not None:
            continue
        group, span, amounts = model.load(family, entry, choice.slot)
        short = amounts > residual.left[family][group, span] + TOLERANCE
        rows += [(family, group, span.start + int(t)) for t in np.flatnonzero(short)]
    return rows


def blocking_reason(model: Model, residual: Residual, choice: Choice) -> Reason:
    """Why an option that the job may take alone does not fit beside the other jobs."""
    rows = blocking_rows(model, residual, choice)
    if not rows:
        return Reason(
            ReasonCode.GANG_FRAGMENTED, "What is free does not lie together as the gang needs it."
        )
    family, group, slot = max(rows, key=lambda row: PRECEDENCE[model.families[row[0]].code])
    rule = model.families[family]
    left = max(float(residual.left[family][group, slot]), 0.0)
    entry = next(entry for f, entry in model.uses[choice.pair] if f == family)
    _, span, amounts = model.load(family, entry, choice.slot)
    when = model.scene.clock(max(slot * model.scene.slot_s, model.scene.now_s))
    text = (
        f"{rule.name} at {rule.groups[group]}: {amounts[slot - span.start]:.3g} > {left:.3g} "
        f"{rule.unit}{_plural(rule.unit)} left at {when} beside the other jobs."
    )
    return Reason(rule.code, text[0].upper() + text[1:])


def binding_rows(
    model: Model,
    residual: Residual,
    duals: Duals,
    *,
    choice: Choice | None,
    span: slice,
    free_yuan: Floats,
) -> tuple[BindingConstraint, ...]:
    """The rows in the way of the job's favourite option, and those that its own place fills.

    Args:
        residual: what all other jobs leave.
        free_yuan: what each option of the class would cost if no row were full.
    """
    rows: dict[Row, None] = {}
    if np.isfinite(free_yuan).any():
        pair, slot = np.unravel_index(int(np.argmin(free_yuan)), free_yuan.shape)
        rows |= dict.fromkeys(
            blocking_rows(model, residual, Choice(span.start + int(pair), int(slot)))
        )
    if choice is not None:
        for family, entry in model.uses[choice.pair]:
            if model.families[family].elastic_yuan is None:
                group, touched, amounts = model.load(family, entry, choice.slot)
                full = 2 * amounts > residual.left[family][group, touched] + TOLERANCE
                priced = duals.prices[family][group, touched] > TOLERANCE
                slots = touched.start + np.flatnonzero(full & priced)
                rows |= dict.fromkeys((family, group, int(t)) for t in slots)
    made = [_binding(model, duals, row) for row in rows]
    made.sort(key=lambda constraint: (-constraint.shadow_price_yuan, constraint.name))
    return tuple(made[:ROWS_MOST])


def _binding(model: Model, duals: Duals, row: Row) -> BindingConstraint:
    family, group, slot = row
    rule, price = model.families[family], float(duals.prices[family][group, slot])
    when = model.scene.clock(max(slot * model.scene.slot_s, model.scene.now_s))
    text = f"{rule.groups[group]} is full at {when} ({rule.name})"
    if price > TOLERANCE:
        text += f"; one more {rule.unit} would be worth about {price:.3g} yuan in that slot"
    return BindingConstraint(rule.label(model.scene, group, slot), price, text + ".")


def _plural(unit: str) -> str:
    return "s" if unit in ("accelerator", "core") else ""
