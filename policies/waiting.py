"""Waiting costs little as long as the job allows it, and more than any tariff saves after that."""

import numpy as np

from policies.base import Policy, StartCost
from policies.scene import Scene


def cost(scene: Scene) -> StartCost:
    """What the time of a start costs each class."""
    weights = scene.weights
    scale = scene.columns.size * scene.columns.urgency
    return StartCost(
        before_yuan_per_h=scale * weights.defer_yuan_per_gpu_hour,
        after_yuan_per_h=scale * weights.late_yuan_per_gpu_hour,
        once_yuan=np.zeros(len(scale)),
        once_yuan_per_run_h=scale * weights.late_yuan_per_run_gpu_hour,
    )


POLICY = Policy(name="waiting", start_cost=cost)
