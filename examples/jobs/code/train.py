"""Fits a linear probe with plain gradient descent; every worker takes its own part of the data."""

import argparse
import os

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=100)
steps = parser.parse_args().steps

rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
noise = np.random.default_rng(rank)
x = noise.normal(size=(20_000, 64))
truth = np.linspace(-1, 1, 64)
y = x @ truth + noise.normal(scale=0.1, size=len(x))
weights = np.zeros(64)
for step in range(steps):
    weights -= 0.1 * x.T @ (x @ weights - y) / len(x)
    if step % 50 == 0:
        print(f"step {step}: error {np.abs(weights - truth).max():.4f}", flush=True)
print(f"worker {rank} of {size}: error {np.abs(weights - truth).max():.4f}")
