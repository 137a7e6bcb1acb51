"""The language of scenarios: hubs, jobs, what runs already; then ``world.plan()``."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.registry import POLICIES
from policies.rules import Rules
from scheduler.checker import check
from scheduler.domain.explanation import Explanation
from scheduler.domain.fleet import Link, Node, NodeLifecycle, Region, Rtt, Site
from scheduler.domain.job import AcceleratorOption, Command, JobSpec, JobState, WorkerShape
from scheduler.domain.rules import Maintenance
from scheduler.domain.series import Quantile, Series, constant
from scheduler.planner.budget import Budget
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import Interruption, InterruptionKind, Placement, Plan
from scheduler.planner.snapshot import Claim, PendingJob, PlannedStart, RunningAttempt, Snapshot

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REGIONS = {
    name: Region(
        name=name, gateway="", price_yuan_per_kwh=0.7, pue=1.5, grid_carbon_g_per_kwh=600.0
    )
    for name in ("shanghai", "beijing", "shenzhen")
}


def series(values: float | list[float] | Series, step_s: float = 900.0) -> Series:
    """A constant, or values from noon on, or what is given."""
    if isinstance(values, Series):
        return values
    if isinstance(values, list):
        return Series(NOON, step_s, tuple(values))
    return constant(values, NOON)


def unsure(median: list[float], **quantiles: list[float]) -> Series:
    """A forecast from noon on with quantiles, ``p10=[…]`` in percent."""
    told = [Quantile(int(name[1:]) / 100, tuple(values)) for name, values in quantiles.items()]
    return Series(NOON, 900.0, tuple(median), "", tuple(sorted(told, key=lambda one: one.q)))


@dataclass
class World:
    """Hubs and jobs at noon; slots of a quarter of an hour over six hours unless told."""

    now_at: datetime = NOON
    slot_s: float = 900.0
    slots: int = 24
    nodes: list[Node] = field(default_factory=list)
    sites: dict[str, Site] = field(default_factory=dict)
    jobs: list[PendingJob] = field(default_factory=list)
    running: list[RunningAttempt] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    previous: dict[str, PlannedStart] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)

    def hub(
        self,
        name: str,
        *,
        nodes: int = 1,
        gpus: int = 8,
        model: str = "A800",
        cpus: float = 64.0,
        memory_gb: float = 512.0,
        price: float | list[float] | Series = 0.4,
        carbon_g: float | list[float] = 600.0,
        green_kw: float | list[float] | Series = 1000.0,
        pue: float | list[float] | Series = 1.2,
        rtt_ms: float | None = 15.0,
        samples: int = 100,
        province: str = "",
        lifecycle: NodeLifecycle = NodeLifecycle.READY,
        **site: Any,
    ) -> "World":
        """A site with equal nodes, ``{name}-0`` and so on; called again, it gets more nodes."""
        first = sum(node.cluster == name for node in self.nodes)
        for n in range(first, first + nodes):
            self.nodes.append(
                Node(
                    id=f"{name}-{n}",
                    cluster=name,
                    head=n == 0,
                    accelerator=model,
                    gpus=gpus,
                    cpus=cpus,
                    memory_gb=memory_gb,
                    gpu_power_kw=0.5,
                    cpu_power_kw=0.01,
                    lifecycle=lifecycle,
                )
            )
        rtt = (
            {}
            if rtt_ms is None
            else {region: Rtt(region, rtt_ms, rtt_ms, rtt_ms, 0.0, samples) for region in REGIONS}
        )
        made = Site(
            cluster=name,
            province=province or f"{name}-province",
            price_yuan_per_kwh=series(price),
            green_supply_kw=series(green_kw),
            pue=series(pue),
            grid_carbon_g_per_kwh=series(carbon_g) if isinstance(carbon_g, list) else carbon_g,
            rtt=rtt,
            **site,
        )
        self.sites.setdefault(name, made)
        return self

    def job(self, name: str, *, count: int = 1, done_minutes: float = 0.0, **spec: Any) -> "World":
        """Pending jobs ``{name}`` (or ``{name}-0`` …), submitted at noon; see ``spec_of``."""
        for n in range(count):
            job_id = name if count == 1 else f"{name}-{n}"
            self.jobs.append(
                PendingJob(
                    id=job_id,
                    spec=spec_of(**spec),
                    submitted_at=NOON,
                    done_s=done_minutes * 60,
                )
            )
        return self

    def busy(
        self,
        *nodes: str,
        minutes: float = 60.0,
        ran_minutes: float = 60.0,
        name: str = "",
        state: JobState = JobState.RUNNING,
        **spec: Any,
    ) -> "World":
        """A running attempt with one worker on each node, started ``ran_minutes`` before noon;
        ``minutes`` from noon it should end.
        """
        at = {node.id: node for node in self.nodes}
        job_id = name or f"running-{len(self.running)}"
        whole = {"minutes": max(minutes + ran_minutes, 1.0)}
        self.running.append(
            RunningAttempt(
                attempt_id=f"{job_id}-1",
                job_id=job_id,
                spec=spec_of(workers=len(nodes), **{**whole, **spec}),
                cluster=at[nodes[0]].cluster,
                accelerator=at[nodes[0]].accelerator,
                nodes=nodes,
                started_at=NOON - timedelta(minutes=ran_minutes),
                expected_end_at=NOON + timedelta(minutes=minutes),
                state=state,
            )
        )
        return self

    def closed(self, cluster: str, from_minutes: float, to_minutes: float, **what: Any) -> "World":
        """Declares maintenance, in minutes from noon."""
        declared = Maintenance(
            cluster=cluster,
            from_at=NOON + timedelta(minutes=from_minutes),
            to_at=NOON + timedelta(minutes=to_minutes),
            why="transformer",
            **what,
        )
        self.rules = replace(self.rules, maintenance=(*self.rules.maintenance, declared))
        return self

    def snapshot(self) -> Snapshot:
        """What the planner sees of it."""
        return Snapshot(
            now_at=self.now_at,
            slot_s=self.slot_s,
            slots=self.slots,
            jobs=tuple(self.jobs),
            running=tuple(self.running),
            nodes=tuple(self.nodes),
            sites=self.sites,
            regions=REGIONS,
            claims=tuple(self.claims),
            previous=dict(self.previous),
            rules=self.rules,
        )

    def plan(self, budget: Budget | None = None, **options: Any) -> "Planned":
        """Plans, and has the checker look at the plan."""
        snapshot = self.snapshot()
        made = plan(snapshot, budget, **{"policies": POLICIES, **options})
        assert check(snapshot, made) == []
        assert made.bound_yuan <= made.objective_yuan
        return Planned(made)


@dataclass(frozen=True)
class Planned:
    """A legal plan, with questions to ask of it."""

    plan: Plan

    def of(self, job_id: str) -> Placement | None:
        return next((p for p in self.plan.placements if p.job_id == job_id), None)

    def placed(self, job_id: str) -> Placement:
        placement = self.of(job_id)
        assert placement is not None, self.why(job_id).reason
        return placement

    def why(self, job_id: str) -> Explanation:
        return next(e for e in self.plan.explanations if e.job_id == job_id)

    def stopped(self, kind: InterruptionKind) -> dict[str, Interruption]:
        """What is to be stopped so, by job."""
        return {i.job_id: i for i in self.plan.interruptions if i.kind is kind}

    def where(self) -> dict[str, str]:
        """``{job: "cluster HH:MM"}`` of all that have a place."""
        return {p.job_id: f"{p.cluster} {p.start_at:%H:%M}" for p in self.plan.placements}


def spec_of(
    *,
    minutes: float = 60.0,
    gpus: int = 1,
    workers: int = 1,
    cpus: float = 1.0,
    memory_gb: float = 1.0,
    models: dict[str, float] | None = None,
    region: str = "shanghai",
    tenant: str = "tenant",
    delay_minutes: float = 0.0,
    deadline_minutes: float | None = None,
    earliest_minutes: float | None = None,
    **rest: Any,
) -> JobSpec:
    """A spec; times in minutes from noon."""
    return JobSpec(
        name="job",
        tenant=tenant,
        region=region,
        work=Command(("true",)),
        expected_duration_s=minutes * 60,
        workers=workers,
        per_worker=WorkerShape(gpus, cpus, memory_gb),
        accelerators=tuple(AcceleratorOption(m, s) for m, s in (models or {}).items()),
        max_delay_s=delay_minutes * 60,
        deadline_at=_after_noon(deadline_minutes),
        earliest_start_at=_after_noon(earliest_minutes),
        **rest,
    )


def _after_noon(minutes: float | None) -> datetime | None:
    return None if minutes is None else NOON + timedelta(minutes=minutes)


def link(peer: str, gbps: float = 10.0, yuan_per_gb: float = 0.01) -> Link:
    return Link(peer, gbps, yuan_per_gb)
