"""Energy costs its kWh at the door times the tariff of each slot it is used in.

The policy file may add to the tariff of a cluster.
"""

import numpy as np

from policies.base import EnergyRate, Policy
from policies.scene import Scene


def _rate(scene: Scene) -> EnergyRate:
    price = [
        view.price_yuan_per_kwh + scene.rules.cluster(view.site.cluster).price_adder_yuan_per_kwh
        for view in scene.sites
    ]
    inside = np.array(price).reshape(len(scene.sites), scene.axis)
    return EnergyRate(inside=inside, beyond=inside[:, -1])


POLICY = Policy(name="price", energy_rate=_rate)
