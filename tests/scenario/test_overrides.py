"""What the policy file says of single clusters and tenants."""

from dataclasses import replace

import pytest

from policies.rules import Rules
from policies.weights import Weights
from scheduler.domain.rules import ClusterRule, TenantRule, WaitingClass
from scheduler.planner.plan import InterruptionKind
from scheduler.planner.scene import build_scene
from tests.scenario.world import Planned, World


def _by(world: World, **rules: object) -> Planned:
    world.rules = replace(Rules(), **rules)  # type: ignore[arg-type]
    return world.plan()


def test_an_adder_counts_as_price() -> None:
    world = World().hub("qingyang", price=0.40).hub("horinger", price=0.41).job("job", gpus=8)
    assert _by(world).placed("job").cluster == "qingyang"
    adder = {"qingyang": ClusterRule(price_adder_yuan_per_kwh=0.02)}
    planned = _by(world, clusters=adder)
    assert planned.placed("job").cluster == "horinger"
    told = {c.cluster: dict(c.terms)["price"] for c in planned.why("job").candidates}
    assert told["qingyang"] == pytest.approx(4.8 * 0.42)


def test_a_preference_is_charged_by_the_accelerator_hour_and_told() -> None:
    world = World().hub("qingyang", price=0.40).hub("horinger", price=0.41).job("job", gpus=8)
    planned = _by(world, clusters={"horinger": ClusterRule(preference_yuan_per_gpu_hour=-0.1)})
    assert planned.placed("job").cluster == "horinger"
    [chosen, other] = planned.why("job").candidates
    assert dict(chosen.terms)["preference"] == pytest.approx(-0.8)
    assert dict(other.terms)["preference"] == 0
    assert planned.placed("job").cost_yuan == pytest.approx(4.8 * 0.41)  # no money


def test_a_cluster_has_its_own_price_of_what_is_not_green() -> None:
    world = World().hub("qingyang", price=0.40, green_kw=0).hub("horinger", price=0.42)
    world.hub("horinger", green_kw=0)
    world.sites["horinger"] = replace(
        world.sites["horinger"], green_supply_kw=world.sites["qingyang"].green_supply_kw
    )
    world.job("job", gpus=8)
    assert _by(world).placed("job").cluster == "qingyang"
    dear = {"qingyang": ClusterRule(nongreen_yuan_per_kwh=0.1)}
    assert _by(world, clusters=dear).placed("job").cluster == "horinger"


def test_a_tenant_that_values_green_goes_where_it_is_the_others_do_not() -> None:
    world = World().hub("qingyang", price=0.30, green_kw=0).hub("horinger", price=0.5)
    world.job("green", gpus=4, tenant="lab").job("any", gpus=4, tenant="firm")
    tenants = {"lab": TenantRule(nongreen_yuan_per_kwh=0.4)}
    planned = _by(world, tenants=tenants)
    assert planned.placed("green").cluster == "horinger"
    assert planned.placed("any").cluster == "qingyang"


def test_waiting_classes_replace_the_weights_of_a_tenants_jobs() -> None:
    world = World().hub("qingyang", price=[0.6] * 4 + [0.2] * 20, green_kw=1000)
    world.job("calm", gpus=4, tenant="farm", delay_minutes=120)
    world.job("eager", gpus=4, tenant="farm", delay_minutes=120, priority=10)
    classes = (
        WaitingClass(from_priority=-5, defer_yuan_per_gpu_hour=0.0, late_yuan_per_gpu_hour=1.0),
        WaitingClass(from_priority=10, defer_yuan_per_gpu_hour=1.0, late_yuan_per_gpu_hour=30.0),
    )
    planned = _by(world, tenants={"farm": TenantRule(waiting=classes)})
    assert planned.where() == {"calm": "qingyang 13:00", "eager": "qingyang 12:00"}


def test_below_its_first_class_the_weights_hold() -> None:
    rule = TenantRule(
        waiting=(
            WaitingClass(from_priority=5, defer_yuan_per_gpu_hour=0.5, late_yuan_per_gpu_hour=1.0),
        )
    )
    assert rule.waiting_of(4) is None


def test_what_moves_away_pays_for_the_cluster_it_leaves() -> None:
    world = World().hub("qingyang", price=1.0).hub("horinger", price=0.1)
    world.busy("qingyang-0", gpus=8, minutes=240, interruptible=True, checkpoint_interval_s=60.0)
    moved = _by(world).stopped(InterruptionKind.MIGRATE)
    assert len(moved) == 1
    stays = {"qingyang": ClusterRule(moving_yuan=50.0)}
    assert _by(world, clusters=stays).stopped(InterruptionKind.MIGRATE) == {}
    [move] = moved.values()
    goes = {"horinger": ClusterRule(moving_yuan=50.0)}
    [same] = _by(world, clusters=goes).stopped(InterruptionKind.MIGRATE).values()
    assert same.cost_yuan == pytest.approx(move.cost_yuan)


def test_weights_given_to_a_plan_stand_in_for_those_of_the_snapshot() -> None:
    world = World().hub("qingyang").job("job")
    world.rules = Rules(weights=Weights(carbon_yuan_per_kg=1.0))
    snapshot = world.snapshot()
    assert build_scene(snapshot).weights.carbon_yuan_per_kg == 1.0
    assert build_scene(snapshot, Weights()).weights == Weights()


@pytest.mark.parametrize("work", [{"gpus": 8}, {"gpus": 0, "cpus": 64.0}])
def test_preferences_alone_may_move_a_run(work: dict[str, float]) -> None:
    world = World().hub("qingyang").hub("horinger")
    world.busy("qingyang-0", minutes=240, interruptible=True, checkpoint_interval_s=60.0, **work)
    assert _by(world).plan.interruptions == ()
    liked = {"horinger": ClusterRule(preference_yuan_per_gpu_hour=-1.0)}
    [move] = _by(world, clusters=liked).stopped(InterruptionKind.MIGRATE).values()
    size = work["gpus"] or 64.0 / Weights().cpus_per_gpu
    assert dict(move.terms)["preference"] == pytest.approx(4 * size, rel=0.01)
    left = {"qingyang": ClusterRule(preference_yuan_per_gpu_hour=1.0)}
    assert len(_by(world, clusters=left).stopped(InterruptionKind.MIGRATE)) == 1
    both = {**liked, "qingyang": ClusterRule(preference_yuan_per_gpu_hour=-1.0)}
    assert _by(world, clusters=both).plan.interruptions == ()


def test_a_move_is_judged_with_the_adders() -> None:
    world = World().hub("qingyang", price=0.4).hub("horinger", price=0.5)
    world.busy("qingyang-0", gpus=8, minutes=240, interruptible=True, checkpoint_interval_s=60.0)
    assert _by(world).plan.interruptions == ()
    adder = {"qingyang": ClusterRule(price_adder_yuan_per_kwh=0.9)}
    [move] = _by(world, clusters=adder).stopped(InterruptionKind.MIGRATE).values()
    assert dict(move.terms)["price"] == pytest.approx(4 * 4.8 * 0.8, rel=0.01)
