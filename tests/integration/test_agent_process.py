"""The agent and the gateway as processes of their own: small, and gone when told."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from tests.fakes.node_service import FakeScheduler, served
from westward.v1 import gateway_pb2, gateway_pb2_grpc

RESIDENT_LIMIT_BYTES = 80_000_000


@asynccontextmanager
async def process(code: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def ended(child: asyncio.subprocess.Process, within_s: float) -> bytes:
    """What a process said on stderr until its end."""
    async with asyncio.timeout(within_s):
        _, stderr = await child.communicate()
    return stderr


AGENT = """
import sys
from pathlib import Path
from agents.daemon import main
code = main(Path(sys.argv[1]))
heavy = {"ray", "numpy", "ortools", "sqlmodel"} & sys.modules.keys()
sys.exit(code or f"imported {heavy}" if heavy else code)
"""
GATEWAY = """
import sys
from agents.gateway import main
sys.exit(main("shanghai", sys.argv[1], {"qingyang": 13.0}))
"""


async def test_an_agent_without_the_head_role_is_small_and_ends_on_sigterm(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    async with served(scheduler) as port:
        file = tmp_path / "agent.yaml"
        file.write_text(
            f"node_id: n1\ncluster: c1\nscheduler: {{address: '127.0.0.1:{port}'}}\n"
            "data_dir: state\n"
        )
        async with process(AGENT, str(file)) as child:
            await scheduler.until(
                lambda: scheduler.streams and len(scheduler.streams[0].reports) > 5, 30
            )
            resident = psutil.Process(child.pid).memory_info().rss
            child.send_signal(signal.SIGTERM)
            stderr = await ended(child, 10)
    assert child.returncode == 0, stderr.decode()
    assert resident < RESIDENT_LIMIT_BYTES, f"{resident / 1e6:.0f} MB"
    events = [json.loads(line)["event"] for line in stderr.decode().splitlines() if line[:1] == "{"]
    assert events == ["agent_starts", "scheduler_connected", "agent_stopped"]


async def test_a_second_agent_on_one_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(
        "node_id: qingyang-2\ncluster: qingyang\ndata_dir: state\n"
        "scheduler: {address: '127.0.0.1:1'}\n"
    )
    async with process(AGENT, str(file)) as first:
        assert first.stderr is not None
        assert b"agent_starts" in await first.stderr.readline()
        async with process(AGENT, str(file)) as second:
            stderr = await ended(second, 30)
        assert second.returncode == 2
        assert "another agent runs on" in stderr.decode()
        assert first.returncode is None


async def test_an_agent_with_a_bad_configuration_says_so_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("node_id: n1\n")
    async with process(AGENT, str(file)) as child:
        stderr = await ended(child, 30)
    assert child.returncode == 2
    assert "cluster: missing" in stderr.decode()


async def test_a_gateway_answers_and_ends_on_sigterm() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with process(GATEWAY, f"127.0.0.1:{port}") as child:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = gateway_pb2_grpc.GatewayServiceStub(channel)
            request = gateway_pb2.EchoRequest(payload=b"ping", cluster="qingyang")
            answer = await stub.Echo(request, wait_for_ready=True, timeout=20)
            assert (answer.payload, answer.region) == (b"ping", "shanghai")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Echo(gateway_pb2.EchoRequest(payload=bytes(2000)))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "2000 bytes; at most 1024" in (caught.value.details() or "")
        child.send_signal(signal.SIGTERM)
        await ended(child, 10)
    assert child.returncode == 0


async def test_a_gateway_that_cannot_bind_says_so() -> None:
    async with process(GATEWAY, "192.0.2.1:1") as child:
        stderr = await ended(child, 30)
    assert child.returncode == 2
    assert "gateway_cannot_serve" in stderr.decode()
