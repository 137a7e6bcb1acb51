"""Changes of the world as people write them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from scheduler.client import changes
from westward.v1 import what_if_pb2

EAST = timezone(timedelta(hours=8))
# Ten in the morning there.
NOW = datetime(2026, 11, 20, 10, 0, tzinfo=EAST)
MULTIPLY, SET, ADD = (
    what_if_pb2.OPERATION_MULTIPLY,
    what_if_pb2.OPERATION_SET,
    what_if_pb2.OPERATION_ADD,
)


@pytest.mark.parametrize(
    ("text", "cluster", "operation", "value"),
    [
        ("horinger*1.3", "horinger", MULTIPLY, 1.3),
        ("horinger=0.5", "horinger", SET, 0.5),
        ("horinger+0.1", "horinger", ADD, 0.1),
        ("horinger-.1", "horinger", ADD, -0.1),
        ("horinger-20%", "horinger", MULTIPLY, 0.8),
        ("horinger+5%", "horinger", MULTIPLY, 1.05),
        ("west-1*2", "west-1", MULTIPLY, 2.0),
        ("west-1-20%", "west-1", MULTIPLY, 0.8),
    ],
)
def test_a_price_is_read(
    text: str, cluster: str, operation: what_if_pb2.Operation.ValueType, value: float
) -> None:
    made = changes.price(text, NOW).price
    assert (made.cluster, made.operation) == (cluster, operation)
    assert made.value == pytest.approx(value)
    assert not made.HasField("from_at")


def test_a_green_supply_may_have_its_unit() -> None:
    made = changes.green("qingyang+250kW", NOW).green
    assert (made.operation, made.value) == (ADD, 250)


@pytest.mark.parametrize(
    ("hours", "begin", "end"),
    [
        ("12:00-16:00", (20, 12), (20, 16)),
        ("8:00-11:00", (20, 8), (20, 11)),  # they have begun
        ("06:00-09:00", (21, 6), (21, 9)),  # they are over
        ("22:00-06:00", (20, 22), (21, 6)),
        ("22:00-11:00", (19, 22), (20, 11)),  # they began yesterday
    ],
)
def test_hours_are_the_next_such_in_the_zone_of_the_reader(
    hours: str, begin: tuple[int, int], end: tuple[int, int]
) -> None:
    made = changes.price(f"horinger*2@{hours}", NOW).price
    for stamp, (day, hour) in ((made.from_at, begin), (made.until_at, end)):
        assert stamp.ToDatetime(UTC) == datetime(2026, 11, day, hour, tzinfo=EAST)


def test_ways_nodes_and_drains_are_read() -> None:
    way = changes.rtt("shanghai:qingyang=25.5").rtt
    assert (way.region, way.cluster, way.ms) == ("shanghai", "qingyang", 25.5)
    nodes = changes.add_nodes("zhongwei:16xA800").add_nodes
    assert (nodes.cluster, nodes.count, nodes.accelerator) == ("zhongwei", 16, "A800")
    assert changes.drain(" qingyang ").drain == "qingyang"


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        (lambda t: changes.price(t, NOW), "horinger", "'horinger' is no change; write CLUSTER and"),
        (lambda t: changes.price(t, NOW), "horinger*20%", "'%' does not go with * in"),
        (lambda t: changes.price(t, NOW), "horinger+1kW", "'kW' does not go with + in"),
        (lambda t: changes.green(t, NOW), "qingyang=1@25:00-26:00", "25:00-26:00 in "),
        (changes.rtt, "shanghai=25", "write REGION:CLUSTER=MS, shanghai:qingyang=25"),
        (changes.add_nodes, "zhongwei:A800", "write CLUSTER:COUNTxACCELERATOR, zhongwei:16xA800"),
        (changes.drain, " ", "'' names nothing; write a cluster or a node"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_fix(
    read: Callable[[str], object], text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        read(text)
