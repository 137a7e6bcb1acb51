"""A job's minimum green share is held for it out of the site's green supply.

Slot by slot: a run that must be green to the share g holds g × IT kW × PUE in every slot it
touches. Over the run: it holds all of its IT kW × PUE for the first part of the run, g of its
length and what a PUE that varies asks for beside (``first_s``), and nothing after it. Both are the
same whenever the run starts, so that they are rows; and what a running attempt still holds follows
from its start alone, whatever the forecasts have become.

The holds of a site, running attempts included, never exceed its supply: of what is left, a part is
for those that match by the slot and the rest for those that match by the run, as they ask for it.
"""

import math

import numpy as np

from policies.base import Policy, Rows, StageRows, StartFilter
from policies.deadline import last_slots
from policies.scene import TOLERANCE, Floats, Ints, Pairs, Scene, SiteView, window
from scheduler.domain.reason import ReasonCode

# A site's PUE varies by less than this over a run; where it does not, its forecast says by what.
PUE_WAVE = 1.1
# Starts are judged for so many pairs at a time.
AT_ONCE = 4096


def first_s(share: Floats, run_s: Floats, pue: Floats) -> Floats:
    """How long runs are green from their start on to be so to a share of their energy, (n,).

    With P ≥ all PUE and p ≤ all, share × run × P / p seconds use share × run × P at least, which is
    the share of all that the run can use.

    Args:
        pue: of the site, (A,).
    """
    least = float(pue.min())
    wave = max(PUE_WAVE, float(pue.max()) / least) if least > 0 else math.inf
    return np.asarray(np.minimum(share * wave, 1.0) * run_s)


def _left_kw(scene: Scene) -> Floats:
    """Supply that no running attempt holds; shape (C, A)."""
    left = [view.green_kw - view.running_held_kw for view in scene.sites]
    return np.maximum(np.array(left).reshape(len(scene.sites), scene.axis), 0.0)


def _part_by_run(scene: Scene) -> float:
    """The part of what is left that is for those that match by the run: that of the green energy
    asked for."""
    columns = scene.columns
    asked = scene.classes.sizes * columns.size * columns.green_share * columns.left_s
    return float(asked[columns.green_by_run].sum() / asked.sum()) if asked.any() else 0.0


def _why(scene: Scene, klass: int, pool: int, slot: int) -> str:
    view, share = scene.site_of(pool), float(scene.columns.green_share[klass])
    load_kw = scene.it_kw(klass, pool) * float(view.pue[slot])
    left_kw = float(_left_kw(scene)[scene.pools[pool].site, slot]) * (1 - _part_by_run(scene))
    return (
        f"{share * load_kw:.2f} kW > {left_kw:.2f} kW: a green share of "
        f"{share:.0%} of {load_kw:.2f} kW is more than what is left of the "
        f"{view.green_kw[slot]:.2f} kW of green supply at {scene.clock(slot * scene.slot_s)}"
        f"{_doubt(view)}."
    )


def _doubt(view: SiteView) -> str:
    """Why supply that a source once told counts as none."""
    doubt = view.site.green_supply_kw.doubt
    return f" ({doubt})" if doubt else ""


def _rows(scene: Scene) -> tuple[Rows, ...]:
    share = np.where(scene.columns.green_by_run, 0.0, scene.columns.green_share)
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
            capacity=_left_kw(scene) * (1 - _part_by_run(scene)),
            why=_why,
        ),
    )


def _by_run(scene: Scene, pairs: Pairs) -> tuple[Ints, Floats, Floats]:
    """The pairs that match by the run, (n,), what each holds at the door, in kW, and how long."""
    rows = np.flatnonzero(scene.columns.green_by_run[pairs.klass])
    klass, pool, site = pairs.klass[rows], pairs.pool[rows], pairs.site[rows]
    it_kw = (scene.it_of_class()[klass] * scene.it_of_pool()[pool]).sum(axis=1)
    share, length_s = scene.columns.green_share[klass], np.zeros(len(rows))
    for c, view in enumerate(scene.sites):
        here = site == c
        length_s[here] = first_s(share[here], pairs.run_s[rows[here]], view.pue)
    pue = np.array([view.pue.max() for view in scene.sites])
    return rows, it_kw * pue[site], length_s


def _stage_rows(scene: Scene, pairs: Pairs) -> tuple[StageRows, ...]:
    if not scene.columns.green_by_run.any():
        return ()
    rows, kw, length_s = _by_run(scene, pairs)
    return (
        StageRows(
            name="green-run",
            code=ReasonCode.GREEN,
            unit="kWh",
            groups=tuple(view.site.cluster for view in scene.sites),
            pair=rows,
            group=pairs.site[rows],
            demand=kw,
            length_s=length_s,
            capacity=_left_kw(scene) * _part_by_run(scene) * scene.hours,
        ),
    )


def _first(scene: Scene, pairs: Pairs) -> Ints | None:
    """From the first slot on in which one run alone finds all its green energy."""
    if not scene.columns.green_by_run.any():
        return None
    first = np.zeros(len(pairs.klass), dtype=np.int64)
    rows, kw, length_s = _by_run(scene, pairs)
    left_kw = _left_kw(scene) * _part_by_run(scene)
    for at in range(0, len(rows), AT_ONCE):
        some = slice(at, at + AT_ONCE)
        own, short = rows[some], kw[some, None] > left_kw[pairs.site[rows[some]]] + TOLERANCE
        begins_s = np.arange(scene.slots) * scene.slot_s
        start_s = np.maximum(begins_s[None, :], pairs.start_s(own)[:, None])
        span = window(start_s, length_s[some], scene.slot_s, scene.hours)
        ready = start_s < begins_s + scene.slot_s
        open_slots = ready & ~span.any_slot(short, slice(None))
        first[own] = np.where(open_slots.any(axis=1), open_slots.argmax(axis=1), scene.slots)
    return first


def _last(scene: Scene, pairs: Pairs) -> Ints | None:
    """Up to the last slot from which on the green part of a run lies within what is looked at."""
    if not scene.columns.green_by_run.any():
        return None
    rows, _, length_s = _by_run(scene, pairs)
    return last_slots(scene, pairs, rows, scene.axis * scene.slot_s - length_s)


def _why_by_run(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    rows, kw, length_s = _by_run(scene, pairs)
    n, view = int(np.searchsorted(rows, row)), scene.sites[pairs.site[row]]
    share = float(scene.columns.green_share[pairs.klass[row]])
    stop = max(slot + 1, int(np.ceil(slot + length_s[n] / scene.slot_s)))
    left_kw = (_left_kw(scene) * _part_by_run(scene))[pairs.site[row], slot:stop]
    worst = slot + int(left_kw.argmin())
    return (
        f"{kw[n]:.2f} kW > {left_kw.min():.2f} kW left of the {view.green_kw[worst]:.2f} kW of "
        f"green supply at {scene.clock(worst * scene.slot_s)}{_doubt(view)}: to be "
        f"green to {share:.0%} in all, the run takes green energy alone for its first "
        f"{length_s[n] / 60:.0f} min."
    )


POLICY = Policy(
    name="green",
    start_filters=(StartFilter(ReasonCode.GREEN, _why_by_run, first=_first, last=_last),),
    rows=_rows,
    stage_rows=_stage_rows,
)
