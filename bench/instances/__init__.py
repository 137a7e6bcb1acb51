"""Synthetic snapshots of a nation's jobs and clusters: seeded, of every size, hard on purpose.

The same recipe always gives the same snapshot. Fleet, running attempts and jobs draw from streams
of their own: instances of one size and seed that differ in mode, chunk or load have the same
clusters, prices and attempts, and jobs that differ in nothing but that.

Distributions, with what was chosen where a public figure is missing, are told beside the code that
draws them: ``fleet`` (clusters, prices, green supply), ``running`` (what holds nodes already) and
``jobs`` (what is asked for). Prices are of the bands that western provinces publish.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

from bench.instances.fleet import Fleet, draw_fleet
from bench.instances.jobs import JobMix, Tenant, WaitingClass, draw_jobs
from bench.instances.running import draw_running, free_gpu_hours
from scheduler.domain.series import Series
from scheduler.planner.snapshot import Snapshot

# The beginning of a slot of every length: midnight of a summer's day in China.
NOW_AT = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything. ``clusters`` have one accelerator model each, and so many of them a
    second one that there are ``pools`` pools; a hub of the size L has about 220 nodes a pool.
    """

    name: str
    jobs: int
    nodes: int
    slots: int
    slot_s: float
    clusters: int
    pools: int

    @property
    def horizon_s(self) -> float:
        return self.slots * self.slot_s


SIZES = {
    size.name: size
    for size in (
        Size(name="S", jobs=1_000, nodes=100, slots=24, slot_s=3600.0, clusters=6, pools=9),
        Size(name="M", jobs=10_000, nodes=1_000, slots=48, slot_s=3600.0, clusters=12, pools=18),
        Size(name="L", jobs=100_000, nodes=10_000, slots=96, slot_s=900.0, clusters=31, pools=46),
        Size(name="XL", jobs=300_000, nodes=30_000, slots=192, slot_s=900.0, clusters=46, pools=69),
    )
}


class Mode(StrEnum):
    """When the jobs are there."""

    FLOW = "flow"  # arrivals spread over the first three quarters of the horizon
    BACKLOG = "backlog"  # 70 % of them pending at once, the rest as in a flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an instance is made of.

    Attributes:
        chunk: the largest pool divided by the largest gang; small is hard.
        load: accelerator-hours asked for, of those in the horizon that running attempts leave.
    """

    size: Size
    mode: Mode = Mode.FLOW
    chunk: int = 8
    load: float = 0.65
    seed: int = 1

    def __str__(self) -> str:
        name = f"{self.size.name} {self.mode} chunk {self.chunk} load {self.load:g}"
        return f"{name} seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A snapshot, and what belongs to it that a snapshot has no place for.

    Attributes:
        tenants: with their quota and their price of non-green energy; ``JobSpec.tenant`` names one.
        waiting_classes: what waiting costs; a job's is the one with its ``max_delay_s``.
        power_caps_kw: per cluster over time; the site's own cap is the greatest of it.
    """

    recipe: Recipe
    snapshot: Snapshot
    tenants: tuple[Tenant, ...]
    waiting_classes: tuple[WaitingClass, ...]
    power_caps_kw: dict[str, Series]


def build(recipe: Recipe) -> Instance:
    """Draws the instance of a recipe."""
    size = recipe.size
    fleet_seed, running_seed, jobs_seed = np.random.SeedSequence(
        [recipe.seed, size.jobs, size.nodes]
    ).spawn(3)
    fleet = draw_fleet(
        np.random.default_rng(fleet_seed),
        now_at=NOW_AT,
        nodes=size.nodes,
        clusters=size.clusters,
        pools=size.pools,
        horizon_s=size.horizon_s,
        slot_s=size.slot_s,
    )
    running = draw_running(np.random.default_rng(running_seed), fleet, NOW_AT)
    free = free_gpu_hours(fleet, running, NOW_AT, size.horizon_s)
    drawn = draw_jobs(
        np.random.default_rng(jobs_seed),
        JobMix(
            jobs=size.jobs,
            now_at=NOW_AT,
            horizon_s=size.horizon_s,
            slot_s=size.slot_s,
            pending_share=0.7 if recipe.mode is Mode.BACKLOG else 0.0,
            gang_most_gpus=largest_pool_gpus(fleet) // recipe.chunk,
            asked_gpu_hours=recipe.load * free,
        ),
    )
    return Instance(
        recipe=recipe,
        snapshot=Snapshot(
            now_at=NOW_AT,
            slot_s=size.slot_s,
            slots=size.slots,
            jobs=drawn.jobs,
            running=running,
            nodes=fleet.nodes,
            sites=fleet.sites,
            regions=fleet.regions,
        ),
        tenants=drawn.tenants,
        waiting_classes=drawn.waiting_classes,
        power_caps_kw=fleet.power_caps_kw,
    )


def largest_pool_gpus(fleet: Fleet) -> int:
    """Accelerators of the largest pool."""
    return max(sum(node.gpus for node in pool) for pool in fleet.pools)
