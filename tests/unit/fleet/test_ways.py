"""Who measures which way, and whose measurement counts."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.fleet import Rtt
from scheduler.state.probers import EACH, Probers
from scheduler.state.ways import RTT_STALE_S, Ways

REGIONS = ("beijing", "shanghai", "guangzhou", "shenzhen")


def rtt(p95_ms: float) -> Rtt:
    return Rtt("shanghai", p95_ms, p95_ms, p95_ms, 0.0, 100)


def test_one_node_alone_does_not_speak_for_its_cluster() -> None:
    ways = Ways()
    assert ways.told("a", rtt(12.0), 0.0)
    assert not ways.told("b", rtt(13.0), 0.0)
    assert ways.believed(0.0)["shanghai"].p95_ms == 12.0
    ways.told("c", rtt(900.0), 0.0)
    assert ways.believed(0.0)["shanghai"].p95_ms == 13.0
    ways.told("c", rtt(0.001), 0.0)
    assert ways.believed(0.0)["shanghai"].p95_ms == 12.0


def test_what_is_old_counts_no_longer() -> None:
    ways = Ways()
    ways.told("a", rtt(12.0), 0.0)
    ways.told("b", rtt(40.0), RTT_STALE_S)
    assert ways.believed(RTT_STALE_S)["shanghai"].p95_ms == 12.0
    assert ways.believed(RTT_STALE_S + 1)["shanghai"].p95_ms == 40.0
    assert ways.believed(2 * RTT_STALE_S + 1) == {}
    assert ways.newest_s("shanghai") == RTT_STALE_S


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_whoever_comes_and_goes_each_region_is_measured_by_enough(
    events: list[tuple[bool, int]],
) -> None:
    probers, here = Probers(REGIONS), dict[str, list[str]]()
    for comes, number in events:
        node = f"n{number}"
        if comes:
            changed = probers.join("qingyang", node) | {node}
            here.setdefault(node, [])
        elif node in here:
            changed = probers.leave("qingyang", node)
            del here[node]
        else:
            continue
        assert changed <= here.keys()
        for one in changed:
            here[one] = probers.regions_of("qingyang", one)
        for region in REGIONS:
            told = [name for name, regions in here.items() if region in regions]
            assert len(told) == min(EACH, len(here)), "those that were told are those that should"


def test_the_work_is_spread() -> None:
    probers = Probers(REGIONS)
    nodes = [f"node-{number}" for number in range(100)]
    for node in nodes:
        probers.join("qingyang", node)
    busy = [node for node in nodes if probers.regions_of("qingyang", node)]
    assert 8 <= len(busy) <= EACH * len(REGIONS)
    assert max(len(probers.regions_of("qingyang", node)) for node in nodes) <= 2
