"""The driver whose Ray job the site actor belongs to: ``python -m agents.executor.keeper``.

Ray ends every idle worker process of a job whose driver has gone. Were that the bridge, then after
the agent's first restart each attempt of the cluster would have to wait for fresh processes. So
the bridge has Ray start a driver that does nothing else, outside of the agent's own processes: it
starts the site actor, and goes when that does.
"""

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import ray
from ray.exceptions import RayError

from agents.executor.probe import reachable
from agents.executor.site import NAME, NAMESPACE, Site

# Coroutines of the site actor that may be under way at once.
CALLS_MAX = 10_000
HEAD = {"node:__internal_head__": 0.001}
# What it may take to come up. A site actor of the bridge's own is slower, and better than none.
START_TIMEOUT_S = 20.0
START_LOOK_S = 0.05
GCS_LOOK_S = 2.0
GCS_MISSES_MAX = 3


def find_site(address: str) -> Any:
    """The cluster's site actor; if there is none, it is started on the head node, by a keeper."""
    if (site := _named()) is not None:
        return site
    started = start_keeper.remote(address)
    gives_up_at = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < gives_up_at:
        if (site := _named()) is not None:
            return site
        time.sleep(START_LOOK_S)  # nobody tells of a new name
    told = f"no keeper came up within {START_TIMEOUT_S:g} s ({_outcome(started)}); without one,"
    print(f"{told} starts are slow once this agent has restarted", file=sys.stderr, flush=True)
    return found_or_started()


def _outcome(started: Any) -> str:
    try:
        ray.get(started, timeout=0)
    except RayError as error:  # a timeout is one
        return repr(error)
    return "it was started"


def found_or_started() -> Any:
    """The cluster's site actor, as one of this process's job if there is none."""
    return (
        ray.remote(Site)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            resources=HEAD,
            max_concurrency=CALLS_MAX,
        )
        .remote()
    )


@ray.remote(num_cpus=0, resources=HEAD, max_retries=0)
def start_keeper(address: str) -> None:
    """Starts a keeper as no child of this worker process, with which it would end."""
    command = ["setsid", "--fork", sys.executable, "-m", "agents.executor.keeper", address]
    nothing = subprocess.DEVNULL
    subprocess.run(command, check=True, stdin=nothing, stdout=nothing, stderr=nothing)  # noqa: S603


async def keep(address: str) -> None:
    """Returns when the site actor, or the cluster, is gone."""
    host, port = address.rsplit(":", 1)
    gone = asyncio.ensure_future(_until_gone(found_or_started()))
    misses = 0
    while not gone.done() and misses < GCS_MISSES_MAX:
        await asyncio.wait([gone], timeout=GCS_LOOK_S)
        misses = 0 if await reachable(host, int(port)) else misses + 1


async def _until_gone(site: Any) -> None:
    try:
        await site.until_gone.remote()
    except RayError:
        return


def _named() -> Any:
    try:
        return ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        return None


def connect(address: str) -> None:
    """Makes this process a driver of the cluster."""
    ray.init(
        address=address,
        namespace=NAMESPACE,
        log_to_driver=False,
        # Which of this machine's raylets is ours: the one that shares the GCS's address.
        _node_ip_address=address.rsplit(":", 1)[0],
    )


def main(address: str) -> None:
    """Runs as long as the site actor."""
    connect(address)
    asyncio.run(keep(address))
    # Ray's own shutdown may wait for a cluster that is gone.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
