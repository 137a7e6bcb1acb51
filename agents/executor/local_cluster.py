"""A real Ray cluster on this machine, for the demo and the tests.

The head listens on 127.0.<index>.1 and node k on 127.0.<index>.k, each with its own block of ports,
as some of Ray's servers listen on every address. Hosts without GPUs may declare logical ones.
Blocking; start several clusters one after another, as starting is bound by the processor.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.executor import processes
from agents.executor.wire import NODE_LABEL

CLUSTER_VARIABLE = "WESTWARD_LOCAL_CLUSTER"
NODE_VARIABLE = "WESTWARD_LOCAL_NODE"
# Six seconds on an idle machine, a minute on one that is busy with others.
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.05

CLUSTERS_MAX = 7
NODES_MAX = 8
PORTS_FROM = 10_000
PORTS_PER_NODE = 400
FIRST_WORKER_PORT = 20

OBJECT_STORE_BYTES = 80_000_000
# sun_path holds 108 bytes; what Ray adds to its temp-dir for its sockets takes about 65.
FOLDER_CHARS_MAX = 40

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # SIGTERM ends a node at once, not after draining it for half a minute.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # Otherwise one worker process is started for every CPU declared.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    # Ray keeps as many idle worker processes as it has idle CPUs, and ends the rest after a second:
    # on a node whose CPUs are taken, every attempt would pay for a fresh one.
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
    # Ray would kill tasks when this machine, which is not the declared one, is short of memory.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}

# Ends the cluster when whoever started it is gone, however that came about: its stdin closes.
GUARD = (
    "import shutil, sys; from agents.executor import processes; sys.stdin.read();"
    " processes.end_marked([sys.argv[1]], grace_s=3.0);"
    " shutil.rmtree(sys.argv[2], ignore_errors=True)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node as declared to Ray, whatever this machine has."""

    node_id: str
    gpus: int = 0
    cpus: int = 4
    memory_gb: float = 16.0


class LocalClusterError(Exception):
    """The cluster could not be started or ended."""


class LocalCluster:
    """One Ray cluster; the first node is its head. A context manager: started and stopped."""

    def __init__(
        self,
        *,
        index: int,
        folder: Path,
        nodes: Sequence[LocalNode],
        dashboard: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """``folder`` is Ray's temp-dir and must have a short path; ``dashboard`` is needed for Ray
        entrypoints; ``env`` is added to what every process of the cluster inherits."""
        if not 1 <= index <= CLUSTERS_MAX:
            raise ValueError(f"index is {index}; there is room for 1 to {CLUSTERS_MAX}")
        if not 1 <= len(nodes) <= NODES_MAX:
            raise ValueError(f"{len(nodes)} nodes; there is room for 1 to {NODES_MAX}")
        if len(str(folder)) > FOLDER_CHARS_MAX:
            raise ValueError(
                f"folder {folder} is longer than {FOLDER_CHARS_MAX} characters, too long for"
                " Ray's sockets; take one nearer the root, such as /tmp/ww1"
            )
        self._index = index
        self._folder = folder
        self.nodes = tuple(nodes)
        self._dashboard = dashboard
        # What every process of the cluster has in its environment.
        self.marker = f"{CLUSTER_VARIABLE}={index}:{folder}"
        bin_dir = str(Path(sys.executable).parent)
        self._env = {
            **os.environ,
            **ENVIRONMENT,
            **(env or {}),
            CLUSTER_VARIABLE: f"{index}:{folder}",
            # Jobs say `python` and mean the one that Ray runs on.
            "PATH": f"{bin_dir}:{os.environ.get('PATH', '')}",
        }
        self._leaders: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port of the GCS."""
        return f"{self._host(0)}:{self._port(0, 0)}"

    @property
    def dashboard_url(self) -> str | None:
        return f"http://{self._host(0)}:{self._port(0, 8)}" if self._dashboard else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts node after node; on failure, everything is ended and LocalClusterError raised."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-c", GUARD, self.marker, str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            for position in range(len(self.nodes)):
                self.start_node(position)
        except BaseException:
            self.stop()
            raise

    def start_node(self, position: int) -> None:
        """Starts one node, or starts it again; returns when it serves."""
        node = self.nodes[position]
        out = self._folder / f"{node.node_id}.out"
        with out.open("wb") as file:
            leader = subprocess.Popen(  # noqa: S603 - our own arguments
                self._arguments(position),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**self._env, NODE_VARIABLE: node.node_id},
                start_new_session=True,
            )
        self._leaders[node.node_id] = leader
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"runtime started" not in out.read_bytes():
            if leader.poll() is not None or time.monotonic() > deadline:
                tail = out.read_text(errors="replace")[-2000:]
                raise LocalClusterError(f"Ray node {node.node_id} did not start:\n{tail}")
            time.sleep(POLL_S)  # Ray says that it is up in its output alone
        if position == 0 and self._dashboard:
            self._await_port(self._port(0, 8), deadline)

    def kill_node(self, node_id: str) -> None:
        """Kills every Ray process of a node at once, as a crash would, but no process of a job."""
        leader = self._leaders.pop(node_id)
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        # Workers are in groups of their own. Left alone they take seconds to notice, and a node
        # that is started again meanwhile waits a minute for those that find their port taken.
        markers = [self.marker, f"{NODE_VARIABLE}={node_id}"]
        while left := [found for found in processes.find_marked(markers) if _is_of_ray(found)]:
            for found in left:
                processes.send(found, signal.SIGKILL)
            time.sleep(POLL_S / 10)  # nobody tells of the end of another's child

    def stop(self) -> None:
        """Ends every node and every process that was started in them; removes the folder."""
        for leader in reversed(self._leaders.values()):
            leader.terminate()
        for leader in self._leaders.values():
            try:
                leader.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                leader.kill()
                leader.wait()
        self._leaders.clear()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if left := processes.end_marked([self.marker]):
            raise LocalClusterError(f"these processes cannot be ended: {left}")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _arguments(self, position: int) -> list[str]:
        node = self.nodes[position]
        port: Callable[[int], str] = lambda offset: str(self._port(position, offset))  # noqa: E731
        role = ["--head", f"--port={port(0)}", f"--temp-dir={self._folder}"]
        role += [f"--include-dashboard={self._dashboard}", f"--dashboard-host={self._host(0)}"]
        role += [f"--dashboard-port={port(8)}", f"--ray-client-server-port={port(7)}"]
        role += ["--no-monitor", "--include-log-monitor=false"]
        if position > 0:
            role = [f"--address={self.address}"]
        return [
            sys.executable,
            *("-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            *role,
            f"--node-ip-address={self._host(position)}",
            f"--object-manager-port={port(1)}",
            f"--node-manager-port={port(2)}",
            f"--dashboard-agent-listen-port={port(3)}",
            f"--dashboard-agent-grpc-port={port(4)}",
            f"--runtime-env-agent-port={port(5)}",
            f"--metrics-export-port={port(6)}",
            f"--min-worker-port={port(FIRST_WORKER_PORT)}",
            f"--max-worker-port={port(PORTS_PER_NODE - 1)}",
            f"--num-cpus={node.cpus}",
            f"--num-gpus={node.gpus}",
            f"--memory={int(node.memory_gb * 1e9)}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            f"--labels={NODE_LABEL}={node.node_id}",
        ]

    def _host(self, position: int) -> str:
        return f"127.0.{self._index}.{position + 1}"

    def _port(self, position: int, offset: int) -> int:
        block = (self._index - 1) * NODES_MAX + position
        return PORTS_FROM + block * PORTS_PER_NODE + offset

    def _await_port(self, port: int, deadline: float) -> None:
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex((self._host(0), port)) == 0:
                    return
            time.sleep(POLL_S)  # a port that begins to listen tells nobody
        raise LocalClusterError(f"Ray's dashboard does not listen at {self._host(0)}:{port}")


def _is_of_ray(process: processes.Process) -> bool:
    """Whether a process of a node is Ray's own, not one that a job has started."""
    folder = Path(f"/proc/{process.pid}")
    try:
        named = (folder / "cmdline").read_bytes().startswith(b"ray::")
        marker = f"{processes.ATTEMPT_VARIABLE}=".encode()
        return named or marker not in (folder / "environ").read_bytes()
    except OSError:
        return False
