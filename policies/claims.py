"""What is being freed for a job of higher priority is not given away before that job starts.

Attempts that were stopped for a job end one after the other, and whatever waits could slip into
their place. So until the job starts, lower priorities start nothing in that pool at present; what
starts there in a later slot is planned, and not yet given.
"""

import numpy as np

from policies.base import Policy, StartFilter
from policies.scene import Ints, Pairs, PoolClaim, Scene
from scheduler.domain.reason import ReasonCode


def _claim(scene: Scene, klass: int, pool: int) -> PoolClaim | None:
    """The claim that a class has to respect in a pool: that of the highest priority."""
    most = scene.classes[klass].spec.priority + scene.weights.preempt_priority_step
    above = [c for c in scene.claims if c.pool == pool and c.priority >= most]
    return max(above, key=lambda claim: claim.priority, default=None)


def _first(scene: Scene, pairs: Pairs) -> Ints | None:
    if not scene.claims:
        return None
    first = np.zeros(len(pairs.klass), dtype=np.int64)
    step = scene.weights.preempt_priority_step
    for claim in scene.claims:
        below = scene.columns.priority[pairs.klass] + step <= claim.priority
        first[below & (pairs.pool == claim.pool)] = 1
    return first


def _why(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    claim = _claim(scene, int(pairs.klass[row]), int(pairs.pool[row]))
    assert claim is not None, "nothing else rules a start out here"
    return (
        f"What is free or becomes so is for {claim.job_id} (priority {claim.priority}), for which "
        "attempts were stopped here."
    )


POLICY = Policy(
    name="claims", start_filters=(StartFilter(ReasonCode.CAPACITY, _why, first=_first),)
)
