"""A run neither starts before its job is ready nor ends after the job's deadline."""

import numpy as np

from policies.base import Policy, StartFilter
from policies.scene import Bools, Floats, Ints, Pairs, Scene
from scheduler.domain.reason import ReasonCode

# Times are rounded to the microsecond.
ROUNDING_S = 1e-6


def last_slots(scene: Scene, pairs: Pairs, rows: Ints, latest_s: Floats) -> Ints | None:
    """The last slot of some pairs whose start is not after a time, -1 if none is; any of the others
    (m,). None if there are no such pairs.

    Args:
        rows: the pairs that are bounded, (n,), ``latest_s`` (n,) by what.
    """
    if not len(rows):
        return None
    latest_s = latest_s + ROUNDING_S
    late = pairs.start_s(rows) > latest_s
    np.minimum(latest_s, (scene.slots - 0.5) * scene.slot_s, out=latest_s)
    last = np.full(len(pairs.klass), scene.slots - 1, dtype=np.int16)
    last[rows] = np.where(late, -1, np.floor(latest_s / scene.slot_s)).astype(np.int16)
    return last


def due(scene: Scene, pairs: Pairs) -> Bools:
    """The pairs of classes with a deadline, (m,)."""
    return np.asarray(np.isfinite(scene.columns.deadline_s)[pairs.klass])


def _computed_in_time(scene: Scene, pairs: Pairs) -> Ints | None:
    rows = np.flatnonzero(due(scene, pairs))
    compute_s = pairs.run_s[rows] - pairs.stage_s[rows]
    latest_s = scene.columns.deadline_s[pairs.klass[rows]] - compute_s
    return last_slots(scene, pairs, rows, latest_s)


def _why_late(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    klass = scene.classes[pairs.klass[row]]
    start_s = max(float(pairs.start_s(row)), slot * scene.slot_s)
    end_s = start_s + float(pairs.run_s[row])
    return (
        f"Starting at {scene.clock(start_s)} it would end at "
        f"{scene.clock(end_s)}, {_span(end_s - klass.deadline_s)} after its deadline "
        f"{scene.clock(klass.deadline_s)}; a run takes {_span(float(pairs.run_s[row]))} here."
    )


def _ready(scene: Scene, pairs: Pairs) -> Ints:
    start_s = np.maximum(scene.columns.ready_s, scene.now_s)
    slot = np.minimum(np.floor(start_s / scene.slot_s), scene.slots).astype(np.int16)
    return np.asarray(slot[pairs.klass])


def _why_not_ready(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    ready_s = scene.classes[pairs.klass[row]].ready_s
    return f"The job may not start before {scene.clock(ready_s)}."


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


POLICY = Policy(
    name="deadline",
    start_filters=(
        StartFilter(ReasonCode.DEADLINE, _why_late, last=_computed_in_time),
        StartFilter(ReasonCode.NOT_YET, _why_not_ready, first=_ready),
    ),
)
