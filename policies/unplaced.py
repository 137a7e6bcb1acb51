"""A job without a place costs more than the dearest place; the more urgent the job, the more."""

import numpy as np

from policies.base import Policy
from policies.scene import Floats, Scene
from policies.weights import urgency
from scheduler.domain.remaining import left_s


def _surcharge(scene: Scene) -> Floats:
    weights = scene.weights
    yuan = []
    for k, klass in enumerate(scene.classes):
        gpu_hours = scene.size(k) * left_s(klass.spec, klass.done_s) / 3600
        base = weights.unplaced_yuan_per_job + weights.unplaced_yuan_per_gpu_hour * gpu_hours
        yuan.append(base * urgency(klass.spec.priority))
    return np.array(yuan)


POLICY = Policy(name="unplaced", unplaced_yuan=_surcharge)
