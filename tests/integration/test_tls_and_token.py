"""A scheduler with a certificate and a token, on a real socket: who gets in, and who does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from scheduler.app import running
from scheduler.client import AsyncClient, Client
from scheduler.client.errors import RefusedError, UnreachableError
from scheduler.config import ConfigError, RegionConfig, SchedulerConfig, TlsConfig
from tests.fakes import agent as fake_agent
from tests.fakes import canned
from tests.fakes.certificates import Pair, self_signed
from tests.fakes.executor import MemoryExecutor
from westward.v1 import job_pb2, job_pb2_grpc, node_pb2, node_pb2_grpc

TOKEN = "open sesame"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path, "scheduler")


def config(folder: Path, pair: Pair) -> SchedulerConfig:
    return SchedulerConfig(
        listen="127.0.0.1:0",
        database_url=f"sqlite:///{folder / 'westward.db'}",
        report_interval_s=1.0,
        token=TOKEN,
        tls=TlsConfig(cert=pair.cert, key=pair.key),
        regions={"shanghai": RegionConfig(gateway="127.0.0.1:1")},
    )


@pytest_asyncio.fixture
async def address(tmp_path: Path, pair: Pair) -> AsyncIterator[str]:
    async with running(config(tmp_path, pair)) as serving_at:
        yield serving_at


async def test_both_clients_get_in_with_the_token_and_the_authority(
    address: str, pair: Pair
) -> None:
    async with AsyncClient(address, token=TOKEN, tls_ca=pair.cert) as client:
        job = (await client.submit(canned.spec("a"))).job
        assert [found.id async for found in client.jobs()] == [job.id]

    def synchronous() -> str:
        with Client(address, token=TOKEN, tls_ca=pair.cert) as client:
            return client.get(job.id).job.spec.name

    assert await asyncio.to_thread(synchronous) == "a"


@pytest.mark.parametrize("token", [None, "", "open sesam"])
async def test_a_wrong_token_is_refused_on_calls_of_every_shape(
    address: str, pair: Pair, token: str | None
) -> None:
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    trust = grpc.ssl_channel_credentials(pair.cert.read_bytes())
    async with grpc.aio.secure_channel(address, trust) as channel:
        jobs = job_pb2_grpc.JobServiceStub(channel)
        calls: list[Any] = [
            jobs.Get(job_pb2.GetRequest(job_id="x"), metadata=metadata),
            jobs.SubmitBatch(iter([job_pb2.SubmitBatchRequest()]), metadata=metadata),
            jobs.Watch(job_pb2.WatchRequest(), metadata=metadata),
            node_pb2_grpc.NodeServiceStub(channel).Connect(
                iter([node_pb2.ConnectRequest()]), metadata=metadata
            ),
        ]
        for call in calls:
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "set WESTWARD_TOKEN" in await call.details()
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, "probes carry no token"
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([request])
        )
        assert await reflected.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_who_trusts_another_authority_or_speaks_plain_text_is_not_served(
    address: str, pair: Pair, tmp_path: Path
) -> None:
    async with AsyncClient(address, token="wrong", tls_ca=pair.cert) as client:
        with pytest.raises(RefusedError, match="WESTWARD_TOKEN"):
            await client.clusters()
    other = self_signed(tmp_path, "other")
    for trusted in (other.cert, None):
        async with AsyncClient(address, token=TOKEN, tls_ca=trusted) as client:
            with pytest.raises(UnreachableError):
                await client.clusters()


async def test_agents_get_in_with_the_token_and_the_authority(
    address: str, pair: Pair, tmp_path: Path
) -> None:
    plain = fake_agent.config(tmp_path, int(address.rpartition(":")[2]))
    known = plain.scheduler.model_copy(update={"tls_ca": pair.cert, "token": TOKEN})
    settings = plain.model_copy(update={"scheduler": known})
    async with (
        fake_agent.agent(settings, MemoryExecutor()),
        AsyncClient(address, token=TOKEN, tls_ca=pair.cert) as client,
        asyncio.timeout(20),
    ):
        while not any(cluster.connected for cluster in (await client.clusters()).clusters):
            await asyncio.sleep(0.05)
        assert [node.id for node in (await client.nodes()).nodes] == ["qingyang-1"]


@pytest.mark.parametrize("broken", ["missing", "garbage"])
async def test_a_certificate_that_is_no_use_is_named(
    tmp_path: Path, pair: Pair, broken: str
) -> None:
    if broken == "missing":
        pair.key.unlink()
    else:
        pair.cert.write_text("not a certificate")
    with pytest.raises(ConfigError, match="tls"):
        async with running(config(tmp_path, pair)):
            pass
