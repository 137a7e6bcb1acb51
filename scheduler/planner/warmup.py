"""Compiles the planner's loops before the first round needs them: ``python -m`` this, once."""

from datetime import UTC, datetime

import numpy as np

from policies.registry import POLICIES
from policies.weights import Weights
from scheduler.domain.fleet import Link, Node, Site
from scheduler.domain.job import Command, DataInput, JobSpec, WorkerShape
from scheduler.domain.series import constant
from scheduler.planner.budget import Budget
from scheduler.planner.candidates import find_candidates
from scheduler.planner.duals import Market
from scheduler.planner.kernels.loads import rents
from scheduler.planner.kernels.placing import worths
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.kernels.split_pairs import (
    best_split,
    energies_yuan,
    floors,
    lay_out,
    split_least,
)
from scheduler.planner.kernels.splits import go_or_pause, room_for_runs
from scheduler.planner.model import Model, build_model
from scheduler.planner.pipeline import plan
from scheduler.planner.places import Choice, Residual, nowhere
from scheduler.planner.scene import build_scene
from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.planner.splits import stops_of
from scheduler.planner.way import make_way

_AT = datetime.fromtimestamp(0, UTC)


def warm_up() -> None:
    """Plans a little of everything, and calls what a plan seldom needs."""
    snapshot = _example()
    for budget in (Budget(), Budget(exact_options=1, explained=0)):
        plan(snapshot, budget)
    scene = build_scene(snapshot, Weights())
    model = build_model(scene, find_candidates(scene, POLICIES))
    market = Market(model)
    choice = Choice(int(market.free.pair[0]), int(market.free.slot[0]))
    pair, slot = np.array([choice.pair]), np.array([choice.slot])
    rents(model.problem, np.zeros(model.problem.capacity.shape), pair, slot)
    residual = Residual(model)
    residual.place(choice)
    residual.fits(choice)
    residual.cost_yuan(choice)
    residual.best(0)
    make_way(model, market.first_prices(), nowhere(model), np.zeros(1, dtype=np.int64), np.ones(6))
    _split(model, residual)


def _split(model: Model, residual: Residual) -> None:
    """What only jobs in several runs need."""
    problem, stops = model.problem, stops_of(model)
    sums = sums_at(problem, np.zeros(problem.capacity.shape))
    room, none = room_for_runs(problem, sums, stops), np.zeros(0, dtype=np.int64)
    energies_yuan(problem, none, none)
    worths(problem, residual.left, none, none)
    floors(problem, sums, stops, room, none, np.zeros(0))
    split_least(problem, sums, stops, room, none, np.zeros(0), 0, np.zeros(0))
    best_split(problem, sums, stops, room, residual.left, 0, 0.0, 1)
    lay_out(problem, sums, residual.left, 0, True, room)
    go_or_pause(problem, stops, 0, 2.0, 1.0, room)


def _example() -> Snapshot:
    """Six jobs, some with data, for a site whose accelerators and green supply are short."""
    node = Node(
        id="node",
        cluster="west",
        head=True,
        accelerator="A800",
        gpus=2,
        cpus=16.0,
        memory_gb=64.0,
        gpu_power_kw=0.5,
        cpu_power_kw=0.01,
    )
    site = Site(
        cluster="west",
        province="",
        price_yuan_per_kwh=constant(0.4, _AT),
        green_supply_kw=constant(0.3, _AT),
        pue=constant(1.2, _AT),
        grid_carbon_g_per_kwh=500.0,
        power_cap_kw=10.0,
        links=(Link("east", 1.0, 0.01),),
    )
    jobs = tuple(
        PendingJob(id=f"job{n}", spec=_spec(n), submitted_at=_AT, done_s=10.0 * (n % 2))
        for n in range(6)
    )
    return Snapshot(
        now_at=_AT,
        slot_s=900.0,
        slots=8,
        jobs=jobs,
        running=(),
        nodes=(node,),
        sites={"west": site},
        regions={},
    )


def _spec(n: int) -> JobSpec:
    return JobSpec(
        name="example",
        tenant="",
        region="east",
        work=Command(("true",)),
        expected_duration_s=600.0 + 500.0 * n,
        per_worker=WorkerShape(gpus=n % 3, cpus=1.0, memory_gb=1.0),
        max_delay_s=1800.0,
        min_green_share=0.1 if n == 1 else None,
        data=(DataInput(10.0, "east"),) if n == 2 else (),
    )


if __name__ == "__main__":
    warm_up()
