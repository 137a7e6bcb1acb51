"""A run neither starts before its job is ready nor ends after the job's deadline."""

import numpy as np

from policies.base import Policy, StartFilter
from policies.scene import Floats, Ints, Pairs, Scene
from scheduler.domain.reason import ReasonCode

# Times are rounded to the microsecond.
ROUNDING_S = 1e-6


def last_slots(scene: Scene, pairs: Pairs, latest_s: Floats) -> Ints:
    """The last slot of each pair whose start is not after a time; -1 if none is."""
    latest_s = latest_s + ROUNDING_S
    late = pairs.start_s > latest_s
    np.minimum(latest_s, (scene.slots - 0.5) * scene.slot_s, out=latest_s)
    slot = np.floor(latest_s / scene.slot_s)
    slot[late] = -1
    return slot.astype(np.int16)


def _computed_in_time(scene: Scene, pairs: Pairs) -> Ints:
    latest_s = scene.columns.deadline_s[pairs.klass] - (pairs.run_s - pairs.stage_s)
    return last_slots(scene, pairs, latest_s)


def _why_late(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    klass = scene.classes[pairs.klass[row]]
    start_s = max(float(pairs.start_s[row]), slot * scene.slot_s)
    end_s = start_s + float(pairs.run_s[row])
    return (
        f"Starting at {scene.clock(start_s)} it would end at "
        f"{scene.clock(end_s)}, {_span(end_s - klass.deadline_s)} after its deadline "
        f"{scene.clock(klass.deadline_s)}; a run takes {_span(float(pairs.run_s[row]))} here."
    )


def _ready(scene: Scene, pairs: Pairs) -> Ints:
    return np.minimum(np.floor(pairs.start_s / scene.slot_s), scene.slots).astype(np.int16)


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
