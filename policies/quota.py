"""A tenant's jobs never hold more accelerators than its quota, all clusters together.

What runs already counts. A tenant whose running jobs exceed its quota, since that was lowered,
starts nothing; what it runs is not stopped.
"""

import numpy as np

from policies.base import Policy, Rows
from policies.scene import Pairs, Scene
from scheduler.domain.reason import ReasonCode


def _why(scene: Scene, klass: int, pool: int, slot: int) -> str:
    spec = scene.classes[klass].spec
    quota = next(quota for quota in scene.quotas if quota.tenant == spec.tenant)
    running = float(quota.running_gpus[slot])
    return (
        f"{spec.gpus} accelerators > {max(quota.gpus - running, 0):g} left of the {quota.gpus} "
        f"that {spec.tenant} may hold: its running jobs hold {running:g} at "
        f"{scene.clock(max(slot * scene.slot_s, scene.now_s))}."
    )


def _rows(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    """A group for each quota."""
    if not scene.quotas:
        return ()
    index = {quota.tenant: q for q, quota in enumerate(scene.quotas)}
    left = np.array([quota.gpus - quota.running_gpus for quota in scene.quotas])
    gpus = scene.columns.workers * scene.columns.gpus
    return (
        Rows(
            name="quota",
            code=ReasonCode.QUOTA,
            unit="accelerator",
            groups=tuple(index),
            of_class=gpus[:, None].astype(float),
            of_pool=np.ones((len(scene.pools), 1)),
            group_of_class=np.array(
                [index.get(spec.tenant, -1) for spec in scene.classes.specs], dtype=np.int64
            ),
            profile=np.ones(left.shape),
            capacity=np.maximum(left, 0.0),
            why=_why,
        ),
    )


POLICY = Policy(name="quota", rows=_rows)
