"""The synthetic instances: repeatable, and what their descriptions say."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from bench.instances import SIZES, Instance, Mode, Recipe, build
from scheduler.domain.gangs import too_big

S = SIZES["S"]
M = SIZES["M"]


def held_gpus(instance: Instance) -> Counter[str]:
    """Accelerators that running attempts hold on each node."""
    held: Counter[str] = Counter()
    for attempt in instance.snapshot.running:
        for node in attempt.nodes:
            held[node] += attempt.spec.per_worker.gpus
    return held


def asked_gpu_hours(instance: Instance) -> float:
    """At the mean speed over the models that a job accepts."""
    total = 0.0
    for job in instance.snapshot.jobs:
        speeds = [option.relative_speed for option in job.spec.accelerators]
        mean = sum(speeds) / len(speeds)
        total += job.spec.gpus * job.spec.expected_duration_s / mean / 3600
    return total


def free_gpu_hours(instance: Instance) -> float:
    """What running attempts leave of the horizon."""
    snapshot = instance.snapshot
    horizon_h = snapshot.slots * snapshot.slot_s / 3600
    free = sum(node.gpus for node in snapshot.nodes) * horizon_h
    for attempt in snapshot.running:
        left_h = (attempt.expected_end_at - snapshot.now_at) / timedelta(hours=1)
        free -= attempt.spec.gpus * min(left_h, horizon_h)
    return free


def test_a_recipe_always_gives_the_same_snapshot() -> None:
    recipe = Recipe(size=S, mode=Mode.BACKLOG)
    assert build(recipe) == build(recipe)
    assert build(recipe).snapshot != build(replace(recipe, seed=2)).snapshot


@pytest.mark.parametrize("size", ["S", "M"])
def test_an_instance_has_the_size_it_says(size: str) -> None:
    wanted = SIZES[size]
    snapshot = build(Recipe(size=wanted)).snapshot
    assert len(snapshot.jobs) == wanted.jobs == len({job.id for job in snapshot.jobs})
    assert len(snapshot.nodes) == wanted.nodes == len({node.id for node in snapshot.nodes})
    assert len(snapshot.sites) == wanted.clusters
    assert len({(n.cluster, n.accelerator) for n in snapshot.nodes}) == wanted.pools
    assert snapshot.start_at == snapshot.now_at


def test_mode_chunk_and_load_leave_the_fleet_and_what_runs_alone() -> None:
    one = build(Recipe(size=S)).snapshot
    other = build(Recipe(size=S, mode=Mode.BACKLOG, chunk=4, load=0.9)).snapshot
    assert (one.nodes, one.sites, one.running) == (other.nodes, other.sites, other.running)


@pytest.mark.parametrize("load", [0.25, 0.9])
def test_the_work_asked_for_is_the_load_times_what_is_free(load: float) -> None:
    instance = build(Recipe(size=M, load=load))
    assert asked_gpu_hours(instance) == pytest.approx(load * free_gpu_hours(instance), rel=0.02)


@pytest.mark.parametrize("chunk", [4, 8])
def test_no_gang_is_larger_than_its_share_of_the_largest_pool(chunk: int) -> None:
    snapshot = build(Recipe(size=M, chunk=chunk)).snapshot
    pools: Counter[tuple[str, str]] = Counter()
    for node in snapshot.nodes:
        pools[node.cluster, node.accelerator] += node.gpus
    most = max(job.spec.gpus for job in snapshot.jobs)
    assert most <= max(pools.values()) / chunk < 2 * most


def test_a_backlog_has_its_jobs_at_once_and_a_flow_over_time() -> None:
    flow, backlog = (build(Recipe(size=M, mode=mode)).snapshot for mode in Mode)
    assert sum(job.spec.earliest_start_at is None for job in flow.jobs) == 0
    assert sum(job.spec.earliest_start_at is None for job in backlog.jobs) == 7000
    arrivals = [job.spec.earliest_start_at for job in flow.jobs]
    last = max(at for at in arrivals if at is not None)
    assert last == flow.now_at + timedelta(hours=35)


def test_what_runs_fits_on_half_the_nodes() -> None:
    instance = build(Recipe(size=M))
    gpus = {node.id: node.gpus for node in instance.snapshot.nodes}
    held = held_gpus(instance)
    assert all(held[node] <= gpus[node] for node in held)
    assert len(held) == pytest.approx(500, abs=len(instance.snapshot.sites))
    partly = sum(held[node] < gpus[node] for node in held)
    assert partly / len(held) == pytest.approx(0.3, abs=0.06)


def test_what_draws_power_stays_under_the_caps() -> None:
    instance = build(Recipe(size=M))
    kw = {node.id: node.gpu_power_kw for node in instance.snapshot.nodes}
    for cluster, site in instance.snapshot.sites.items():
        caps_kw = instance.power_caps_kw[cluster].values
        assert site.power_cap_kw == max(caps_kw)
        running_kw = sum(
            kw[node] * attempt.spec.per_worker.gpus
            for attempt in instance.snapshot.running
            if attempt.cluster == cluster
            for node in attempt.nodes
        )
        assert running_kw * max(site.pue.values) < min(caps_kw)
    assert any(min(c.values) < max(c.values) for c in instance.power_caps_kw.values())


def test_every_job_has_a_tenant_and_a_waiting_class_and_fits_somewhere() -> None:
    instance = build(Recipe(size=S, chunk=8))
    tenants = {tenant.name for tenant in instance.tenants}
    delays_s = {klass.max_delay_s for klass in instance.waiting_classes}
    assert sum(tenant.share for tenant in instance.tenants) == pytest.approx(1.0)
    for job in instance.snapshot.jobs:
        assert job.spec.tenant in tenants
        assert job.spec.max_delay_s in delays_s
    sizes = {(j.spec.workers, j.spec.per_worker): j.spec for j in instance.snapshot.jobs}
    fitting = [too_big(spec, instance.snapshot.nodes) is None for spec in sizes.values()]
    assert sum(fitting) > 0.95 * len(fitting)


def test_equal_parts_of_specs_are_one_object() -> None:
    jobs = build(Recipe(size=M)).snapshot.jobs
    shapes = {id(job.spec.per_worker) for job in jobs}
    assert len(shapes) == len({job.spec.per_worker for job in jobs}) < 1000
    assert len({id(job.spec.accelerators) for job in jobs}) == 8
