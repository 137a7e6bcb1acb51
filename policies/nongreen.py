"""Energy that no green supply covers has a price of its own.

A site's load in a slot is green as far as its supply goes, whoever holds what of it. So the price
is on the load of a slot above the supply: an elastic row, whose shadow price lies between zero
(supply to spare) and the price (none left).
"""

import numpy as np

from policies.base import EnergyRate, Policy, Rows
from policies.scene import Scene
from scheduler.domain.reason import ReasonCode


def _rate(scene: Scene) -> EnergyRate:
    """What runs beyond the axis counts as not green."""
    shape = (len(scene.sites), scene.axis)
    beyond = np.full(len(scene.sites), scene.weights.nongreen_yuan_per_kwh)
    return EnergyRate(inside=np.zeros(shape), beyond=beyond)


def _rows(scene: Scene) -> tuple[Rows, ...]:
    if not scene.sites or scene.weights.nongreen_yuan_per_kwh <= 0:
        return ()
    left_kwh = np.array([view.green_kw * scene.hours - view.running_kwh for view in scene.sites])
    return (
        Rows(
            name="nongreen",
            code=ReasonCode.GREEN,
            unit="kWh",
            groups=tuple(view.site.cluster for view in scene.sites),
            of_class=scene.it_of_class(),
            of_pool=scene.it_of_pool(),
            group_of_pool=scene.site_of_pool,
            profile=np.array([view.pue for view in scene.sites]),
            capacity=np.maximum(left_kwh, 0.0),
            exact=True,
            elastic_yuan=np.full(left_kwh.shape, scene.weights.nongreen_yuan_per_kwh),
        ),
    )


POLICY = Policy(name="nongreen", energy_rate=_rate, rows=_rows)
