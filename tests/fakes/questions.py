"""A scheduler that can be asked what would be: real book, fleet, loop and planner, on a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from scheduler.domain.job import JobSpec
from scheduler.domain.series import constant
from scheduler.planning.maker import RoundMaker
from scheduler.planning.preview import PreviewedJob
from scheduler.rounds.thought import think
from scheduler.rpc.acceptance import Acceptance
from scheduler.rpc.jobs import JobServicer
from scheduler.rpc.placements import PlacementServicer
from scheduler.rpc.preview import PreviewCalls, Questions
from scheduler.state.audit import Audit
from scheduler.state.known import Identity
from tests.fakes.jobs import SmallWorld
from tests.fakes.planning import GPU_POWER_KW, PUE, Desk, Played, desk
from westward.v1 import job_pb2_grpc, placement_pb2_grpc

SLOT_S = 900.0


class AskedWorld(SmallWorld):
    """Knows what the fleet knows."""

    def __init__(self, desk: Desk, questions: Questions) -> None:
        super().__init__()
        self._desk = desk
        self._questions = questions

    def place_names(self) -> frozenset[str]:
        return frozenset(self._desk.fleet.place_names())

    def nodes(self) -> Any:
        return self._desk.fleet.nodes()

    async def confirm(self, plan_token: str, spec: JobSpec) -> PreviewedJob:
        return await self._questions.confirm(plan_token, spec)

    def expect(self, job_id: str, told: PreviewedJob) -> None:
        self._questions.expect(job_id, told)


@dataclass(frozen=True)
class Asked:
    """The parts, and what a client sees of them."""

    desk: Desk
    questions: Questions
    maker: RoundMaker
    jobs: "job_pb2_grpc.JobServiceAsyncStub"
    placements: "placement_pb2_grpc.PlacementServiceAsyncStub"
    address: str

    def cluster(
        self, name: str, *, gpus: int = 8, price: float = 0.4, green_kw: float = 10
    ) -> None:
        """A cluster of one node; asked for again, it reports other figures."""
        fleet, now = self.desk.fleet, self.desk.clock.now()
        head = Identity(
            node_id=f"{name}-1", cluster=name, head=True, agent_version="1", incarnation="a"
        )
        fleet.connect(head)
        node = {"accelerator": "A800", "gpus": gpus, "cpus": 64.0, "memory_gb": 512.0}
        power = {"gpu_power_kw": GPU_POWER_KW, "cpu_power_kw": 0.005, "cpu_load": 0.0}
        assert not fleet.report_node(head.node_id, {**node, **power})
        site = {
            "province": name,
            "price_yuan_per_kwh": constant(price, now),
            "green_supply_kw": constant(green_kw, now),
            "pue": constant(PUE, now),
            "grid_carbon_g_per_kwh": 477.0,
            "power_cap_kw": None,
            "links": (),
        }
        assert not fleet.report_site(head.node_id, site)


def previews_of(at_work: Desk) -> PreviewCalls:
    """What answers questions about a desk's plan."""
    questions = Questions(at_work.loop, at_work.clock, SLOT_S)
    world = AskedWorld(at_work, questions)
    acceptance = Acceptance(at_work.book, at_work.store, world, at_work.clock)
    return PreviewCalls(questions, acceptance, at_work.book, at_work.clock)


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[Asked]:
    """One cluster, qingyang, with eight A800, and nobody who waits."""
    async with desk(folder) as at_work:
        planner = at_work.loop._planner
        assert isinstance(planner, Played)
        planner.maker = RoundMaker(think)
        book, clock = at_work.book, at_work.clock
        previews = previews_of(at_work)
        questions = previews.questions
        world = AskedWorld(at_work, questions)

        async def no_export(_: int) -> bytes | None:
            return None

        server = grpc.aio.server()
        jobs = JobServicer(book, at_work.store, world, clock)
        placements = PlacementServicer(
            book=book,
            fleet=at_work.fleet,
            loop=at_work.loop,
            export=no_export,
            previews=previews,
            store=at_work.store,
            clock=clock,
            audit=Audit(at_work.store.events, at_work.fleet, clock, 5.0),
        )
        job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        placement_pb2_grpc.add_PlacementServiceServicer_to_server(placements, server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                stubs = (
                    job_pb2_grpc.JobServiceStub(channel),
                    placement_pb2_grpc.PlacementServiceStub(channel),
                )
                yield Asked(at_work, questions, planner.maker, *stubs, address)
        finally:
            await server.stop(None)
