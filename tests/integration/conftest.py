"""One Ray cluster for all tests that only use it, and another for those that break it."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.executor.local_cluster import LocalCluster, LocalNode
from agents.lease import Lease, lease_clock_s
from tests.contract.executor_cases import NODE, SECOND_NODE

# The demo takes the first ones, and a test of its own the last; all may run side by side.
INDICES = (4, 5, 6)
# On each node of the cluster that is shared.
GPUS = 4
# Ray starts as many workers at once as the machine has cores, and of one that was killed before it
# had registered (as when its attempt is stopped) it notices the end after a minute: two of those on
# two cores, and nothing starts for so long.
ENVIRONMENT = {"RAY_worker_maximum_startup_concurrency": "16"}


def an_hour() -> Lease:
    """What an executor on the shared cluster needs: the leases of those before it may have ended,
    and the site actor is the same."""
    now_s = lease_clock_s()
    return Lease(now_s + 3600.0, now_s + 3593.0)


def a_cluster(nodes: tuple[LocalNode, ...], *, dashboard: bool) -> LocalCluster:
    """A cluster that is not started yet, where no other one is."""
    # Ray's sockets need a short path, which pytest's own directories do not have.
    folder = Path(tempfile.mkdtemp(prefix="ww", dir="/tmp"))
    for index in INDICES:
        cluster = LocalCluster(
            index=index, folder=folder, nodes=nodes, dashboard=dashboard, env=ENVIRONMENT
        )
        host, port = cluster.address.split(":")
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) != 0:
                return cluster
    raise RuntimeError(f"local clusters {INDICES} are all in use")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[LocalCluster]:
    """Two nodes of four logical GPUs, with a dashboard. Leave it as it is."""
    nodes = (
        LocalNode(node_id=NODE, gpus=GPUS, cpus=8, memory_gb=16.0),
        LocalNode(node_id=SECOND_NODE, gpus=GPUS, cpus=8, memory_gb=16.0),
    )
    with a_cluster(nodes, dashboard=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def breakable_cluster() -> Iterator[LocalCluster]:
    """Two nodes that a test may break if it repairs them."""
    nodes = (LocalNode(node_id=NODE, gpus=2), LocalNode(node_id=SECOND_NODE, gpus=2))
    with a_cluster(nodes, dashboard=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def driver_cluster() -> Iterator[LocalCluster]:
    """Two nodes with a dashboard, whose site actor and lease a test may end."""
    nodes = (LocalNode(node_id=NODE, gpus=2), LocalNode(node_id=SECOND_NODE, gpus=2))
    with a_cluster(nodes, dashboard=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """One for all attempts of a module, as an agent has it."""
    folder = Path(tempfile.mkdtemp(prefix="ww-data"))
    yield folder
    shutil.rmtree(folder)
