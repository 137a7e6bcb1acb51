"""`make bench-dispatch`: from the acknowledgement to the user's process, beside Ray and Slurm.

Every job is one shell on one of 16 accelerators that exist by name only; it writes the time at
which it runs to a file. Real Ray, gRPC, planner and SQLite; each program is a process of its own.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from ray.job_submission import JobSubmissionClient

from agents.executor.local_cluster import LocalCluster
from bench import slurm
from bench.report import Row, latencies, machine, publish
from bench.west import REGION, a_cluster, postgres, west
from scheduler.client import Client
from westward.v1 import job_pb2

GPUS = 16
SINGLE_JOBS = 40
SUSTAINED_JOBS = 1000
PEER_JOBS = 8
RAY_AT_ONCE = 16
SLURM_SUSTAINED_JOBS = 300
POLL_S = 0.002
LONGEST_S = 240.0

# Submits a shell command and returns once it is acknowledged.
Submit = Callable[[str], object]


class Stamps:
    """The times, in seconds since 1970, at which the jobs of one measurement ran."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._file.touch()
        # Short lines that are appended do not tear.
        self.script = f"date +%s.%N >> {file}"

    def await_(self, count: int) -> list[float]:
        """All of them once there are ``count``, sorted.

        Raises:
            RuntimeError: that takes too long.
        """
        until = time.monotonic() + LONGEST_S
        while (text := self._file.read_text()).count("\n") < count:
            if time.monotonic() > until:
                raise RuntimeError(f"{text.count(chr(10))} of {count} jobs ran in {LONGEST_S:g} s")
            time.sleep(POLL_S)  # the jobs append to a file and tell nobody
        return sorted(map(float, text.split()))


def a_spec(script: str) -> job_pb2.JobSpec:
    """A one-GPU job that runs a shell script."""
    return job_pb2.JobSpec(
        name="bench",
        tenant="bench",
        region=REGION,
        workers=1,
        command=job_pb2.Command(argv=["sh", "-c", script]),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=1, memory_gb=1),
        expected_duration_s=1,
    )


def one_by_one(folder: Path, submit: Submit, jobs: int) -> list[float]:
    """Seconds from each acknowledgement until the job runs; each is awaited before the next."""
    taken_s = []
    for number in range(jobs):
        stamps = Stamps(folder / f"one-{number}")
        submit(stamps.script)
        acknowledged_at_s = time.time()
        taken_s.append(max(0.0, stamps.await_(1)[0] - acknowledged_at_s))
        print(f"… {folder.name}: {taken_s[-1] * 1000:,.0f} ms", file=sys.stderr)
    return taken_s


def westward_rows(
    folder: Path, cluster: LocalCluster, database: str, url: str | None = None
) -> list[Row]:
    """Cold, warm, and 1,000 at once."""
    with west(folder, cluster, url) as address, Client(address) as client:

        def submit(script: str) -> str:
            return client.submit(a_spec(script)).job.id

        def submit_and_settle(script: str) -> None:
            settled(client, settling)
            settling[:] = [submit(script)]

        settling: list[str] = []
        way = f"Westward, {database}, first start on a cold node"
        cold = latencies(way, one_by_one(_made(folder / "cold"), submit_and_settle, 1))
        taken_s = one_by_one(_made(folder / "warm"), submit_and_settle, SINGLE_JOBS)
        warm = latencies(f"Westward, {database}, warm, one at a time", taken_s)
        settled(client, settling)
        rate = sustained(client, folder / "many")
    way = f"Westward, {database}, {SUSTAINED_JOBS:,} pending"
    note = "from the acknowledgement of all until the last has succeeded"
    many = Row(way=way, count=SUSTAINED_JOBS, rates_per_s=[rate], note=note)
    return [cold, warm, many]


def settled(client: Client, job_ids: Sequence[str]) -> None:
    """Waits until jobs have ended.

    Raises:
        RuntimeError: one did not succeed.
    """
    if not job_ids:
        return  # watching none means watching all
    for change in client.watch(job_ids, until_final=True):
        if change.job.state in (job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED):
            raise RuntimeError(f"job {change.job.id} failed: {change.job.reason}")


def sustained(client: Client, file: Path) -> float:
    """Attempts per second, from the acknowledgement of all until the last has succeeded."""
    stamps = Stamps(file)
    results = client.submit_batch([a_spec(stamps.script)] * SUSTAINED_JOBS).results
    began_s = time.monotonic()
    settled(client, [result.job_id for result in results])
    rate = SUSTAINED_JOBS / (time.monotonic() - began_s)
    print(f"… Westward: {rate:.1f}/s", file=sys.stderr)
    return rate


def ray_rows(folder: Path, cluster: LocalCluster) -> list[Row]:
    """Ray's own Jobs API on the same cluster."""
    jobs = JobSubmissionClient(cluster.dashboard_url)

    def submit(script: str) -> str:
        return jobs.submit_job(entrypoint=f"sh -c '{script}'", entrypoint_num_gpus=1)

    single = latencies("Ray Jobs API, one at a time", one_by_one(folder, submit, PEER_JOBS))
    stamps = Stamps(folder / "many")
    began_at_s = time.time()
    with ThreadPoolExecutor(RAY_AT_ONCE) as pool:
        list(pool.map(submit, [stamps.script] * RAY_AT_ONCE))
    rate = RAY_AT_ONCE / (stamps.await_(RAY_AT_ONCE)[-1] - began_at_s)
    way = f"Ray Jobs API, {RAY_AT_ONCE} at once"
    return [single, Row(way=way, count=RAY_AT_ONCE, rates_per_s=[rate])]


def slurm_rows(folder: Path) -> list[Row]:
    """sbatch of the same script; one empty row where there is no Slurm."""
    if (why := slurm.lacking()) is not None:
        return [Row(way="sbatch", count=0, note=why)]
    with slurm.running(_made(folder / "slurm"), GPUS) as running:
        options = ("sbatch", "--gres=gpu:1", "--output=/dev/null")

        def submit(script: str) -> str:
            return running.run(*options, f"--wrap={script}")

        single = latencies("sbatch, one at a time", one_by_one(folder, submit, PEER_JOBS))
        taken_s = []
        for _ in range(PEER_JOBS):
            began_s = time.perf_counter()
            running.run(*options, "--wait", "--wrap=true")
            taken_s.append(time.perf_counter() - began_s)
        waited = latencies("sbatch -W, one at a time", taken_s, note="until it has returned")
        stamps = Stamps(folder / "many")
        began_at_s = time.time()
        for _ in range(SLURM_SUSTAINED_JOBS):
            submit(stamps.script)
        rate = SLURM_SUSTAINED_JOBS / (stamps.await_(SLURM_SUSTAINED_JOBS)[-1] - began_at_s)
        note = "from the first sbatch until the last runs; one slurmd"
        way = f"sbatch, {SLURM_SUSTAINED_JOBS} in a row"
        many = Row(way=way, count=SLURM_SUSTAINED_JOBS, rates_per_s=[rate], note=note)
        return [single, waited, many]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    load_before = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started must end
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ww-bench-")))
        with a_cluster(folder / "ray", GPUS) as cluster:
            ours = westward_rows(_made(folder / "sqlite"), cluster, "SQLite")
            peers = ray_rows(_made(folder / "jobs-api"), cluster)
        server = stack.enter_context(postgres())
        if server is not None:
            # A fresh cluster: both begin without warm workers.
            with a_cluster(folder / "ray-again", GPUS) as cluster:
                ours += westward_rows(_made(folder / "postgres"), cluster, "PostgreSQL", server)
        peers += slurm_rows(_made(folder / "peer"))
        described = machine(folder)
    publish(
        "dispatch",
        "From the acknowledgement until the user's process runs",
        [*ours, *peers],
        machine=described,
        load_before=load_before,
        targets=judged(ours),
    )
    return 0


def judged(ours: Sequence[Row]) -> dict[str, str]:
    """The targets and what came of them, on SQLite."""
    _, warm, many, *_ = ours
    return {
        "p50 at most 100 ms, p99 at most 500 ms": f"{warm.p50_ms:.0f} ms and {warm.p99_ms:.0f} ms",
        "15 attempts/s, sustained": f"{many.rates_per_s[0]:.1f}/s",
    }


if __name__ == "__main__":
    sys.exit(main())
