"""A job's minimum green share is held for it out of the site's green supply.

Slot by slot: a run that must be green to the share g holds g × IT kW × PUE in every slot it
touches. Over the run: it holds all of its IT kW × PUE for the first part of the run, g of its
length and what a PUE that varies asks for beside (``holds.first_s``), and nothing after it. Both
are the same whenever the run starts, so that they are rows; and what a running attempt still holds
follows from its start alone, whatever the forecasts have become.

The holds of a site, running attempts included, never exceed its supply: of what is left, a part is
for those that match by the slot and the rest for those that match by the run (``holds.split_of``).
"""

from functools import partial

import numpy as np

from policies.base import Policy, Rows, StageRows, StartFilter
from policies.deadline import last_slots
from policies.holds import Split, held_s, split_of
from policies.scene import TOLERANCE, Floats, Ints, Pairs, Scene, SiteView, window
from scheduler.domain.reason import ReasonCode

# Starts are judged for so many pairs at a time.
AT_ONCE = 4096


def _why(split: Split, scene: Scene, klass: int, pool: int, slot: int) -> str:
    view, share = scene.site_of(pool), float(scene.columns.green_share[klass])
    load_kw, site = scene.it_kw(klass, pool) * float(view.pue[slot]), scene.pools[pool].site
    apart = _apart(float(split.by_run[site, slot]), "run")
    return (
        f"{share * load_kw:.2f} kW > {split.by_slot[site, slot]:.2f} kW: a green share of "
        f"{share:.0%} of {load_kw:.2f} kW is more than what is left of the "
        f"{view.green_kw[slot]:.2f} kW of green supply at {scene.clock(slot * scene.slot_s)}"
        f"{_doubt(view)}{apart}."
    )


def _apart(kw: float, kind: str) -> str:
    """What of the supply is for the others."""
    return f", {kw:.2f} kW set apart for jobs that match by the {kind}" if kw >= 0.005 else ""


def _doubt(view: SiteView) -> str:
    """Why supply that a source once told counts as none."""
    doubt = view.site.green_supply_kw.doubt
    return f" ({doubt})" if doubt else ""


def _rows(scene: Scene, pairs: Pairs) -> tuple[Rows, ...]:
    share = np.where(scene.columns.green_by_run, 0.0, scene.columns.green_share)
    if not scene.sites or not share.any():
        return ()
    split = split_of(scene, pairs)
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
            capacity=split.by_slot,
            why=partial(_why, split),
        ),
    )


def _by_run(scene: Scene, pairs: Pairs) -> Ints:
    """The pairs that match by the run, (n,)."""
    return np.flatnonzero(scene.columns.green_by_run[pairs.klass])


def _held(scene: Scene, pairs: Pairs, rows: Ints) -> tuple[Floats, Floats]:
    """What some of those hold at the door, in kW, and how long; (n,) each."""
    klass, pool = pairs.klass[rows], pairs.pool[rows]
    it_kw = (scene.it_of_class()[klass] * scene.it_of_pool()[pool]).sum(axis=1)
    pue = np.array([view.pue.max() for view in scene.sites])
    return it_kw * pue[pairs.site[rows]], held_s(scene, pairs, rows)


def _stage_rows(scene: Scene, pairs: Pairs) -> tuple[StageRows, ...]:
    if not scene.columns.green_by_run.any():
        return ()
    rows = _by_run(scene, pairs)
    kw, length_s = _held(scene, pairs, rows)
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
            capacity=split_of(scene, pairs).by_run * scene.hours,
        ),
    )


def _first(scene: Scene, pairs: Pairs) -> Ints | None:
    """From the first slot on in which one run alone finds all its green energy."""
    if not scene.columns.green_by_run.any():
        return None
    first = np.zeros(len(pairs.klass), dtype=np.int64)
    rows = _by_run(scene, pairs)
    kw, length_s = _held(scene, pairs, rows)
    left_kw = split_of(scene, pairs).by_run
    for at in range(0, len(rows), AT_ONCE):
        some = slice(at, at + AT_ONCE)
        own, short = rows[some], kw[some, None] > left_kw[pairs.site[rows[some]]] + TOLERANCE
        begins_s = np.arange(scene.slots) * scene.slot_s
        start_s = np.maximum(begins_s[None, :], pairs.start_s(own)[:, None])
        span = window(start_s, length_s[some], scene.slot_s, scene.hours)
        ready = start_s < begins_s + scene.slot_s
        open_slots = ready & ~span.any_slot(short, slice(None))
        # That one is never ready within the horizon is for another rule to say.
        never = np.where(ready.any(axis=1), scene.slots, 0)
        first[own] = np.where(open_slots.any(axis=1), open_slots.argmax(axis=1), never)
    return first


def _last(scene: Scene, pairs: Pairs) -> Ints | None:
    """Up to the last slot from which on the green part of a run lies within what is looked at."""
    if not scene.columns.green_by_run.any():
        return None
    rows = _by_run(scene, pairs)
    rows = rows[pairs.start_s(rows) < scene.slots * scene.slot_s]
    latest_s = scene.axis * scene.slot_s - held_s(scene, pairs, rows)
    return last_slots(scene, pairs, rows, latest_s)


def _why_by_run(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    held_kw, held_for_s = (float(one[0]) for one in _held(scene, pairs, np.array([row])))
    view = scene.sites[pairs.site[row]]
    share = float(scene.columns.green_share[pairs.klass[row]])
    start_s = max(slot * scene.slot_s, float(pairs.start_s(row)))
    slot = min(int(start_s // scene.slot_s), scene.axis - 1)
    stop = max(slot + 1, int(np.ceil(slot + held_for_s / scene.slot_s)))
    split, site = split_of(scene, pairs), pairs.site[row]
    left_kw = split.by_run[site, slot:stop]
    worst = slot + int(left_kw.argmin())
    if start_s + held_for_s > scene.axis * scene.slot_s:
        return (
            f"To be green to {share:.0%} in all, the run takes green energy alone for its first "
            f"{held_for_s / 60:.0f} min; begun at {scene.clock(start_s)}, these last "
            f"beyond {scene.clock(scene.axis * scene.slot_s)}, up to when supply is looked at."
        )
    apart = _apart(float(split.by_slot[site, worst]), "slot")
    return (
        f"{held_kw:.2f} kW > {left_kw.min():.2f} kW left of the {view.green_kw[worst]:.2f} kW of "
        f"green supply at {scene.clock(worst * scene.slot_s)}{_doubt(view)}{apart}: to be "
        f"green to {share:.0%} in all, the run takes green energy alone for its first "
        f"{held_for_s / 60:.0f} min."
    )


POLICY = Policy(
    name="green",
    start_filters=(StartFilter(ReasonCode.GREEN, _why_by_run, first=_first, last=_last),),
    rows=_rows,
    stage_rows=_stage_rows,
)
