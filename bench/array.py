"""`make bench-array`: the tasks of an array, beside bare Ray tasks that run the same command.

Both on one Ray cluster with warm workers, in turn: so many tasks, from when they are asked for
until all are known to have succeeded. A bare task is a Ray task of one CPU that runs the command
and keeps nothing; ours has its output, its records and its state kept.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray

from agents.executor.base import Assignment
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from bench.report import Row, machine, publish, quantile
from bench.west import REGION, a_cluster, west
from scheduler.client import Client
from scheduler.domain.job import ArraySpec, AttemptState, Command
from westward.v1 import job_pb2

WORKERS = 2
REPEATS = 3
# Commands that end at once and after 10 ms, and how many tasks of them make some seconds.
KINDS = {("true",): 3000, ("sleep", "0.01"): 1000}
LONGEST_S = 120.0
POLL_S = 0.05
TARGET_SHARE = 0.8

# Runs so many tasks of a command; returns when all have succeeded.
Way = Callable[[Sequence[str], int], None]


@ray.remote(num_cpus=1)
def bare_task(argv: Sequence[str]) -> None:
    """One command, as a Ray program would run it."""
    subprocess.run(argv, check=True)


def bare(argv: Sequence[str], tasks: int) -> None:
    """Ray tasks."""
    ray.get([bare_task.remote(argv) for _ in range(tasks)], timeout=LONGEST_S)


class Site:
    """One executor, as the agent of a head node has it."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        (node,) = cluster.nodes
        self._node_id = node.node_id
        # In a thread, as a daemon that stands still while others are measured loses its bridge.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._executor = RayExecutor(
            node_id=node.node_id, cluster="bench", address=cluster.address, data_dir=folder
        )
        self._await(self._executor.open())
        self._count = 0

    def close(self) -> None:
        self._await(self._executor.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run(self, argv: Sequence[str], tasks: int) -> None:
        """One array.

        Raises:
            RuntimeError: it did not succeed.
        """
        self._count += 1
        assignment = Assignment(
            attempt_id=f"array-{self._count}",
            job_id="array",
            epoch=1,
            number=1,
            work=Command(tuple(argv)),
            nodes=(self._node_id,) * WORKERS,
            gpus=1,
            cpus=1.0,
            memory_gb=0.1,
            array=ArraySpec(tasks=tasks),
        )
        self._await(self._conduct(assignment))

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _conduct(self, assignment: Assignment) -> None:
        await self._executor.start(assignment)
        async with asyncio.timeout(LONGEST_S):
            while True:
                for seen in await self._executor.observe(LONGEST_S):
                    if seen.attempt_id != assignment.attempt_id or not seen.state.final:
                        continue
                    if seen.state is not AttemptState.SUCCEEDED:
                        raise RuntimeError(f"the array ended {seen.state}: {seen.reason}")
                    await self._executor.forget(assignment.attempt_id)
                    return


def submitted(client: Client, argv: Sequence[str], tasks: int) -> None:
    """One array through a scheduler, from the submission until the success is known.

    Raises:
        RuntimeError: it did not succeed.
    """
    spec = job_pb2.JobSpec(
        name="bench",
        tenant="bench",
        region=REGION,
        workers=WORKERS,
        command=job_pb2.Command(argv=argv),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=1, memory_gb=0.1),
        expected_duration_s=0.1,
        array=job_pb2.ArraySpec(tasks=tasks),
    )
    job = client.submit(spec).job
    for change in client.watch([job.id], until_final=True):
        if change.job.state in (job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED):
            raise RuntimeError(f"the array failed: {change.job.reason}")


def await_idle() -> None:
    """Returns when Ray has taken back all that the way before has used: it keeps the workers of
    bare tasks for a while, and tries to reserve for an array at growing intervals.

    Raises:
        RuntimeError: it does not.
    """
    until = time.monotonic() + LONGEST_S
    while _idle_cpus() < WORKERS:
        if time.monotonic() > until:
            raise RuntimeError(f"the cluster is still busy after {LONGEST_S:g} s")
        time.sleep(POLL_S)  # resources are listed, not watched


def _idle_cpus() -> float:
    cpus: float = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
    return cpus


def in_turn(name: str, way: Way) -> list[Row]:
    """Bare tasks and another way in turn, after one round of each that is not counted."""
    rows = []
    for argv, tasks in KINDS.items():
        rates: dict[str, list[float]] = {"bare Ray tasks": [], name: []}
        for _ in range(REPEATS + 1):
            for told, run in (("bare Ray tasks", bare), (name, way)):
                await_idle()
                began_s = time.perf_counter()
                run(argv, tasks)
                rates[told].append(tasks / (time.perf_counter() - began_s))
                print(f"… {told}, {argv[0]}: {rates[told][-1]:.0f}/s", file=sys.stderr)
        share = quantile(rates[name][1:], 0.5) / quantile(rates["bare Ray tasks"][1:], 0.5)
        notes = {name: f"{share:.0%} of bare tasks"}
        rows += [
            Row(
                way=f"{told}, `{' '.join(argv)}`",
                count=tasks,
                rates_per_s=rates[told][1:],
                note=notes.get(told, ""),
            )
            for told in rates
        ]
    return rows


def judged(rows: Sequence[Row]) -> dict[str, str]:
    """The target and what came of it."""
    told = [f"{row.way}: {row.note}" for row in rows if row.note]
    return {f"at least {TARGET_SHARE:.0%} of what bare Ray tasks reach": "; ".join(told)}


def measured(cluster: LocalCluster, folder: Path) -> list[Row]:
    """All rows, on a cluster that runs."""
    site = Site(cluster, folder / "site")
    try:
        rows = in_turn("array on the executor", site.run)
    finally:
        site.close()
    (folder / "west").mkdir()
    with west(folder / "west", cluster) as address, Client(address) as client:
        rows += in_turn(
            "array through the scheduler", lambda argv, tasks: submitted(client, argv, tasks)
        )
    return rows


def main() -> int:
    load_before = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started must end
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ww-bench-")))
        cluster = stack.enter_context(a_cluster(folder / "ray", WORKERS))
        host = cluster.address.rsplit(":", 1)[0]
        ray.init(address=cluster.address, log_to_driver=False, _node_ip_address=host)
        stack.callback(ray.shutdown)
        rows = measured(cluster, folder)
        described = machine(folder)
    publish(
        "array",
        f"Tasks per second on {WORKERS} workers",
        rows,
        machine=described,
        load_before=load_before,
        targets=judged(rows),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
