"""Reports are believed field by field, and age."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.fleet import Link, NodeLifecycle, Region, Rtt
from scheduler.domain.series import Quantile, Series
from scheduler.state.fleet import FORGET_EVERY_S, Fleet
from scheduler.state.known import Identity, IdentityTakenError
from tests.fakes.clock import ManualClock

START_AT = datetime(2026, 6, 18, 2, 30, tzinfo=UTC)
SHANGHAI = Region(
    name="shanghai", gateway="", price_yuan_per_kwh=0.7, pue=1.4, grid_carbon_g_per_kwh=585
)
NODE = {
    "accelerator": "A800",
    "gpus": 8,
    "cpus": 64.0,
    "memory_gb": 512.0,
    "gpu_power_kw": 0.6,
    "cpu_power_kw": 0.01,
    "cpu_load": 0.1,
}


def series(*values: float) -> Series:
    return Series(START_AT, 900.0, values, "test")


def site(**other: Any) -> dict[str, Any]:
    told = {
        "province": "Gansu",
        "price_yuan_per_kwh": series(0.4),
        "green_supply_kw": series(10.0),
        "pue": series(1.15),
        "grid_carbon_g_per_kwh": 477.0,
        "power_cap_kw": None,
        "links": (),
    }
    return {**told, **other}


def identity(node_id: str = "qy-1", *, incarnation: str = "a", head: bool = True) -> Identity:
    return Identity(
        node_id=node_id, cluster="qingyang", head=head, agent_version="1", incarnation=incarnation
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fleet(clock: ManualClock) -> Fleet:
    fleet = Fleet(clock, {"shanghai": SHANGHAI}, report_interval_s=5.0)
    fleet.connect(identity())
    fleet.report_node("qy-1", NODE)
    fleet.report_site("qy-1", site())
    return fleet


def test_a_reported_cluster_is_known_and_reachable(fleet: Fleet) -> None:
    (node,) = fleet.nodes()
    assert (node.gpus, node.lifecycle) == (8, NodeLifecycle.READY)
    assert fleet.sites()["qingyang"].reachable
    assert fleet.place_names() == {"qingyang", "Gansu"}


def test_absurd_fields_are_refused_one_by_one_and_the_rest_counts(fleet: Fleet) -> None:
    refused = fleet.report_node("qy-1", {**NODE, "gpus": 900, "cpus": 32.0})
    assert [(r.field, r.value) for r in refused] == [("gpus", "900")]
    (node,) = fleet.nodes()
    assert (node.gpus, node.cpus) == (8, 32.0)
    refused = fleet.report_site("qy-1", site(price_yuan_per_kwh=series(0.4, -3.0), pue=series(1.3)))
    assert refused[0].field == "price_yuan_per_kwh[1]"
    assert "yuan/kWh" in refused[0].reason
    known = fleet.sites()["qingyang"]
    assert known.price_yuan_per_kwh.values == (0.4,)
    assert known.pue.values == (1.3,)


def test_a_refusal_is_shown_until_the_field_is_told_right(fleet: Fleet) -> None:
    fleet.report_site("qy-1", site(pue=series(0.2)))
    assert [r.field for r in fleet.node_views()[0].rejections] == ["pue[0]"]
    fleet.report_site("qy-1", site())
    assert fleet.node_views()[0].rejections == ()


def test_links_and_ways_are_judged_too(fleet: Fleet) -> None:
    refused = fleet.report_site("qy-1", site(links=(Link("shanghai", math.nan, 0.1),)))
    assert refused[0].field == "links[shanghai].bandwidth_gbps"
    measured = [
        Rtt("shanghai", 13, 15, 16, 0, 60),
        Rtt("atlantis", 13, 15, 16, 0, 60),
        Rtt("shanghai", 13, 5, 16, 0, 60),
    ]
    refused = fleet.report_rtt("qy-1", measured)
    assert [r.reason for r in refused] == ["no such region", "percentiles must not fall"]
    assert fleet.sites()["qingyang"].rtt["shanghai"].p95_ms == 15


def test_silence_makes_suspect_then_lost(fleet: Fleet, clock: ManualClock) -> None:
    clock.pass_s(16)
    assert fleet.nodes()[0].lifecycle is NodeLifecycle.SUSPECT
    assert not fleet.reachable("qingyang")
    clock.pass_s(60)
    assert fleet.nodes()[0].lifecycle is NodeLifecycle.LOST
    fleet.heard("qy-1")
    assert fleet.reachable("qingyang")


def test_a_cluster_whose_ray_is_away_is_heard_but_serves_nothing(fleet: Fleet) -> None:
    before = fleet.generation
    fleet.report_serving("qy-1", "Ray does not answer")
    assert fleet.generation > before
    assert fleet.reachable("qingyang")
    assert not fleet.serves("qingyang")
    assert fleet.sites()["qingyang"].not_serving == "Ray does not answer"
    fleet.report_serving("qy-1", "")
    assert fleet.serves("qingyang")


def test_old_measurements_of_a_way_are_forgotten(fleet: Fleet, clock: ManualClock) -> None:
    fleet.report_rtt("qy-1", [Rtt("shanghai", 13, 15, 16, 0, 60)])
    clock.pass_s(61)
    assert fleet.sites()["qingyang"].rtt == {}


def test_a_closed_stream_makes_the_cluster_unreachable_at_once(fleet: Fleet) -> None:
    known = identity("qy-2", head=True, incarnation="b")
    with pytest.raises(IdentityTakenError, match="qy-1"):
        fleet.connect(known)
    again = identity()
    fleet.connect(again)
    fleet.disconnect(identity())  # an older stream of the same node: not the one that counts
    assert fleet.reachable("qingyang")
    fleet.disconnect(again)
    assert not fleet.reachable("qingyang")


def test_two_daemons_with_one_id_are_told_apart(fleet: Fleet, clock: ManualClock) -> None:
    with pytest.raises(IdentityTakenError, match="node_id 'qy-1'"):
        fleet.connect(identity(incarnation="b"))
    clock.pass_s(16)  # the first is silent: a restarted daemon takes its place
    fleet.connect(identity(incarnation="b"))
    assert fleet.nodes()[0].gpus == 8


def test_only_the_head_speaks_for_the_cluster(fleet: Fleet) -> None:
    fleet.connect(identity("qy-2", head=False, incarnation="b"))
    assert fleet.report_site("qy-2", site())[0].field == "site"


@given(
    facts=st.dictionaries(
        st.sampled_from(sorted(NODE.keys() - {"accelerator"})),
        st.floats(allow_nan=True, allow_infinity=True),
    ),
    prices=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=5),
)
def test_whatever_is_told_what_is_believed_is_finite(
    facts: dict[str, float], prices: list[float]
) -> None:
    fleet = Fleet(ManualClock(), {}, report_interval_s=5.0)
    fleet.connect(identity())
    fleet.report_node("qy-1", facts)
    fleet.report_site("qy-1", site(price_yuan_per_kwh=series(*prices)))
    (node,) = fleet.nodes()
    for name in facts:
        assert math.isfinite(getattr(node, name))
    for known in fleet.sites().values():
        assert all(map(math.isfinite, known.price_yuan_per_kwh.values))


@pytest.mark.parametrize(
    "garbled", [{"grid_carbon_g_per_kwh": math.nan}, {"power_cap_kw": -1.0}], ids=str
)
def test_a_site_is_planned_with_only_once_all_that_it_told_is_believed(
    clock: ManualClock, garbled: dict[str, float]
) -> None:
    fleet = Fleet(clock, {}, report_interval_s=5.0)
    fleet.connect(identity())
    assert [r.field for r in fleet.report_site("qy-1", site(**garbled))] == list(garbled)
    assert fleet.sites() == {}
    assert not fleet.report_site("qy-1", site())
    assert list(fleet.sites()) == ["qingyang"]


@pytest.mark.parametrize("step_s", [0.0, -1.0, 1e-320, math.nan, math.inf])
def test_a_series_that_hardly_moves_or_flies_is_not_believed(fleet: Fleet, step_s: float) -> None:
    strange = Series(START_AT, step_s, (0.4,), "test")
    [refused] = fleet.report_site("qy-1", site(pue=strange))
    assert refused.field == "pue.step_s"


def unsure(*quantiles: Quantile) -> Series:
    return Series(START_AT, 900.0, (1.0, 2.0), "test", quantiles)


@pytest.mark.parametrize(
    ("strange", "field", "reason"),
    [
        (unsure(Quantile(0.0, (1.0, 1.0))), "pue.quantiles", "q must lie between 0 and 1"),
        (unsure(Quantile(0.5, (1.0, 1.0))), "pue.quantiles", "not be 0.5"),
        (unsure(Quantile(math.nan, (1.0, 1.0))), "pue.quantiles", "q must lie"),
        (
            unsure(Quantile(0.9, (2.0, 2.0)), Quantile(0.1, (1.0, 1.0))),
            "pue.quantiles",
            "grow from one to the next",
        ),
        (unsure(Quantile(0.1, (1.0,))), "pue.quantiles[0.1]", "has 1 values for the 2"),
        (unsure(Quantile(0.1, (1.0, 0.5))), "pue.quantiles[0.1][1]", "not within 1 to 3"),
        (unsure(Quantile(0.1, (1.0, math.inf))), "pue.quantiles[0.1][1]", "not within"),
        (unsure(Quantile(0.1, (1.0, 2.5))), "pue[1]", "quantile 0.1 is above quantile 0.5"),
        (
            unsure(Quantile(0.8, (2.0, 2.9)), Quantile(0.9, (2.0, 2.8))),
            "pue[1]",
            "quantile 0.8 is above quantile 0.9",
        ),
    ],
)
def test_quantiles_that_contradict_each_other_are_not_believed(
    fleet: Fleet, strange: Series, field: str, reason: str
) -> None:
    [refused] = fleet.report_site("qy-1", site(pue=strange))
    assert refused.field == field
    assert reason in refused.reason


def test_quantiles_and_carbon_over_time_are_believed(fleet: Fleet) -> None:
    told = unsure(Quantile(0.1, (1.0, 1.5)), Quantile(0.9, (1.0, 2.5)))
    carbon = Series(START_AT, 900.0, (800.0, 500.0), "grid")
    assert not fleet.report_site("qy-1", site(pue=told, grid_carbon_g_per_kwh=carbon))
    now = fleet.sites()["qingyang"]
    assert now.pue == told
    assert now.carbon_g_per_kwh_at(START_AT) == 800.0
    dirty = Series(START_AT, 900.0, (800.0, 5000.0), "grid")
    [refused] = fleet.report_site("qy-1", site(grid_carbon_g_per_kwh=dirty))
    assert refused.field == "grid_carbon_g_per_kwh[1]"


def test_a_node_that_moved_has_nothing_until_it_reports(fleet: Fleet, clock: ManualClock) -> None:
    clock.pass_s(16)
    moved = replace(identity(incarnation="b"), cluster="zhongwei")
    fleet.connect(moved)
    assert fleet.nodes() == ()
    fleet.report_node("qy-1", NODE)
    assert [(node.cluster, node.gpus) for node in fleet.nodes()] == [("zhongwei", 8)]


def test_only_the_newest_stream_of_a_node_speaks(fleet: Fleet) -> None:
    first, second = identity(), identity()
    fleet.connect(first)
    assert fleet.speaks(first)
    fleet.connect(second)
    assert fleet.speaks(second) and not fleet.speaks(first)


def test_a_node_that_was_away_for_long_is_forgotten(fleet: Fleet, clock: ManualClock) -> None:
    known = identity()
    fleet.connect(known)
    clock.pass_s(8 * 86400)
    fleet.connect(identity("qy-2", head=False, incarnation="b"))
    assert len(fleet.node_views()) == 2, "silent, but its stream is open"
    fleet.disconnect(known)
    clock.pass_s(FORGET_EVERY_S)
    fleet.connect(identity("qy-3", head=False, incarnation="c"))
    assert [view.node.id for view in fleet.node_views()] == ["qy-2", "qy-3"]


def test_a_node_joins_until_it_has_told_what_it_has(clock: ManualClock) -> None:
    fleet = Fleet(clock, {}, report_interval_s=5.0)
    fleet.connect(identity())
    assert [view.node.lifecycle for view in fleet.node_views()] == [NodeLifecycle.JOINING]
    assert fleet.nodes() == ()
    fleet.report_node("qy-1", NODE)
    assert [node.lifecycle for node in fleet.nodes()] == [NodeLifecycle.READY]


@pytest.mark.parametrize(("ahead_s", "told"), [(600.0, "10 min ahead"), (-600.0, "10 min behind")])
def test_a_wrong_clock_is_told_of_and_all_else_counts(
    fleet: Fleet, ahead_s: float, told: str
) -> None:
    [refused] = fleet.report_clock("qy-1", ahead_s)
    assert (refused.field, refused.value) == ("clock", told)
    assert not fleet.report_node("qy-1", {**NODE, "cpus": 32.0})
    [view] = fleet.node_views("qingyang")
    assert [r.field for r in view.rejections] == ["clock"]
    assert view.node.cpus == 32.0
    assert fleet.report_clock("qy-1", 0.3) == []
    assert fleet.node_views()[0].rejections == ()


def test_a_rival_is_shown_beside_the_node_whose_id_it_claims(
    fleet: Fleet, clock: ManualClock
) -> None:
    with pytest.raises(IdentityTakenError):
        fleet.connect(identity(incarnation="bbbbbbbbbbbb"))
    [shown] = fleet.node_views()[0].rejections
    assert (shown.field, shown.value) == ("node_id", "qy-1 of qingyang, started as bbbbbbbb")
    for _ in range(7):
        clock.pass_s(10)
        fleet.heard("qy-1")
    assert fleet.node_views()[0].rejections == (), "it has given up"


def test_views_of_one_cluster_are_those_of_its_nodes(fleet: Fleet) -> None:
    fleet.connect(replace(identity("zw-1"), cluster="zhongwei"))
    assert [view.node.id for view in fleet.node_views("qingyang")] == ["qy-1"]
    assert fleet.node_views("nowhere") == ()
