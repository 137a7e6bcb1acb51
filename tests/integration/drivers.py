"""What the tests of Ray drivers share."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from agents.executor import processes
from agents.executor.base import Assignment
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from scheduler.domain.job import AttemptState, RayEntrypoint
from tests.contract.executor_cases import (
    DEADLINE_S,
    NODE,
    SECOND_NODE,
    an_archive,
    eventually,
    run,
    running,
    title_of,
    until,
)


def an_executor(
    cluster: LocalCluster, data_dir: Path, dashboard_url: str = "", start_timeout_s: float = 20.0
) -> RayExecutor:
    return RayExecutor(
        node_id=NODE,
        cluster="test",
        address=cluster.address,
        data_dir=data_dir,
        dashboard_url=dashboard_url or cluster.dashboard_url,
        start_timeout_s=start_timeout_s,
    )


def a_driver(attempt_id: str, entrypoint: str, **changes: object) -> Assignment:
    values: dict[str, object] = {
        "attempt_id": attempt_id,
        "job_id": "job",
        "epoch": 1,
        "number": 1,
        "work": RayEntrypoint(entrypoint),
        "nodes": (SECOND_NODE,),
        "gpus": 0,
        "cpus": 1.0,
        "memory_gb": 0.1,
        **changes,
    }
    return Assignment(**values)  # type: ignore[arg-type]


def a_python_driver(attempt_id: str, code: str, tmp_path: Path, **changes: object) -> Assignment:
    archive = an_archive(tmp_path / "w.tar.gz", {"driver.py": code.encode()})
    return a_driver(attempt_id, "python driver.py", working_dir=archive, **changes)


def output_of(data_dir: Path, assignment: Assignment) -> str:
    """What a driver has written so far; it arrives on the head node, wherever it runs."""
    path = data_dir / NODE / "attempts" / assignment.attempt_id / "rank-0.stdout"
    return path.read_text() if path.exists() else ""


async def started(executor: RayExecutor, data_dir: Path, assignment: Assignment, word: str) -> None:
    await executor.start(assignment)
    await until(executor, assignment.attempt_id, running)
    await eventually(lambda: word in output_of(data_dir, assignment), within_s=DEADLINE_S)


def process_saying(words: str, markers: list[str]) -> processes.Process:
    for process in processes.find_marked(markers):
        if words in title_of(process.pid):
            return process
    raise AssertionError(f"no process says {words!r}")


async def until_ray_says(cluster: LocalCluster, attempt_id: str, status: str) -> None:
    """Waits for what Ray's own record says of a submission."""
    url = f"{cluster.dashboard_url}/api/jobs/{attempt_id}"
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                answer = await asyncio.to_thread(urllib.request.urlopen, url)
                if json.load(answer)["status"] == status:
                    return
            except urllib.error.HTTPError:
                pass  # Ray has not read the submission yet
            await asyncio.sleep(0.1)


class Proxy:
    """Between the agent and Ray's dashboard. A submission waits for ``submissions`` on its way
    there and for ``receipts`` on its way back; whatever else is answered waits for ``answers``."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self.submissions, self.receipts, self.answers = (asyncio.Event() for _ in range(3))
        self.let_pass()
        self.submitted = asyncio.Event()

    def let_pass(self) -> None:
        for gate in (self.submissions, self.receipts, self.answers):
            gate.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_ray, to_ray = await asyncio.open_connection(*self._to)
        answers = self.answers
        asking = asyncio.create_task(self._carry(from_ray, writer, lambda: answers))
        while data := await reader.read(65536):
            if data.startswith(b"POST /api/jobs/ "):
                answers = self.receipts
                self.submitted.set()
                await self.submissions.wait()
            to_ray.write(data)
        to_ray.close()
        await asking

    async def _carry(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        gate: Callable[[], asyncio.Event],
    ) -> None:
        while data := await source.read(65536):
            await gate().wait()
            sink.write(data)
        sink.close()


@asynccontextmanager
async def proxied(
    cluster: LocalCluster, data_dir: Path
) -> AsyncIterator[tuple[Proxy, RayExecutor]]:
    """An executor that has already spoken to the dashboard, through a proxy."""
    assert cluster.dashboard_url is not None
    host, port = cluster.dashboard_url.removeprefix("http://").split(":")
    proxy = Proxy(host, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    executor = an_executor(
        cluster, data_dir, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    )
    await executor.open()
    seen = await run(executor, a_driver(f"before-{data_dir.name}", "true"))
    assert seen.state is AttemptState.SUCCEEDED, seen
    proxy.submitted.clear()
    yield proxy, executor
    proxy.let_pass()
    await executor.close()
    server.close()
