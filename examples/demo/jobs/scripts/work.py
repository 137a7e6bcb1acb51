"""Small pieces of real work, one per name: ``python work.py NAME``."""

import itertools
import os
import sys
import time

import numpy as np


def montecarlo() -> str:
    """Prices an Asian option."""
    random = np.random.default_rng(1)
    paths = np.exp(np.cumsum(random.normal(0.0001, 0.01, size=(40_000, 120)), axis=1))
    payoff = np.maximum(paths.mean(axis=1) - 1.0, 0)
    return f"Asian call {payoff.mean():.5f} ± {payoff.std() / 200:.5f} over {len(paths)} paths"


def render() -> str:
    """Renders a fractal and says how much of it is inside."""
    re, im = np.meshgrid(np.linspace(-2, 0.6, 700), np.linspace(-1.2, 1.2, 600))
    c = re + 1j * im
    z = np.zeros_like(c)
    for _ in range(60):
        z = np.where(np.abs(z) < 2, z * z + c, z)
    return f"frame of {c.size} pixels, {np.mean(np.abs(z) < 2):.3%} inside"


def embed() -> str:
    """Embeds random documents and finds the nearest pairs."""
    random = np.random.default_rng(2)
    documents = random.normal(size=(3000, 128))
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    likeness = documents @ documents.T - np.eye(len(documents)) * 2
    return f"{len(documents)} documents embedded; the closest pair has cosine {likeness.max():.4f}"


def svd() -> str:
    """Factorises a matrix."""
    values = np.linalg.svd(np.random.default_rng(3).normal(size=(700, 500)), compute_uv=False)
    return f"singular values from {values[0]:.3f} down to {values[-1]:.4f}"


def tokenise() -> str:
    """Learns byte pairs from a text."""
    symbols = list((__doc__ or "") * 40)
    for _ in range(60):
        pairs: dict[tuple[str, str], int] = {}
        for pair in itertools.pairwise(symbols):
            pairs[pair] = pairs.get(pair, 0) + 1
        best = max(pairs, key=lambda pair: pairs[pair])
        merged, i = [], 0
        while i < len(symbols):
            if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == best:
                merged.append("".join(best))
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        symbols = merged
    return f"vocabulary of {len(set(symbols))} tokens, {len(symbols)} of them in the text"


def flaky() -> str:
    """Fails the first time, as a crawler does when its site is down."""
    if os.environ["WESTWARD_ATTEMPT"] == "1":
        print("upstream answered 503; giving up", file=sys.stderr)
        sys.exit(75)
    return "upstream answered; 2,000 pages fetched on the second attempt"


began = time.perf_counter()
seconds = float(os.environ.get("AT_LEAST_S", "3"))
rounds = 0
while True:
    told = globals()[sys.argv[1]]()
    rounds += 1
    if time.perf_counter() - began >= seconds:
        break
print(f"{told}; {rounds} rounds in {time.perf_counter() - began:.1f} s")
