"""Energy that no green supply covers has a price of its own.

A site's load in a slot is green as far as its supply goes, whoever holds what of it. So the price
is on the load of a slot above the supply: an elastic row, whose shadow price lies between zero
(supply to spare) and the price (none left).
"""

import numpy as np

from policies.base import Policy, Rows
from policies.scene import Floats, Options, Scene
from scheduler.domain.reason import ReasonCode


def _cost_beyond(scene: Scene, options: Options) -> Floats:
    """What runs beyond the axis counts as not green."""
    pue = np.array([view.pue[-1] for view in scene.sites])[options.site]
    beyond_kwh = (options.it_kw * pue)[:, None] * options.run.beyond_h
    return np.asarray(scene.weights.nongreen_yuan_per_kwh * beyond_kwh)


def _rows(scene: Scene, options: Options) -> tuple[Rows, ...]:
    if not len(options.klass) or scene.weights.nongreen_yuan_per_kwh <= 0:
        return ()
    left_kwh = [view.green_kw * scene.hours - view.running_kwh for view in scene.sites]
    return (
        Rows(
            name="nongreen",
            code=ReasonCode.GREEN,
            unit="kWh",
            groups=tuple(view.site.cluster for view in scene.sites),
            row=np.arange(len(options.klass)),
            group=options.site,
            demand=options.it_kw,
            profile=np.array([view.pue for view in scene.sites]),
            capacity=np.maximum(np.array(left_kwh), 0.0),
            window=options.run,
            exact=True,
            elastic_yuan=scene.weights.nongreen_yuan_per_kwh,
        ),
    )


POLICY = Policy(name="nongreen", cost_yuan=_cost_beyond, rows=_rows)
