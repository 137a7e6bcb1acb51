"""A Ray driver of the user's own: a sweep of ridge regressions as Ray tasks."""

import numpy as np
import ray

ray.init()


@ray.remote(num_cpus=2)
def fit(alpha: float) -> tuple[float, float]:
    random = np.random.default_rng(4)
    x, noise = random.normal(size=(2000, 60)), random.normal(size=2000)
    y = x[:, 0] * 3 - x[:, 1] + noise * 4
    train, test = slice(0, 200), slice(200, None)
    w = np.linalg.solve(x[train].T @ x[train] + alpha * np.eye(60), x[train].T @ y[train])
    return alpha, float(np.mean((x[test] @ w - y[test]) ** 2))


# One after another: two cores are all that the job asked for.
results = [ray.get(fit.remote(alpha)) for alpha in (0.1, 1.0, 10.0, 30.0, 100.0, 300.0)]
for alpha, error in results:
    print(f"alpha {alpha:6.1f}  test error {error:.3f}")
print(f"best alpha: {min(results, key=lambda r: r[1])[0]}")
