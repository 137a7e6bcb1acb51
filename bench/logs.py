"""`make bench-logs`: what a job that prints 100 MB/s does to its neighbours, and to the disks.

Small jobs are submitted one after the other and watched to their end on one warm cluster, first
alone, then beside the flood.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.report import Row, latencies, machine, publish
from bench.west import REGION, a_cluster, west
from scheduler.client import Client
from westward.v1 import job_pb2

FLOOD_S = 30
FLOOD_MB_PER_S = 100
WARM_UP = 5
FEWEST = 40
STORED_WITHIN_S = 10.0
FLOOD = f"""
import sys, time
megabyte = (b"x" * 99 + b"\\n") * 10_000
began, sent = time.monotonic(), 0
while time.monotonic() < began + {FLOOD_S}:
    sys.stdout.buffer.write(megabyte)
    sent += 1
    time.sleep(max(0.0, began + sent / {FLOOD_MB_PER_S} - time.monotonic()))
print(sent, "MB", file=sys.stderr)
"""


def a_job(name: str, *argv: str) -> job_pb2.JobSpec:
    """A job of one worker."""
    return job_pb2.JobSpec(
        name=name,
        tenant="bench",
        region=REGION,
        command=job_pb2.Command(argv=argv),
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=0.5, memory_gb=0.5),
        expected_duration_s=FLOOD_S,
    )


def taken_s(client: Client) -> float:
    """From the submission of a small job to the word of its success."""
    began_s = time.perf_counter()
    job_id = client.submit(a_job("small", "true")).job.id
    for change in client.watch([job_id], until_final=True):
        state = change.job.state
    if state != job_pb2.JOB_STATE_SUCCEEDED:
        raise RuntimeError(f"{job_id} ended as {job_pb2.JobState.Name(state)}")
    return time.perf_counter() - began_s


def size_mb(folder: Path) -> float:
    """What a folder takes on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_blocks * 512
            except FileNotFoundError:
                continue  # gone since it was listed
    return total / 1e6


def while_it_floods(client: Client, folder: Path) -> tuple[list[float], float, str]:
    """Durations of small jobs beside the flood, the most MB that it took on the host, and what
    it said of itself."""
    flood = client.submit(a_job("flood", sys.executable, "-c", FLOOD)).job.id
    durations: list[float] = []
    most_mb = 0.0
    while client.get(flood).job.state not in (
        job_pb2.JOB_STATE_SUCCEEDED,
        job_pb2.JOB_STATE_FAILED,
    ):
        durations.append(taken_s(client))
        most_mb = max(most_mb, size_mb(folder / "data"))
    return durations, most_mb, said(client, flood)


def said(client: Client, job_id: str) -> str:
    """The last words of a job on stderr, which come a moment after its end."""
    until = time.monotonic() + STORED_WITHIN_S
    while True:
        pieces = [p for p in client.logs(job_id) if p.stream == job_pb2.LOG_STREAM_STDERR]
        words = b"".join(piece.data for piece in pieces).decode().strip()
        if words or time.monotonic() > until:
            return words
        time.sleep(0.1)  # what is stored is read, not watched


def measured(client: Client, folder: Path, show: Callable[[str], None]) -> list[Row]:
    """All rows."""
    for _ in range(WARM_UP):
        taken_s(client)
    show("alone")
    alone = [taken_s(client) for _ in range(FEWEST)]
    show(f"beside the flood, {FLOOD_S} s")
    beside, most_mb, words = while_it_floods(client, folder)
    kept_mb = sum(p.stat().st_size for p in folder.glob("westward.db*")) / 1e6
    return [
        latencies("small jobs alone", alone),
        latencies(
            "small jobs beside the flood",
            beside,
            note=f"{words} printed; at most {most_mb:.0f} MB on the host, {kept_mb:.0f} MB stored",
        ),
    ]


def main() -> int:
    load_before = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started must end
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ww-bench-")))
        cluster = stack.enter_context(a_cluster(folder / "ray", 4))
        address = stack.enter_context(west(folder, cluster))
        client = stack.enter_context(Client(address))
        rows = measured(client, folder, lambda what: print(f"… {what}", file=sys.stderr))
        described = machine(folder)
    ratio = (rows[1].p50_ms or 0.0) / (rows[0].p50_ms or 1.0)
    publish(
        "logs",
        "Submit to success of a small job, ms",
        rows,
        machine=described,
        load_before=load_before,
        targets={"a flood of 100 MB/s harms nobody": f"{ratio:.2f} × the median without it"},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
