"""A site's load at the door never exceeds its power cap, what runs already included."""

import numpy as np

from policies.base import Policy, Rows
from policies.scene import Floats, Pairs, Scene
from scheduler.domain.reason import ReasonCode


def _left_kw(scene: Scene) -> Floats:
    """Shape (C, A); infinite without a cap."""
    left = np.full((len(scene.sites), scene.axis), np.inf)
    for c, view in enumerate(scene.sites):
        if view.site.power_cap_kw is not None:
            left[c] = np.maximum(view.site.power_cap_kw - view.running_kw, 0.0)
    return left


def _why(scene: Scene, klass: int, pool: int, slot: int) -> str:
    view = scene.site_of(pool)
    load_kw = scene.it_kw(klass, pool) * float(view.pue[slot])
    left_kw = float(_left_kw(scene)[scene.pools[pool].site, slot])
    return (
        f"{load_kw:.1f} kW > {left_kw:.1f} kW left of the power cap of "
        f"{view.site.power_cap_kw:g} kW at {scene.clock(slot * scene.slot_s)}."
    )


def _rows(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    capped = np.array([view.site.power_cap_kw is not None for view in scene.sites], dtype=bool)
    if not capped.any():
        return ()
    site = scene.site_of_pool
    return (
        Rows(
            name="power",
            code=ReasonCode.POWER_CAP,
            unit="kW",
            groups=tuple(view.site.cluster for view in scene.sites),
            of_class=scene.it_of_class(),
            of_pool=scene.it_of_pool(),
            group_of_pool=np.where(capped[site], site, -1),
            profile=np.array([view.pue for view in scene.sites]),
            capacity=_left_kw(scene),
            why=_why,
        ),
    )


POLICY = Policy(name="power", rows=_rows)
