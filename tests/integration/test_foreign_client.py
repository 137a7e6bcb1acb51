"""Clients that are not ours work from the wire contract alone: Node's gRPC, and reflection."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.fakes.west import west

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "foreign"
# What npm says when there is no way to its registry; any other failure of it is ours.
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "ENOTCACHED")
SPEC: dict[str, Any] = {
    "name": "from-node",
    "tenant": "foreign",
    "region": "shanghai",
    "command": {"argv": ["sh", "-c", "echo 来自 $RANK of $WORLD_SIZE; echo careful >&2"]},
    "workers": 1,
    "per_worker": {"cpus": 0.5, "memory_gb": 0.1},
    "expected_duration_s": 1,
}


@pytest.fixture(scope="module")
def scheduler_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running scheduler with a cluster; it lives on an event loop in a thread of its own, as
    these clients block."""
    address: Future[str] = Future()
    done = threading.Event()

    async def live() -> str:
        async with west(tmp_path_factory.mktemp("west")) as serving_at:
            address.set_result(serving_at)
            await asyncio.to_thread(done.wait)
        return serving_at

    with ThreadPoolExecutor(1) as thread:
        living = thread.submit(asyncio.run, live())
        wait([address, living], timeout=60, return_when=FIRST_COMPLETED)
        try:
            if living.done():
                living.result()  # says why it did not come up
            yield address.result(timeout=0)
        finally:
            done.set()
            living.result()


@pytest.fixture(scope="module")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """client.mjs with its two packages beside it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not installed (node and npm are not on PATH)")
    folder = tmp_path_factory.mktemp("foreign")
    for file in FOREIGN.iterdir():
        shutil.copy(file, folder)
    npm = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0 and any(word in done.stderr for word in OFFLINE):
        pytest.skip("npm cannot reach its registry, so @grpc/grpc-js cannot be installed")
    assert done.returncode == 0, done.stderr
    return folder / "client.mjs"


def _run(client: Path, address: str, spec: dict[str, Any]) -> dict[str, Any]:
    command = ["node", str(client), address, str(ROOT / "proto"), json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_node_submits_watches_reads_logs_and_asks_why(
    node_client: Path, scheduler_address: str
) -> None:
    seen = _run(node_client, scheduler_address, SPEC)
    assert seen["states"][-1] == "JOB_STATE_SUCCEEDED"
    assert seen["stdout"] == "来自 0 of 1\n"
    assert seen["stderr"] == "careful\n"
    explanation = seen["explanation"]
    assert explanation["job_id"] == seen["job_id"]
    assert explanation["outcome"] == "OUTCOME_PLACED"
    chosen = [c for c in explanation["candidates"] if c["chosen"]]
    assert len(chosen) == 1
    total_yuan = sum(term["yuan"] for term in chosen[0]["terms"])
    assert total_yuan == pytest.approx(chosen[0]["total_yuan"], abs=1e-6)


def test_node_is_told_which_field_is_wrong(node_client: Path, scheduler_address: str) -> None:
    seen = _run(node_client, scheduler_address, SPEC | {"region": "shangai"})
    assert seen["refused"]["code"] == "INVALID_ARGUMENT"
    assert "shangai" in seen["refused"]["message"]


def test_reflection_describes_every_service(scheduler_address: str) -> None:
    """What ``grpcurl ADDRESS list`` and ``grpcurl ADDRESS …/ListClusters`` do."""
    with grpc.insecure_channel(scheduler_address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) >= {
            "westward.v1.JobService",
            "westward.v1.NodeService",
            "westward.v1.PlacementService",
            "grpc.health.v1.Health",
        }
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("westward.v1.PlacementService")
        method = service.FindMethodByName("ListClusters")
        request, response = (GetMessageClass(t) for t in (method.input_type, method.output_type))
        call = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        answer: Any = call(request(), timeout=10)
        assert len(answer.clusters) > 0
