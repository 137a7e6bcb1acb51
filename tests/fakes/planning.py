"""A planning loop over a real job book, store and fleet, with the planner played by the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scheduler.clock import Clock
from scheduler.config import SchedulerConfig
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.fleet import Region
from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.series import constant
from scheduler.domain.why import Obstacles, Starts
from scheduler.planner.budget import Budget
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import PendingJob, Prices, Snapshot
from scheduler.planner.table import JobTable
from scheduler.planning.front import Front
from scheduler.planning.loop import PlanningLoop
from scheduler.planning.maker import RoundMaker
from scheduler.planning.messages import Answer, Ask, Asked, Changes, Decided, Part
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.state.known import Identity
from scheduler.store import Store
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import a_spec, opened

REGION = Region(
    name="shanghai", gateway="", price_yuan_per_kwh=0.7, pue=1.4, grid_carbon_g_per_kwh=585
)
HEAD = Identity(
    node_id="qingyang-1", cluster="qingyang", head=True, agent_version="1", incarnation="a"
)
GPU_POWER_KW = 0.5
PUE = 1.2


def explained(job_id: str, outcome: Outcome, at: datetime, code: ReasonCode) -> Explanation:
    """What a round may say of a job."""
    reason = Reason(code, f"{code} it is")
    return Explanation(job_id=job_id, decided_at=at, outcome=outcome, reason=reason, candidates=())


def place(snapshot: Snapshot, job: PendingJob, in_s: float = 0.0) -> Placement:
    """A legal place for a job of one worker with one accelerator."""
    run_s = job.spec.expected_duration_s
    start_at = snapshot.now_at + timedelta(seconds=in_s)
    return Placement(
        job_id=job.id,
        cluster="qingyang",
        accelerator="A800",
        start_at=start_at,
        end_at=start_at + timedelta(seconds=run_s),
        now=in_s == 0,
        nodes=("qingyang-1",) if in_s == 0 else (),
        energy_kwh=GPU_POWER_KW * PUE * run_s / 3600,
        green_kwh=0.0,
        green_held_kw=0.0,
        cost_yuan=0.1,
        carbon_kg=0.1,
    )


def plan_of(snapshot: Snapshot, *placements: Placement) -> Plan:
    """A plan with these places; all other jobs find no capacity."""
    placed = {p.job_id: Outcome.PLACED if p.now else Outcome.PLANNED for p in placements}
    return Plan(
        placements=placements,
        explanations=tuple(
            explained(job.id, placed[job.id], snapshot.now_at, ReasonCode.CHOSEN)
            if job.id in placed
            else explained(job.id, Outcome.UNPLACED, snapshot.now_at, ReasonCode.CAPACITY)
            for job in snapshot.jobs
        ),
        objective_yuan=2.0,
        bound_yuan=1.5,
        gap=0.25,
    )


def all_now(snapshot: Snapshot) -> Plan:
    """Everything starts at once."""
    return plan_of(snapshot, *(place(snapshot, job) for job in snapshot.jobs))


def nothing(snapshot: Snapshot) -> Plan:
    """Nothing finds a place."""
    return plan_of(snapshot)


@dataclass
class Desk:
    """The parts; ``decide`` is the planner, and ``seen`` the snapshots it was shown."""

    store: Store
    book: JobBook
    fleet: Fleet
    clock: Clock
    loop: PlanningLoop
    decide: Callable[[Snapshot], Plan] = all_now
    # Runs while the planner is busy: what happens meanwhile.
    meanwhile: Callable[[], Any] | None = None
    seen: list[Snapshot] = field(default_factory=list)
    # What the planner would tell of a job if asked for all of it.
    closely: dict[str, Explanation] = field(default_factory=dict)
    # What it would have the next round start from.
    prices: Prices | None = None

    async def submit(self, **changes: Any) -> Job:
        changes = {"accelerators": (), **changes}
        job, _ = await self.book.submit(a_spec(**changes))
        return job

    async def state(self, job: Job) -> JobState:
        return (await self.book.get(job.id)).state

    def report(self) -> None:
        """The head's node and site, all in order."""
        self.fleet.connect(HEAD)
        node = {"accelerator": "A800", "gpus": 8, "cpus": 64.0, "memory_gb": 512.0}
        power = {"gpu_power_kw": GPU_POWER_KW, "cpu_power_kw": 0.005, "cpu_load": 0.0}
        assert not self.fleet.report_node(HEAD.node_id, {**node, **power})
        now = self.clock.now()
        site = {
            "province": "Gansu",
            "price_yuan_per_kwh": constant(0.4, now),
            "green_supply_kw": constant(10.0, now),
            "pue": constant(PUE, now),
            "grid_carbon_g_per_kwh": 477.0,
            "power_cap_kw": None,
            "links": (),
        }
        assert not self.fleet.report_site(HEAD.node_id, site)

    def think(self, snapshot: Snapshot) -> "Thinking":
        """What the planner is."""
        self.seen.append(snapshot)
        return Thinking(self.decide(snapshot), self.closely, self.prices)

    async def pass_time(self) -> None:
        """What happens while the planner is busy."""
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile(), None
            if happening is not None:
                await happening


@dataclass(frozen=True)
class Thinking:
    """A plan, and what the test has the planner tell closely."""

    plan: Plan
    closely: dict[str, Explanation]
    prices: Prices | None

    def explain(self, job_id: str) -> Explanation | None:
        return self.closely.get(job_id)

    def obstacles(self, job_id: str) -> Obstacles | None:
        return None

    def starts(self, job_id: str) -> Starts | None:
        return None


class Played:
    """The planner beside the loop, in the same process: all but the plan itself is real."""

    desk: Desk

    def __init__(self) -> None:
        self.maker = RoundMaker(self._think)

    def _think(self, snapshot: Snapshot, budget: Budget, table: JobTable | None) -> Thinking:
        return self.desk.think(snapshot)

    async def tell(self, changes: Changes) -> None:
        self.maker.tell(changes)

    async def front(self, ask: Ask) -> Front | None:
        return self.maker.front(ask)

    async def plan(self, ask: Ask) -> Decided:
        decided = self.maker.plan(ask)
        await self.desk.pass_time()
        return decided

    async def part(self, number: int) -> Part:
        return self.maker.part(number)

    async def answer(self, asked: Asked[Answer]) -> Answer:
        return self.maker.answer(asked)

    async def explain(self, job_id: str) -> Explanation | None:
        return self.maker.explain(job_id)

    async def obstacles(self, job_id: str) -> Obstacles | None:
        return self.maker.obstacles(job_id)

    async def starts(self, job_id: str) -> Starts | None:
        return self.maker.starts(job_id)


@asynccontextmanager
async def desk(
    folder: Path, clock: Clock | None = None, round_interval_s: float = 1000.0
) -> AsyncIterator[Desk]:
    """A desk whose one cluster has reported."""
    clock = clock or ManualClock()
    config = SchedulerConfig(round_interval_s=round_interval_s)
    async with opened(folder, clock) as (store, book):
        fleet = Fleet(clock, {"shanghai": REGION}, config.report_interval_s, store.marks.all)

        planner = Played()
        loop = PlanningLoop(
            config=config, clock=clock, book=book, fleet=fleet, store=store, planner=planner
        )
        made = planner.desk = Desk(store, book, fleet, clock, loop)
        book.on_step(loop.on_step)
        made.report()
        yield made
