"""Series whose sources have told nothing new for long: green is not promised, prices are marked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents import wire
from scheduler.domain.fleet import Site
from scheduler.domain.series import Quantile, Series
from scheduler.rpc import convert_nodes
from scheduler.state.fleet import Fleet
from tests.fakes.clock import ManualClock
from tests.unit.fleet.test_fleet import NODE, SHANGHAI, identity, site
from westward.v1 import node_pb2

READ_AT = datetime(2026, 6, 1, tzinfo=UTC)
HOUR_S = 3600.0


class Hub:
    """One site whose series were read at READ_AT, seen some time later."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.real_at = READ_AT
        self._fleet = Fleet(
            self.clock, {"shanghai": SHANGHAI}, 5.0, series_trusted_s=36 * HOUR_S, real_now=self.now
        )
        self._fleet.connect(identity())
        self._fleet.report_node("qy-1", NODE)

    def now(self) -> datetime:
        return self.real_at

    def read(self, *values: float, **told: Any) -> Series:
        """Steps of 12 h from the present on."""
        return Series(self.clock.now(), 12 * HOUR_S, values, "test", read_at=READ_AT, **told)

    def after(self, hours: float, *, steps: float | None = None, **told: Any) -> Site:
        """``steps``, in hours: how far the power clock goes meanwhile, if not as far."""
        assert not self._fleet.report_site("qy-1", site(**told))
        self.real_at = READ_AT + timedelta(hours=hours)
        self.clock.pass_s((hours if steps is None else steps) * HOUR_S)
        return self._fleet.sites()["qingyang"]


@pytest.fixture
def hub() -> Hub:
    return Hub()


def test_green_supply_that_is_too_old_is_none_but_what_was_measured(hub: Hub) -> None:
    sure = (Quantile(0.1, (4.0, 3.0, 3.0)), Quantile(0.9, (4.0, 9.0, 9.0)))
    green = hub.read(4.0, 5.0, 5.0, measured=1, quantiles=sure, trouble="answers 503")
    fresh = hub.after(35.9, steps=0, green_supply_kw=green).green_supply_kw
    assert (fresh.values, fresh.doubt) == (green.values, "")
    old = hub.after(36.1, steps=0, green_supply_kw=green).green_supply_kw
    assert old.values == (4.0, 0.0, 0.0)
    assert [one.values for one in old.quantiles] == [(4.0, 0.0, 0.0)] * 2
    assert old.doubt == (
        "nothing of it is promised: its source has told nothing new for over 36 h (answers 503)"
    )


def test_green_supply_does_not_outlive_its_forecast(hub: Hub) -> None:
    """Its last value would hold for ever: that is how a series is read beyond its end."""
    green = replace(hub.read(5.0, 5.0), read_at=None, standing=True, trouble="no such file")
    assert hub.after(23, green_supply_kw=green).green_supply_kw is green
    ended = hub.after(2, green_supply_kw=green).green_supply_kw
    assert ended.at(hub.clock.now()) == 0.0
    assert ended.doubt == "nothing of it is promised: it has ended (no such file)"
    single = replace(green, values=(5.0,), standing=False, measured=1)
    told = hub.after(13, green_supply_kw=single).green_supply_kw
    assert told.at(hub.clock.now()) == 0.0, "a value measured 13 h ago, of 12 h"


def test_prices_stay_as_they_were_last_told_and_are_marked(hub: Hub) -> None:
    price = hub.read(0.3, 0.5)
    carbon = replace(price, values=(400.0, 500.0))
    seen = hub.after(37, price_yuan_per_kwh=price, grid_carbon_g_per_kwh=carbon)
    assert seen.price_yuan_per_kwh.values == price.values
    assert seen.price_yuan_per_kwh.at(hub.clock.now()) == 0.5
    for series in (seen.price_yuan_per_kwh, seen.grid_carbon_g_per_kwh):
        assert isinstance(series, Series)
        assert series.doubt == "its source has told nothing new for over 36 h"


def test_tables_and_constants_do_not_age(hub: Hub) -> None:
    year_h = 366 * 24.0
    typical_day = hub.read(4.0, 5.0, standing=True)
    declared = replace(hub.read(1.15), read_at=None)
    seen = hub.after(year_h, steps=0, green_supply_kw=typical_day, pue=declared)
    assert (seen.green_supply_kw, seen.pue) == (typical_day, declared)


@pytest.mark.parametrize(("said", "supply"), [(None, 5.0), (False, 0.0), (True, 5.0)])
def test_what_an_older_agent_does_not_call_standing_does_not_age(
    hub: Hub, said: bool | None, supply: float
) -> None:
    told = wire.series(replace(hub.read(4.0, 5.0), standing=said))
    assert told.HasField("standing") is (said is not None)
    facts = convert_nodes.site_facts(node_pb2.SiteFacts(green_supply_kw=told))
    old = hub.after(37, steps=13, green_supply_kw=facts["green_supply_kw"]).green_supply_kw
    assert old.at(hub.clock.now()) == supply
    hub.clock.pass_s(12 * HOUR_S)
    ended = hub.after(37, steps=0, green_supply_kw=facts["green_supply_kw"]).green_supply_kw
    assert ended.at(hub.clock.now()) == 0.0, "of no agent does it outlive its end"
