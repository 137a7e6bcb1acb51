"""Operators may draw jobs to a cluster, or keep them off it, for yuan per accelerator-hour."""

import numpy as np

from policies.base import Policy
from policies.scene import Floats, Pairs, Scene


def _cost(scene: Scene, pairs: Pairs) -> Floats | None:
    of_site = [
        scene.rules.cluster(view.site.cluster).preference_yuan_per_gpu_hour for view in scene.sites
    ]
    if not any(of_site):
        return None
    yuan = np.array(of_site, dtype=float)[pairs.site]
    return np.asarray(yuan * scene.columns.size[pairs.klass] * pairs.run_s / 3600)


POLICY = Policy(name="preference", pair_yuan=_cost)
