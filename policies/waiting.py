"""Waiting costs little as long as the job allows it, and more than any tariff saves after that."""

import numpy as np

from policies.base import Policy
from policies.scene import TOLERANCE, Floats, Options, Scene
from policies.weights import urgency


def _cost(scene: Scene, options: Options) -> Floats:
    weights, classes = scene.weights, scene.classes
    ready_s = np.array([klass.ready_s for klass in classes])[options.klass, None]
    overdue_s = np.array([klass.overdue_s for klass in classes])[options.klass, None]
    scale = np.array([scene.size(k) * urgency(c.spec.priority) for k, c in enumerate(classes)])
    deferred_h = np.maximum(np.minimum(options.start_s, overdue_s) - ready_s, 0.0) / 3600
    late_h = np.maximum(options.start_s - overdue_s, 0.0) / 3600
    once_h = np.where(late_h > TOLERANCE, options.run_s[:, None] / 3600, 0.0)
    yuan = weights.defer_yuan_per_gpu_hour * deferred_h
    yuan += weights.late_yuan_per_gpu_hour * late_h
    yuan += weights.late_yuan_per_run_gpu_hour * once_h
    return np.asarray(scale[options.klass, None] * yuan)


POLICY = Policy(name="waiting", cost_yuan=_cost)
