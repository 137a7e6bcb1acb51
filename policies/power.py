"""A site's load at the door never exceeds its power cap, what runs already included."""

import numpy as np

from policies.base import Policy, Rows, StartFilter
from policies.scene import TOLERANCE, Bools, Floats, Options, Scene
from scheduler.domain.reason import ReasonCode


def _left_kw(scene: Scene) -> Floats:
    """Shape (C, A); infinite without a cap."""
    left = np.full((len(scene.sites), scene.axis), np.inf)
    for c, view in enumerate(scene.sites):
        if view.site.power_cap_kw is not None:
            left[c] = np.maximum(view.site.power_cap_kw - view.running_kw, 0.0)
    return left


def _allows(scene: Scene, options: Options) -> Bools:
    left_kw = _left_kw(scene)
    allowed = np.ones(options.start_s.shape, dtype=bool)
    for site, rows in options.per_site():
        load_kw = options.it_kw[rows, None] * scene.sites[site].pue
        allowed[rows] = ~options.run.any_slot(load_kw > left_kw[site] + TOLERANCE, rows)
    return allowed


def _why(scene: Scene, options: Options, row: int, slot: int) -> str:
    c = int(options.site[row])
    view, left_kw = scene.sites[c], _left_kw(scene)[c]
    load_kw = options.it_kw[row] * view.pue
    span = slice(slot, int(options.run.last[row, slot]))
    worst = slot + int(np.argmax(load_kw[span] - left_kw[span]))
    return (
        f"{load_kw[worst]:.1f} kW > {left_kw[worst]:.1f} kW left of the power cap of "
        f"{view.site.power_cap_kw:g} kW at {scene.clock(worst * scene.slot_s)}."
    )


def _rows(scene: Scene, options: Options) -> tuple[Rows, ...]:
    capped = np.array([view.site.power_cap_kw is not None for view in scene.sites])
    row = np.flatnonzero(capped[options.site])
    if not len(row):
        return ()
    return (
        Rows(
            name="power",
            code=ReasonCode.POWER_CAP,
            unit="kW",
            groups=tuple(view.site.cluster for view in scene.sites),
            row=row,
            group=options.site[row],
            demand=options.it_kw[row],
            profile=np.array([view.pue for view in scene.sites]),
            capacity=_left_kw(scene),
            window=options.run,
        ),
    )


POLICY = Policy(
    name="power",
    start_filters=(StartFilter(ReasonCode.POWER_CAP, _allows, _why),),
    rows=_rows,
)
