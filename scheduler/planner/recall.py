"""Shadow prices from one round to the next: little changes in between."""

import numpy as np

from policies.scene import Floats
from scheduler.planner.model import Model
from scheduler.planner.snapshot import Prices, RowPrices


def recalled(model: Model, prices: Prices | None) -> Floats | None:
    """The prices of the round before for the rows and slots of this one, (R, A); what it did not
    see is as its last slot was. None if there are none, or their slots are of another length."""
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
    return found


def to_recall(model: Model, yuan: Floats) -> Prices:
    """What the next round may start from.

    Args:
        yuan: the prices, (R, A).
    """
    rows = []
    for family in model.families:
        for g, group in enumerate(family.rule.groups):
            of_row = yuan[family.from_row + g]
            if of_row.any():
                rows.append(RowPrices(family.name, group, tuple(of_row.tolist())))
    return Prices(model.scene.start_at, model.scene.slot_s, tuple(rows))
