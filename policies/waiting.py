"""Waiting costs little as long as the job allows it, and more than any tariff saves after that."""

import numpy as np

from policies.base import Policy, StartCost
from policies.scene import Scene


def cost(scene: Scene) -> StartCost:
    """What the time of a start costs each class: by the weights and its urgency, or by its tenant's
    waiting classes."""
    weights, columns = scene.weights, scene.columns
    before = columns.urgency * weights.defer_yuan_per_gpu_hour
    after = columns.urgency * weights.late_yuan_per_gpu_hour
    tenants = {name: rule for name, rule in scene.rules.tenants.items() if rule.waiting}
    for k, spec in enumerate(scene.classes.specs) if tenants else ():
        rule = tenants.get(spec.tenant)
        own = rule.waiting_of(spec.priority) if rule else None
        if own is not None:
            before[k], after[k] = own.defer_yuan_per_gpu_hour, own.late_yuan_per_gpu_hour
    return StartCost(
        before_yuan_per_h=columns.size * before,
        after_yuan_per_h=columns.size * after,
        once_yuan=np.zeros(len(scene.classes)),
        once_yuan_per_run_h=columns.size * columns.urgency * weights.late_yuan_per_run_gpu_hour,
    )


POLICY = Policy(name="waiting", start_cost=cost)
