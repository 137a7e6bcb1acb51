"""A job's minimum green share is held for it out of the site's green supply, slot by slot.

A run that must be green to the share g holds g × IT kW × PUE in every slot it touches; the holds
of a site, running attempts included, never exceed its supply.
"""

import numpy as np

from policies.base import Policy, Rows, StartFilter
from policies.scene import TOLERANCE, Bools, Floats, Options, Scene
from scheduler.domain.reason import ReasonCode


def _left_kw(scene: Scene) -> Floats:
    """Supply that no running attempt holds; shape (C, A)."""
    left = [view.green_kw - view.running_held_kw for view in scene.sites]
    return np.maximum(np.array(left).reshape(len(scene.sites), scene.axis), 0.0)


def _held_it_kw(scene: Scene, options: Options) -> Floats:
    """The green share of each pair's IT power; shape (m,)."""
    share = np.array([klass.spec.min_green_share or 0.0 for klass in scene.classes])
    return np.asarray(share[options.klass] * options.it_kw)


def _allows(scene: Scene, options: Options) -> Bools:
    left_kw, held = _left_kw(scene), _held_it_kw(scene, options)
    allowed = np.ones(options.start_s.shape, dtype=bool)
    for site, here in options.per_site():
        rows = here[held[here] > 0]
        need_kw = held[rows, None] * scene.sites[site].pue
        allowed[rows] = ~options.run.any_slot(need_kw > left_kw[site] + TOLERANCE, rows)
    return allowed


def _why(scene: Scene, options: Options, row: int, slot: int) -> str:
    c, spec = int(options.site[row]), scene.classes[options.klass[row]].spec
    view, left_kw = scene.sites[c], _left_kw(scene)[c]
    load_kw = options.it_kw[row] * view.pue
    need_kw = (spec.min_green_share or 0.0) * load_kw
    span = slice(slot, int(options.run.last[row, slot]))
    worst = slot + int(np.argmax(need_kw[span] - left_kw[span]))
    return (
        f"{need_kw[worst]:.2f} kW > {left_kw[worst]:.2f} kW: a green share of "
        f"{spec.min_green_share:.0%} of {load_kw[worst]:.2f} kW is more than what is left of the "
        f"{view.green_kw[worst]:.2f} kW of green supply at {scene.clock(worst * scene.slot_s)}."
    )


def _rows(scene: Scene, options: Options) -> tuple[Rows, ...]:
    held = _held_it_kw(scene, options)
    row = np.flatnonzero(held > 0)
    if not len(row):
        return ()
    return (
        Rows(
            name="green",
            code=ReasonCode.GREEN,
            unit="kW",
            groups=tuple(view.site.cluster for view in scene.sites),
            row=row,
            group=options.site[row],
            demand=held[row],
            profile=np.array([view.pue for view in scene.sites]),
            capacity=_left_kw(scene),
            window=options.run,
        ),
    )


POLICY = Policy(
    name="green",
    start_filters=(StartFilter(ReasonCode.GREEN, _allows, _why),),
    rows=_rows,
)
