"""Keeping sick accelerators from attempts: Ray gives out what it was started with, sick or well.

Ray cannot be told to leave out an accelerator of a living node. So it is asked for one after the
other until it gives the sick one, which is kept for as long as the node's agent calls it sick.
"""

import os
import time
from pathlib import Path
from typing import Any

import ray

from agents import sickfile
from agents.executor.wire import NODE_LABEL
from scheduler.domain.reason import Reason, ReasonCode

# What is well is held no longer, so that the next task is given another one.
SEARCH_S = 3.0
LOOK_S = 1.0


def refusal(node_dir: Path, where: str) -> Reason | None:
    """Why this process must not run what it was given accelerators for; None when they are well."""
    sick = sickfile.given(os.environ, node_dir)
    if not sick:
        return None
    named = "; ".join(f"{one.id or one.index}: {one.reason}" for one in sick)
    return Reason(ReasonCode.ACCELERATOR_SICK, f"{where} was given a sick accelerator ({named})")


@ray.remote(num_cpus=0, max_retries=0, max_calls=0)
def look(node_dir: Path, where: str) -> Reason | None:
    """``refusal``, from within a bundle."""
    return refusal(node_dir, where)


@ray.remote(num_gpus=1, num_cpus=0, max_retries=0, max_calls=0)
def hold(node_dir: Path, search_ends_at: float) -> None:
    """Holds the accelerator that it is given while that is sick, or while others are looked for.

    Args:
        search_ends_at: seconds since the Unix epoch; clocks of hosts differ, so that it is bounded
            here as well.
    """
    began_s = time.monotonic()
    searching = True
    while searching or sickfile.given(os.environ, node_dir):
        # Of the worker process that Ray has given this task alone.
        time.sleep(LOOK_S)  # a file that goes away tells nobody
        searching = time.time() < search_ends_at and time.monotonic() - began_s < SEARCH_S


class SickHolds:
    """The tasks that hold what is sick, by node. They end with whoever made them."""

    def __init__(self) -> None:
        self._tasks: dict[str, list[Any]] = {}

    def seek(self, node_id: str, node_dir: Path) -> None:
        """Begins to look for sick accelerators of a node; what is busy is looked at when it falls
        free. Blocks for an answer of Ray."""
        before = self._tasks.get(node_id, [])
        _, alive = ray.wait(before, num_returns=len(before), timeout=0) if before else ([], [])
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        has = [n for n in nodes if n["Alive"] and n["Labels"].get(NODE_LABEL) == node_id]
        gpus = sum(int(node["Resources"].get("GPU", 0)) for node in has)
        task = hold.options(label_selector={NODE_LABEL: node_id})
        ends_at = time.time() + SEARCH_S
        more = [task.remote(node_dir, ends_at) for _ in range(gpus - len(alive))]
        self._tasks[node_id] = [*alive, *more]
