"""`make bench-submit`: durable acknowledgements per second, beside Slurm's sbatch.

Every Westward client is a process of its own with a connection of its own, as is every sbatch. The
jobs stay pending on both sides: no cluster has reported to the scheduler, and Slurm holds them.
Slurm acknowledges what is not on disk yet; Westward acknowledges what is.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench import slurm
from bench.report import Row, machine, publish, quantile
from bench.west import REGION, Serving, postgres, scheduler
from scheduler.client import Client
from westward.v1 import job_pb2

CLIENTS = 16
REPEATS = 3
SINGLE_JOBS = 150  # per client and repeat
BATCH_JOBS = 1000
BATCHES = 10
SBATCH_JOBS = 400
COMMAND_JOBS = 24

# Latencies in seconds, and how long all of it took.
Measured = tuple[list[float], float]


def a_spec() -> job_pb2.JobSpec:
    """A one-GPU job."""
    return job_pb2.JobSpec(
        name="bench",
        tenant="bench",
        region=REGION,
        workers=1,
        command=job_pb2.Command(argv=["true"]),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=1, memory_gb=1),
        expected_duration_s=60,
    )


def _single_client(address: str, jobs: int, ready: Barrier) -> tuple[list[float], float, float]:
    spec, taken_s = a_spec(), []
    with Client(address) as client:
        client.clusters()
        ready.wait()
        first_s = time.perf_counter()
        for _ in range(jobs):
            began_s = time.perf_counter()
            client.submit(spec)
            taken_s.append(time.perf_counter() - began_s)
        return taken_s, first_s, time.perf_counter()


def single(address: str) -> Measured:
    """16 clients, each with one Submit after another."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(CLIENTS) as pool:
        ready = manager.Barrier(CLIENTS)
        work = [(address, SINGLE_JOBS, ready)] * CLIENTS
        told = pool.starmap(_single_client, work, chunksize=1)
    # perf_counter is the machine's monotonic clock, the same in every process.
    wall_s = max(end for _, _, end in told) - min(begin for _, begin, _ in told)
    return [one for taken_s, _, _ in told for one in taken_s], wall_s


def batched(address: str) -> Measured:
    """One client, one SubmitBatch after another."""
    specs, taken_s = [a_spec()] * BATCH_JOBS, []
    with Client(address) as client:
        client.clusters()
        for _ in range(BATCHES):
            began_s = time.perf_counter()
            results = client.submit_batch(specs).results
            taken_s.append(time.perf_counter() - began_s)
            if any(not result.job_id for result in results):
                raise RuntimeError(f"not all of a batch were taken: {results[0]}")
    return taken_s, sum(taken_s)


def commands(command: list[str], env: dict[str, str], jobs: int, clients: int) -> Measured:
    """A process per job, ``clients`` at a time."""

    def one(_: int) -> float:
        began_s = time.perf_counter()
        subprocess.run(command, env=env, check=True, capture_output=True)
        return time.perf_counter() - began_s

    began_s = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken_s = list(pool.map(one, range(jobs)))
    return taken_s, time.perf_counter() - began_s


def repeated(
    way: str,
    measure: Callable[[], Measured],
    jobs_each: int = 1,
    note: str = "",
    serving: Serving | None = None,
) -> Row:
    """Measures REPEATS times; ``jobs_each`` is how many jobs one latency stands for."""
    taken_s: list[float] = []
    rates = []
    before_s = serving.cpu_s() if serving else 0.0
    for _ in range(REPEATS):
        more_s, wall_s = measure()
        taken_s += more_s
        rates.append(len(more_s) * jobs_each / wall_s)
        print(f"… {way}: {rates[-1]:,.1f}/s", file=sys.stderr)
    return Row(
        way=way,
        count=len(taken_s) * jobs_each,
        rates_per_s=rates,
        p50_ms=quantile(taken_s, 0.5) * 1000,
        p99_ms=quantile(taken_s, 0.99) * 1000,
        cpu_ms=(serving.cpu_s() - before_s) * 1000 / len(taken_s) / jobs_each if serving else None,
        note=note,
    )


def westward_rows(folder: Path, database: str, url: str) -> list[Row]:
    """Both ways with one fresh scheduler."""
    with scheduler(folder, url) as serving:
        way = f"Westward Submit, {CLIENTS} clients, {database}"
        one = repeated(way, partial(single, serving.address), serving=serving)
        way = f"Westward SubmitBatch of {BATCH_JOBS}, 1 client, {database}"
        note = "p50 and p99 of a whole batch"
        measure = partial(batched, serving.address)
        return [one, repeated(way, measure, BATCH_JOBS, note, serving)]


def command_row(folder: Path, url: str) -> Row:
    """The command line: a Python process per job."""
    job = folder / "job.yaml"
    job.write_text(
        f"name: bench\ntenant: bench\nregion: {REGION}\ncommand: 'true'\n"
        "per_worker: {gpus: 1}\nduration: 1m\n"
    )
    with scheduler(folder, url) as serving:
        command = [str(Path(sys.executable).parent / "westward"), "submit", str(job)]
        env = {**os.environ, "WESTWARD_ADDRESS": serving.address}
        measure = partial(commands, command, env, COMMAND_JOBS, 1)
        return repeated("westward submit, one process per job, 1 client", measure)


def slurm_rows(folder: Path) -> list[Row]:
    """sbatch of held jobs, alone and from 16 clients; one empty row where there is no Slurm."""
    if (why := slurm.lacking()) is not None:
        return [Row(way="sbatch", count=0, note=why)]
    with slurm.running(folder, gpus=8) as running:
        command = ["sbatch", "--hold", "--gres=gpu:1", "--output=/dev/null", "--wrap=true"]
        measure = partial(commands, command, running.env, SBATCH_JOBS)
        note = f"{running.version}; acknowledged before it is on disk"
        return [
            repeated("sbatch, 1 client", partial(measure, 1), note=note),
            repeated(f"sbatch, {CLIENTS} clients", partial(measure, CLIENTS), note=note),
        ]


def main() -> int:
    load_before = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started must end
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ww-bench-")))
        for name in ("slurm", "sqlite", "postgres", "command"):
            (folder / name).mkdir()
        peers = slurm_rows(folder / "slurm")
        url = f"sqlite:///{folder / 'sqlite' / 'westward.db'}"
        ours = westward_rows(folder / "sqlite", "SQLite", url)
        server = stack.enter_context(postgres())
        if server is not None:
            ours += westward_rows(folder / "postgres", "PostgreSQL", server)
        command = command_row(folder / "command", f"sqlite:///{folder / 'command' / 'westward.db'}")
        described = machine(folder)
    rows = [*peers, *ours, command]
    publish(
        "submit",
        f"Acknowledged durable submissions, median of {REPEATS} repeats",
        rows,
        machine=described,
        load_before=load_before,
        targets=judged(peers, ours),
    )
    return 0


def judged(peers: list[Row], ours: list[Row]) -> dict[str, str]:
    """The targets and what came of them, on SQLite."""
    one, batch = ours[0].rate_per_s, ours[1].rate_per_s
    best = max((row.rate_per_s or 0.0 for row in peers), default=0.0)
    assert one is not None
    told = f"{one / best:.1f} times" if best else "no Slurm to compare"
    return {
        "Submit at 10 times sbatch": f"{told}; the clients share {os.cpu_count()} cores with it",
        "SubmitBatch at 5,000/s": f"{batch:,.0f}/s",
    }


if __name__ == "__main__":
    sys.exit(main())
