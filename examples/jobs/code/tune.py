"""Tries ridge penalties in parallel on the gang's resources."""

import numpy as np
import ray

ray.init()


@ray.remote
def error_of(penalty: float) -> tuple[float, float]:
    """Out-of-sample error of ridge regression with a penalty."""
    noise = np.random.default_rng(7)
    x = noise.normal(size=(400, 100))
    y = x @ np.linspace(-1, 1, 100) + noise.normal(size=400)
    fit = np.linalg.solve(x[:200].T @ x[:200] + penalty * np.eye(100), x[:200].T @ y[:200])
    return float(np.mean((x[200:] @ fit - y[200:]) ** 2)), penalty


best_error, best_penalty = min(ray.get([error_of.remote(10.0**p) for p in range(-3, 4)]))
print(f"best penalty {best_penalty:g}: mean squared error {best_error:.3f}")
