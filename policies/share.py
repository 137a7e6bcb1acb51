"""While others wait, what a tenant asks for above its fair share waits at less cost.

Nobody is stopped, and what is free is lent to whoever asks: a share decides only who goes first. A
job before which its tenant has its fair share already (see ``scheduler.planner.tenants``) counts
its lateness, and a missing place, at a part 1 - φ of what they cost others, φ =
``above_share_yuan_per_gpu_hour`` / ``late_yuan_per_gpu_hour``, at most nine tenths. Something is
left, so that it comes to its turn; and as the tenant's running jobs end, its next ones are within
the share again.
"""

import numpy as np

from policies import unplaced, waiting
from policies.base import Policy, StartCost
from policies.scene import Floats, Scene

# Of what lateness costs, nobody is spared more.
SPARED_MOST = 0.9


def _spared(scene: Scene) -> Floats:
    """φ, (K,); 0 for those within their tenants' shares."""
    weights = scene.weights
    above = scene.classes.above_share.astype(float)
    if weights.late_yuan_per_gpu_hour <= 0:
        return np.zeros(len(above))
    part = weights.above_share_yuan_per_gpu_hour / weights.late_yuan_per_gpu_hour
    return above * min(part, SPARED_MOST)


def _cost(scene: Scene) -> StartCost:
    cost, spared = waiting.cost(scene), _spared(scene)
    return StartCost(
        before_yuan_per_h=np.zeros(len(spared)),
        after_yuan_per_h=-spared * cost.after_yuan_per_h,
        once_yuan=-spared * cost.once_yuan,
        once_yuan_per_run_h=-spared * cost.once_yuan_per_run_h,
    )


def _surcharge(scene: Scene) -> Floats:
    return np.asarray(-_spared(scene) * unplaced.surcharge(scene))


POLICY = Policy(name="share", start_cost=_cost, unplaced_yuan=_surcharge)
