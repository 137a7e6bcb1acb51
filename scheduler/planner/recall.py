"""Shadow prices from one round to the next: little changes in between."""

from dataclasses import dataclass

import numpy as np

from policies.scene import Floats
from scheduler.planner.duals import Duals, used_rows
from scheduler.planner.model import Model
from scheduler.planner.snapshot import Prices, RowPrices


@dataclass(frozen=True, slots=True)
class Recalled:
    """Prices that are probably nearly right, (R, A), and what a unit of each family of rows is
    about worth, (families,); None if that has to be found anew."""

    prices: Floats
    worth: Floats | None


def recalled(model: Model, prices: Prices | None) -> Recalled | None:
    """The prices of the round before for the rows and slots of this one; what it did not see is as
    its last slot was. None if there are none, or their slots are of another length."""
    scene = model.scene
    if prices is None or prices.slot_s != scene.slot_s:
        return None
    passed = round((scene.start_at - prices.start_at).total_seconds() / scene.slot_s)
    known = {(row.rule, row.group): row.yuan for row in prices.rows}
    found = np.zeros(model.problem.capacity.shape)
    for family in model.families:
        for g, group in enumerate(family.rule.groups):
            if yuan := known.get((family.name, group)):
                at = np.clip(np.arange(scene.axis) + passed, 0, len(yuan) - 1)
                found[family.from_row + g] = np.array(yuan)[at]
    by_rule = dict(prices.worth)
    worth = np.array([by_rule.get(family.name, 0.0) for family in model.families])
    # The price of what was worth nothing could never rise: nobody may have asked for it before.
    asked = np.unique(model.family[used_rows(model.problem)])
    return Recalled(found, worth if (worth[asked] > 0).all() else None)


def to_recall(model: Model, duals: Duals) -> Prices:
    """What the next round may start from."""
    rows = []
    for family in model.families:
        for g, group in enumerate(family.rule.groups):
            yuan = duals.prices[family.from_row + g]
            if yuan.any():
                rows.append(RowPrices(family.name, group, tuple(yuan.tolist())))
    names = [family.name for family in model.families]
    worth = tuple(zip(names, duals.worth.tolist(), strict=True))
    return Prices(model.scene.start_at, model.scene.slot_s, tuple(rows), worth)
