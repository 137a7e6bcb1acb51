"""A job without a place costs more than the dearest place; the more urgent the job, the more."""

import numpy as np

from policies.base import Policy
from policies.scene import Floats, Scene


def surcharge(scene: Scene) -> Floats:
    """Of each class, (K,)."""
    weights, columns = scene.weights, scene.columns
    gpu_hours = columns.size * columns.left_s / 3600
    base = weights.unplaced_yuan_per_job + weights.unplaced_yuan_per_gpu_hour * gpu_hours
    return np.asarray(base * columns.urgency)


POLICY = Policy(name="unplaced", unplaced_yuan=surcharge)
