"""Energy that no green supply covers has a price of its own, and one for the carbon it emits.

A site's load in a slot is green as far as its supply goes, whoever holds what of it. So the price
is on the load of a slot above the supply: an elastic row, whose shadow price lies between zero
(supply to spare) and the price (none left).

A tenant may value green energy more than others. For what it pays beyond the price of a site, the
supply counts as its own first: the difference is on its load above the supply, in rows of its own.
"""

import numpy as np

from policies.base import EnergyRate, Policy, Rows
from policies.scene import Bools, Floats, Pairs, Scene
from scheduler.domain.reason import ReasonCode


def surcharge_yuan_per_kwh(scene: Scene) -> Floats:
    """On a kWh at the door that is not green; shape (C, A)."""
    yuan = [
        scene.rules.nongreen_yuan_per_kwh(view.site.cluster)
        + scene.weights.carbon_yuan_per_kg * view.carbon_g_per_kwh / 1000
        for view in scene.sites
    ]
    return np.array(yuan, dtype=float).reshape(len(scene.sites), scene.axis)


def _rate(scene: Scene) -> EnergyRate:
    """What runs beyond the axis counts as not green, at the sites' prices."""
    surcharge = surcharge_yuan_per_kwh(scene)
    return EnergyRate(inside=np.zeros(surcharge.shape), beyond=surcharge[:, -1])


def _rows(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    everyone = np.ones(len(scene.classes), dtype=bool)
    families = [_family(scene, "nongreen", everyone, surcharge_yuan_per_kwh(scene))]
    for tenant, rule in scene.rules.tenants.items():
        if rule.nongreen_yuan_per_kwh is not None:
            own = np.array([spec.tenant == tenant for spec in scene.classes.specs], dtype=bool)
            more = [
                max(rule.nongreen_yuan_per_kwh - scene.rules.nongreen_yuan_per_kwh(cluster), 0.0)
                for cluster in (view.site.cluster for view in scene.sites)
            ]
            yuan = np.repeat(np.array(more, dtype=float)[:, None], scene.axis, axis=1)
            families.append(_family(scene, f"nongreen-{tenant}", own, yuan))
    return tuple(rows for rows in families if rows is not None)


def _family(scene: Scene, name: str, payers: Bools, yuan_per_kwh: Floats) -> Rows | None:
    """Rows for the load of some classes, (K,), above the supply; none if nobody pays anything."""
    if not payers.any() or not (yuan_per_kwh > 0).any():
        return None
    left_kwh = np.array([view.green_kw * scene.hours - view.running_kwh for view in scene.sites])
    return Rows(
        name=name,
        code=ReasonCode.GREEN,
        unit="kWh",
        groups=tuple(view.site.cluster for view in scene.sites),
        of_class=scene.it_of_class() * payers[:, None],
        of_pool=scene.it_of_pool(),
        group_of_pool=scene.site_of_pool,
        profile=np.array([view.pue for view in scene.sites]),
        capacity=np.maximum(left_kwh, 0.0),
        exact=True,
        elastic_yuan=yuan_per_kwh,
    )


POLICY = Policy(name="nongreen", energy_rate=_rate, rows=_rows)
