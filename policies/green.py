"""A job's minimum green share is held for it out of the site's green supply, slot by slot.

A run that must be green to the share g holds g × IT kW × PUE in every slot it touches; the holds
of a site, running attempts included, never exceed its supply.
"""

import numpy as np

from policies.base import Policy, Rows
from policies.scene import Floats, Scene
from scheduler.domain.reason import ReasonCode


def _left_kw(scene: Scene) -> Floats:
    """Supply that no running attempt holds; shape (C, A)."""
    left = [view.green_kw - view.running_held_kw for view in scene.sites]
    return np.maximum(np.array(left).reshape(len(scene.sites), scene.axis), 0.0)


def _why(scene: Scene, klass: int, pool: int, slot: int) -> str:
    view, share = scene.site_of(pool), float(scene.columns.green_share[klass])
    load_kw = scene.it_kw(klass, pool) * float(view.pue[slot])
    left_kw = float(_left_kw(scene)[scene.pools[pool].site, slot])
    return (
        f"{share * load_kw:.2f} kW > {left_kw:.2f} kW: a green share of "
        f"{share:.0%} of {load_kw:.2f} kW is more than what is left of the "
        f"{view.green_kw[slot]:.2f} kW of green supply at {scene.clock(slot * scene.slot_s)}."
    )


def _rows(scene: Scene) -> tuple[Rows, ...]:
    share = scene.columns.green_share
    if not scene.sites or not share.any():
        return ()
    return (
        Rows(
            name="green",
            code=ReasonCode.GREEN,
            unit="kW",
            groups=tuple(view.site.cluster for view in scene.sites),
            of_class=share[:, None] * scene.it_of_class(),
            of_pool=scene.it_of_pool(),
            group_of_pool=scene.site_of_pool,
            profile=np.array([view.pue for view in scene.sites]),
            capacity=_left_kw(scene),
            why=_why,
        ),
    )


POLICY = Policy(name="green", rows=_rows)
