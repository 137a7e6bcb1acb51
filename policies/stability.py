"""A place that was planned is kept, unless another is better by more than it costs to change plans.

Users are told when their jobs are expected to start, and operators prepare for it. So every start
other than the one that the round before had planned costs a little more. To start now is no change
of plans: it is carrying one out.
"""

import numpy as np

from policies.base import Policy
from policies.scene import Floats, Scene


def _kept(scene: Scene) -> Floats:
    columns, weights = scene.columns, scene.weights
    return np.asarray(weights.replan_yuan_per_gpu_hour * columns.size * columns.left_s / 3600)


POLICY = Policy(name="stability", kept_yuan=_kept)
