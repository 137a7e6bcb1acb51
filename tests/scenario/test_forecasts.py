"""Plans on forecasts that say how sure they are."""

from dataclasses import replace

import pytest

from policies.rules import Rules
from scheduler.checker import check
from scheduler.domain.reason import ReasonCode
from scheduler.domain.series import Quantile, Series
from scheduler.planner.pipeline import plan
from tests.scenario.world import NOON, Planned, World, unsure


def _at(q: float, world: World) -> Planned:
    world.rules = Rules(forecast_quantile=q)
    return world.plan()


def _windy() -> World:
    """Half of the 0.6 kW must be green; the wind is sure from 13:00 on."""
    supply = unsure([1.0] * 24, p10=[0.1] * 4 + [0.9] * 20, p90=[2.0] * 24)
    return World().hub("qingyang", green_kw=supply).job("job", min_green_share=0.5)


def test_by_default_the_forecast_itself_counts() -> None:
    assert _at(0.5, _windy()).where() == {"job": "qingyang 12:00"}


def test_a_cautious_plan_counts_on_supply_that_is_sure() -> None:
    planned = _at(0.9, _windy())
    assert planned.where() == {"job": "qingyang 13:00"}
    reason = planned.why("job").reason
    assert reason.code is ReasonCode.WAITING_FOR_GREEN
    assert "0.30 kW > 0.10 kW" in reason.message


def test_between_two_quantiles_lies_the_line() -> None:
    # At 1 - 0.7 = 0.3, half way between p10 and the median: 0.55 kW, enough for 0.3.
    assert _at(0.7, _windy()).placed("job").now
    # At 0.15: 0.1 + 0.9 / 8 = 0.2125 kW.
    why = _at(0.85, _windy()).why("job").reason
    assert "0.30 kW > 0.21 kW" in why.message


def test_prices_and_pue_are_taken_on_the_dear_side() -> None:
    price = unsure([0.4] * 24, p90=[0.8] * 24)
    world = World().hub("qingyang", price=price, pue=unsure([1.2] * 24, p90=[1.4] * 24))
    world.hub("horinger", price=0.5).job("job", gpus=8)
    assert _at(0.5, world).placed("job").cluster == "qingyang"
    cautious = _at(0.9, world)
    assert cautious.placed("job").cluster == "horinger"
    told = {c.cluster: dict(c.terms)["price"] for c in cautious.why("job").candidates}
    assert told["qingyang"] == pytest.approx(4.0 * 1.4 * 0.8)


def test_beyond_the_outermost_quantile_that_one_counts() -> None:
    assert _at(0.99, _windy()).where() == _at(0.9, _windy()).where()


def test_the_checker_counts_on_sure_supply_too() -> None:
    world = _windy()
    made = plan(world.snapshot())
    world.rules = replace(world.rules, forecast_quantile=0.9)
    told = check(world.snapshot(), made)
    assert "0.3 kW of green held > 0.1 kW" in told[0]


def test_what_is_old_is_said_where_it_counts() -> None:
    old = replace(unsure([0.4] * 24), doubt="its source has told nothing new for over 36 h")
    dark = replace(unsure([0.0] * 24), doubt="nothing of it is promised: it has ended")
    planned = World().hub("qingyang", price=old).job("job").plan()
    assert planned.why("job").reason.message.endswith(
        "Old figures of qingyang: price (its source has told nothing new for over 36 h)."
    )
    refused = World().hub("horinger", green_kw=dark).job("job", min_green_share=0.5).plan()
    (lost,) = refused.why("job").candidates
    assert lost.reason.code is ReasonCode.GREEN
    assert "(nothing of it is promised: it has ended)" in lost.reason.message


@pytest.mark.parametrize(
    ("q", "values"),
    [
        (0.01, (1.0, 2.0)),
        (0.1, (1.0, 2.0)),
        (0.2, (1.5, 2.25)),
        (0.5, (3.0, 3.0)),
        (0.6, (4.0, 3.5)),
        (0.7, (5.0, 4.0)),
        (0.999, (5.0, 4.0)),
    ],
)
def test_a_series_at_a_quantile(q: float, values: tuple[float, ...]) -> None:
    quantiles = (Quantile(0.1, (1.0, 2.0)), Quantile(0.7, (5.0, 4.0)))
    told = Series(NOON, 900.0, (3.0, 3.0), "", quantiles)
    assert told.at_quantile(q).values == pytest.approx(values)
    assert Series(NOON, 900.0, (3.0,)).at_quantile(q).values == (3.0,)
