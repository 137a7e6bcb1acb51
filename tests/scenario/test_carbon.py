"""What the grid emits over time, and what that may cost."""

import pytest

from policies.weights import Weights
from tests.scenario.world import World


def test_carbon_is_counted_slot_by_slot_and_green_energy_emits_nothing() -> None:
    # 8 × 0.5 × 1.2 = 4.8 kW over two quarters of an hour; 1.2 kWh each, of which 0.6 are green.
    world = World().hub("qingyang", green_kw=2.4, carbon_g=[800.0, 400.0])
    placement = world.job("job", gpus=8, minutes=30).plan().placed("job")
    assert placement.green_kwh == pytest.approx(1.2)
    assert placement.carbon_kg == pytest.approx(0.6 * 0.8 + 0.6 * 0.4)


def test_without_a_price_of_carbon_nobody_waits_for_cleaner_hours() -> None:
    world = World().hub("qingyang", green_kw=0.0, carbon_g=[900.0] * 4 + [300.0] * 20)
    world.job("job", gpus=8, delay_minutes=240)
    assert world.plan().where() == {"job": "qingyang 12:00"}
    # 4.8 kWh × 0.6 kg × 0.1 yuan/kg against 8 GPU-hours × 0.01 yuan of waiting.
    clean = world.plan(weights=Weights(carbon_yuan_per_kg=0.1))
    assert clean.where() == {"job": "qingyang 13:00"}
    assert dict(clean.why("job").candidates[0].terms)["nongreen"] == pytest.approx(
        4.8 * (0.05 + 0.03)
    )


def test_carbon_that_is_no_number_is_taken_for_the_worst() -> None:
    world = World().hub("qingyang", green_kw=0.0, carbon_g=float("nan"))
    placement = world.job("job", gpus=8).plan().placed("job")
    assert placement.carbon_kg == pytest.approx(4.8)
