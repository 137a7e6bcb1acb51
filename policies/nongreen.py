"""Energy that no green supply covers has a price of its own, and one for the carbon it emits.

A site's load in a slot is green as far as its supply goes, whoever holds what of it. So the price
is on the load of a slot above the supply: an elastic row, whose shadow price lies between zero
(supply to spare) and the price (none left).
"""

import numpy as np

from policies.base import EnergyRate, Policy, Rows
from policies.scene import Floats, Scene
from scheduler.domain.reason import ReasonCode


def surcharge_yuan_per_kwh(scene: Scene) -> Floats:
    """On a kWh at the door that is not green; shape (C, A)."""
    weights = scene.weights
    carbon = np.array([view.carbon_g_per_kwh for view in scene.sites]) / 1000
    yuan = weights.nongreen_yuan_per_kwh + weights.carbon_yuan_per_kg * carbon
    return np.asarray(yuan.reshape(len(scene.sites), scene.axis))


def _rate(scene: Scene) -> EnergyRate:
    """What runs beyond the axis counts as not green."""
    surcharge = surcharge_yuan_per_kwh(scene)
    return EnergyRate(inside=np.zeros(surcharge.shape), beyond=surcharge[:, -1])


def _rows(scene: Scene) -> tuple[Rows, ...]:
    surcharge = surcharge_yuan_per_kwh(scene)
    if not (surcharge > 0).any():
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
            elastic_yuan=surcharge,
        ),
    )


POLICY = Policy(name="nongreen", energy_rate=_rate, rows=_rows)
