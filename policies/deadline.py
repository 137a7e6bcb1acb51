"""A run neither starts before its job is ready nor ends after the job's deadline."""

import numpy as np

from policies.base import Policy, StartFilter
from policies.scene import Bools, Options, Scene
from scheduler.domain.reason import ReasonCode

# Times are rounded to the microsecond.
ROUNDING_S = 1e-6


def _computed_in_time(scene: Scene, options: Options) -> Bools:
    deadline_s = np.array([klass.deadline_s for klass in scene.classes])[options.klass]
    stage_s = scene.stage_s[options.klass, options.pool]
    latest_s = deadline_s - (options.run_s - stage_s) + ROUNDING_S
    return np.asarray(options.start_s <= latest_s[:, None])


def _why_late(scene: Scene, options: Options, row: int, slot: int) -> str:
    klass = scene.classes[options.klass[row]]
    end_s = options.start_s[row, slot] + options.run_s[row]
    late_s = end_s - klass.deadline_s
    return (
        f"Starting at {scene.clock(options.start_s[row, slot])} it would end at "
        f"{scene.clock(end_s)}, {_span(late_s)} after its deadline "
        f"{scene.clock(klass.deadline_s)}; a run takes {_span(float(options.run_s[row]))} here."
    )


def _ready(scene: Scene, options: Options) -> Bools:
    ready_s = np.array([klass.ready_s for klass in scene.classes])[options.klass]
    return np.asarray(ready_s[:, None] < (np.arange(scene.slots) + 1) * scene.slot_s)


def _why_not_ready(scene: Scene, options: Options, row: int, slot: int) -> str:
    ready_s = scene.classes[options.klass[row]].ready_s
    return f"The job may not start before {scene.clock(ready_s)}."


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


POLICY = Policy(
    name="deadline",
    start_filters=(
        StartFilter(ReasonCode.DEADLINE, _computed_in_time, _why_late),
        StartFilter(ReasonCode.NOT_YET, _ready, _why_not_ready),
    ),
)
