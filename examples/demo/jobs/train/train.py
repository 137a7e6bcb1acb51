"""Data-parallel training in plain NumPy: every worker holds half the data, and the workers really
exchange gradients, over TCP, through the address that Westward puts in the environment."""

import os
import socket
import struct
import time

import numpy as np

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
MASTER = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
STEPS, HIDDEN, RATE = 240, 64, 0.4


def receive(peer: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            raise ConnectionError("a worker of the gang went away")
        data += piece
    return bytes(data)


def exchange(peer: socket.socket, vector: np.ndarray) -> np.ndarray:
    raw = vector.tobytes()
    peer.sendall(struct.pack("!I", len(raw)) + raw)
    (size,) = struct.unpack("!I", receive(peer, 4))
    return np.frombuffer(receive(peer, size))


def connect() -> list[socket.socket]:
    """Rank 0 has one socket to each other worker, the others one to rank 0."""
    if RANK == 0:
        server = socket.create_server(MASTER)
        return [server.accept()[0] for _ in range(WORLD - 1)]
    until = time.monotonic() + 30
    while True:
        try:
            return [socket.create_connection(MASTER)]
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)  # rank 0 does not listen yet


def all_reduce(peers: list[socket.socket], vector: np.ndarray) -> np.ndarray:
    """The mean over the gang, by way of rank 0."""
    if RANK:
        return exchange(peers[0], vector)
    parts = []
    for peer in peers:
        (size,) = struct.unpack("!I", receive(peer, 4))
        parts.append(np.frombuffer(receive(peer, size)))
    mean = (vector + sum(parts)) / WORLD
    for peer in peers:
        raw = mean.tobytes()
        peer.sendall(struct.pack("!I", len(raw)) + raw)
    return mean


def main() -> None:
    random = np.random.default_rng(RANK)
    x = random.normal(size=(4000, 16))
    y = (np.sin(x[:, 0] * 2) + x[:, 1] * x[:, 2] > 0).astype(float)
    w1 = np.random.default_rng(7).normal(size=(16, HIDDEN)) * 0.3
    w2 = np.random.default_rng(8).normal(size=HIDDEN) * 0.3
    peers = connect()
    gpus, host = os.environ.get("CUDA_VISIBLE_DEVICES", "-"), os.environ["WESTWARD_NODE_ID"]
    print(f"worker {RANK} of {WORLD} on {host}, GPUs {gpus}", flush=True)
    for step in range(STEPS):
        hidden = np.tanh(x @ w1)
        p = 1 / (1 + np.exp(-hidden @ w2))
        error = (p - y) / len(y)
        g2 = hidden.T @ error
        g1 = x.T @ (np.outer(error, w2) * (1 - hidden**2))
        loss = -np.mean(y * np.log(p + 1e-9) + (1 - y) * np.log(1 - p + 1e-9))
        mean = all_reduce(peers, np.concatenate([g1.ravel(), g2, [loss]]))
        w1 -= RATE * 8 * mean[: g1.size].reshape(g1.shape)
        w2 -= RATE * 8 * mean[g1.size : -1]
        if RANK == 0 and (step % 40 == 0 or step == STEPS - 1):
            print(f"step {step:3d}  loss {mean[-1]:.4f} (mean of {WORLD} workers)", flush=True)
    print(f"worker {RANK}: weights' checksum {np.sum(w1) + np.sum(w2):.9f}", flush=True)


main()
