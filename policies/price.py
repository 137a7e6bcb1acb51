"""Energy costs its kWh at the door times the tariff of each slot it is used in."""

import numpy as np

from policies.base import Policy
from policies.scene import Floats, Options, Scene


def _cost(scene: Scene, options: Options) -> Floats:
    yuan = np.empty(options.start_s.shape)
    for site, rows in options.per_site():
        view = scene.sites[site]
        rate = view.price_yuan_per_kwh * view.pue
        hourly = options.run.integral(rate, scene.hours, rows)
        hourly += options.run.beyond_h[rows] * rate[-1]
        yuan[rows] = options.it_kw[rows, None] * hourly
    return yuan


POLICY = Policy(name="price", cost_yuan=_cost)
