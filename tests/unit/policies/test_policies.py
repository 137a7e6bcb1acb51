"""Each rule alone: what it forbids, with its figures, what it costs, what it couples."""

import numpy as np
import pytest

from policies import (
    capacity,
    green,
    latency,
    maintenance,
    nongreen,
    power,
    price,
    unplaced,
    waiting,
)
from policies.base import Policy
from policies.registry import POLICIES
from policies.weights import Weights, urgency
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import DataInput
from scheduler.domain.reason import ReasonCode
from scheduler.planner.block import Block
from scheduler.planner.candidates import Candidates, find_candidates
from scheduler.planner.model import Model, build_model
from scheduler.planner.scene import build_scene
from tests.scenario.world import World, link


def judged(world: World, *policies: Policy) -> Candidates:
    return find_candidates(build_scene(world.snapshot(), Weights()), policies or POLICIES)


def model_of(world: World, *policies: Policy) -> Model:
    scene = build_scene(world.snapshot(), Weights())
    return build_model(scene, find_candidates(scene, policies or POLICIES))


def refusal(world: World) -> tuple[ReasonCode, str]:
    """Why the only job may not run in the only pool."""
    model = model_of(world)
    reason = model.candidates.pair_reason(model.scene, 0, 0) or Block(model, 0).reason(0)
    return reason.code, reason.message


@pytest.mark.parametrize(
    ("hub", "job", "code", "figures"),
    [
        ({}, {"models": {"910B": 1.0}}, ReasonCode.NO_SUCH_ACCELERATOR, "accepts 910B"),
        ({"gpus": 0, "model": ""}, {}, ReasonCode.NO_SUCH_ACCELERATOR, "no accelerators"),
        ({}, {"gpus": 9}, ReasonCode.TOO_BIG, "1 × (9 accelerators"),
        ({}, {"memory_gb": 513.0}, ReasonCode.TOO_BIG, "512 GB"),
        ({"province": "gansu"}, {"must_not_be_in": ("gansu",)}, ReasonCode.RESIDENCY, "gansu"),
        ({}, {"must_be_in": ("ningxia",)}, ReasonCode.RESIDENCY, "must be in ningxia"),
        ({"rtt_ms": 31.2}, {"max_rtt_ms": 20.0}, ReasonCode.LATENCY, "31.2 ms > 20 ms"),
        ({"samples": 19}, {"max_rtt_ms": 20.0}, ReasonCode.LATENCY_UNKNOWN, "19 fresh samples"),
        ({"rtt_ms": None}, {"max_rtt_ms": 20.0}, ReasonCode.LATENCY_UNKNOWN, "0 fresh samples"),
        ({"green_kw": 0.2}, {"min_green_share": 0.5}, ReasonCode.GREEN, "0.30 kW > 0.20 kW"),
        ({}, {"deadline_minutes": 50.0}, ReasonCode.DEADLINE, "10 min after its deadline"),
        ({}, {"data": (DataInput(1.0, "mars"),)}, ReasonCode.DATA, "1 GB at mars"),
        (
            {"links": (link("mars", 0.001),)},
            {"data": (DataInput(1.0, "mars"),), "deadline_minutes": 61.0},
            ReasonCode.DATA,
            "take 8000 s",
        ),
        ({"reachable": False}, {}, ReasonCode.CLUSTER_UNREACHABLE, "silent"),
        ({"lifecycle": NodeLifecycle.LOST}, {}, ReasonCode.CLUSTER_UNREACHABLE, "0 of 1 nodes"),
        ({"power_cap_kw": 0.5}, {}, ReasonCode.POWER_CAP, "0.6 kW > 0.5 kW"),
        ({}, {"earliest_minutes": 900.0}, ReasonCode.NOT_YET, "before 2026-11-21 03:00"),
    ],
)
def test_a_rule_refuses_with_its_code_and_figures(
    hub: dict[str, object], job: dict[str, object], code: ReasonCode, figures: str
) -> None:
    got, message = refusal(World().hub("qingyang", **hub).job("job", **job))  # type: ignore[arg-type]
    assert got is code
    assert figures in message


def test_capacity_says_what_runs_and_when_it_ends() -> None:
    world = World(slots=2).hub("qingyang").busy("qingyang-0", gpus=6, minutes=40).job("job", gpus=4)
    code, message = refusal(world)
    assert code is ReasonCode.CAPACITY
    assert "0 of 1 workers fit at 12:00" in message
    assert "2 of 8 accelerators free" in message


def test_filters_count_what_they_refuse() -> None:
    world = World(slots=4).hub("qingyang", rtt_ms=30).hub("horinger", rtt_ms=5)
    world.busy("horinger-0", gpus=8, minutes=20)
    tally = judged(world.job("job", count=3, max_rtt_ms=20)).tally
    assert tally[ReasonCode.LATENCY] == 3 * 4
    assert tally[ReasonCode.CAPACITY] == 3 * 2


def test_latency_lets_jobs_without_a_limit_pass_unmeasured() -> None:
    world = World().hub("qingyang", rtt_ms=None).job("job")
    assert Block(model_of(world, latency.POLICY), 0).allowed.all()


def test_price_is_exact_across_slots_with_a_wave_of_pue() -> None:
    world = World(slots=3).hub("qingyang", price=[0.2, 0.4, 0.8, 0.1], pue=[1.0, 1.1, 1.2, 1.3])
    yuan = Block(model_of(world.job("job", minutes=25), price.POLICY), 0).cost_yuan[0]
    first = 0.5 * (15 * 0.2 * 1.0 + 10 * 0.4 * 1.1) / 60
    last = 0.5 * (15 * 0.8 * 1.2 + 10 * 0.1 * 1.3) / 60
    assert yuan[[0, 2]] == pytest.approx([first, last])


def test_waiting_is_cheap_while_allowed_and_dear_after() -> None:
    weights = Weights()
    world = World(slots=4).hub("qingyang").job("job", gpus=2, minutes=30, delay_minutes=30)
    yuan = Block(model_of(world, waiting.POLICY), 0).cost_yuan[0]
    allowed = 2 * weights.defer_yuan_per_gpu_hour
    late = 2 * (weights.late_yuan_per_gpu_hour / 4 + weights.late_yuan_per_run_gpu_hour / 2)
    assert yuan == pytest.approx([0.0, allowed / 4, allowed / 2, allowed / 2 + late])


def test_urgency_grows_with_priority_and_never_ends() -> None:
    assert urgency(0) == 1
    assert urgency(10) == 2
    assert urgency(-10) == 0.5
    assert urgency(-1000) > 0


def test_no_place_costs_more_than_any_place() -> None:
    world = (
        World().hub("qingyang", price=[0.1] * 9 + [1.9] * 9).job("job", gpus=8, delay_minutes=90)
    )
    model = model_of(world)
    assert model.unplaced_yuan[0] > Block(model, 0).cost_yuan.max()
    surcharge = judged(world, unplaced.POLICY).unplaced_yuan[0]
    assert surcharge == pytest.approx(1 + 10 * 8)


def test_capacity_rows_count_blocks_and_carry_names() -> None:
    world = World(slots=2).hub("qingyang", nodes=2).busy("qingyang-0", gpus=5, minutes=10)
    world.job("four", gpus=4).job("two", gpus=2, workers=3)
    scene = build_scene(world.snapshot(), Weights())
    rows = {r.name: r for r in find_candidates(scene, (capacity.POLICY,)).rows}
    assert rows["capacity"].capacity[0, :2].tolist() == [11, 16]
    assert rows["capacity-blocks-of-2"].capacity[0, :2].tolist() == [5, 8]  # ⌊3/2⌋ + ⌊8/2⌋
    assert rows["capacity-blocks-of-4"].capacity[0, :2].tolist() == [2, 4]
    assert rows["capacity-blocks-of-2"].of_class[:, 0].tolist() == [2, 3]
    assert rows["capacity-blocks-of-4"].of_class[:, 0].tolist() == [1, 0]
    name = scene.label("capacity", rows["capacity"].groups[0], 1)
    assert name == "capacity/qingyang/A800/2026-11-20T12:15"


def test_green_rows_leave_out_what_runs_already_holds() -> None:
    world = World(slots=2).hub("qingyang", green_kw=3.0)
    world.busy("qingyang-0", gpus=2, min_green_share=0.5, minutes=10)
    rows = judged(world.job("job", min_green_share=0.25), green.POLICY).rows[0]
    assert rows.capacity[0, :2] == pytest.approx([3.0 - 0.6, 3.0])
    assert rows.of_class[0] @ rows.of_pool[0] == pytest.approx(0.25 * 0.5)


def test_power_rows_exist_only_where_there_is_a_cap() -> None:
    world = World().hub("qingyang").hub("horinger", power_cap_kw=7.0).job("job")
    rows = judged(world, power.POLICY).rows[0]
    assert rows.group_of_pool is not None
    assert rows.group_of_pool.tolist() == [-1, 1]
    assert judged(World().hub("qingyang").job("job"), power.POLICY).rows == ()


def test_nongreen_rows_hold_what_supply_covers_beside_what_runs() -> None:
    world = World(slots=1).hub("qingyang", green_kw=3.0).busy("qingyang-0", gpus=2, minutes=10)
    rows = judged(world.job("job"), nongreen.POLICY).rows[0]
    assert rows.elastic_yuan is not None
    assert (rows.elastic_yuan == Weights().nongreen_yuan_per_kwh).all()
    assert rows.capacity[0, 0] == pytest.approx(3.0 * 0.25 - 1.2 * 10 / 60)


def test_terms_add_up_to_the_cost() -> None:
    model = model_of(World().hub("qingyang").hub("horinger").job("one").job("two", gpus=2))
    for k in range(2):
        block = Block(model, k)
        assert block.cost_yuan.shape == (2, 24)
        assert np.allclose(sum(yuan for _, yuan in block.terms), block.cost_yuan)


def test_carbon_has_a_price_that_follows_the_grid_over_time() -> None:
    world = World(slots=2).hub("qingyang", carbon_g=[800.0, 500.0]).job("job", minutes=30)
    weights = Weights(nongreen_yuan_per_kwh=0.02, carbon_yuan_per_kg=0.1)
    candidates = find_candidates(build_scene(world.snapshot(), weights), (nongreen.POLICY,))
    elastic, beyond = candidates.rows[0].elastic_yuan, candidates.costs[0].energy
    assert elastic is not None
    assert elastic[0].tolist() == pytest.approx([0.1, 0.07, 0.07, 0.07])
    assert beyond is not None
    assert beyond.beyond[0] == pytest.approx(0.07)


def test_energy_without_any_surcharge_needs_no_rows() -> None:
    snapshot = World().hub("qingyang").job("job").snapshot()
    scene = build_scene(snapshot, Weights(nongreen_yuan_per_kwh=0.0))
    assert find_candidates(scene, (nongreen.POLICY,)).rows == ()


def test_maintenance_closes_the_slots_that_it_touches() -> None:
    world = World(slots=4).hub("qingyang").job("job", minutes=15).closed("qingyang", 20, 45)
    rows = judged(world, maintenance.POLICY).rows[0]
    assert rows.capacity[0].tolist() == [np.inf, 0.0, 0.0, np.inf, np.inf]
