"""Plans of arbitrary worlds, spoilt: the checker refuses them, and counts as a slow count does."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scheduler.checker import check
from scheduler.domain.fleet import Node, NodeLifecycle
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import Snapshot
from tests.property.slow_count import SlowCount
from tests.property.test_planner_legal import CHEAP, worlds
from tests.scenario.world import World

DAY = timedelta(days=1)
YEAR = timedelta(days=365)
UTC = "+00:00"

# Changes of a placement by what is wrong with it then, whatever the world and whatever the plan.
SPOILT: dict[str, Callable[[Placement], Placement]] = {
    "is not a known cluster": lambda p: p._replace(cluster="atlantis"),
    "has no ready node": lambda p: p._replace(accelerator="abacus"),
    "before now": lambda p: p._replace(start_at=p.start_at - DAY, end_at=p.end_at - DAY),
    "after the horizon": lambda p: p._replace(start_at=p.start_at + YEAR, end_at=p.end_at + YEAR),
    "gets": lambda p: p._replace(end_at=p.end_at + timedelta(seconds=1)),
    "now is": lambda p: p._replace(now=not p.now),
    "nodes for": lambda p: p._replace(nodes=(*p.nodes, "nowhere")),
    "is not a ready node": lambda p: p._replace(nodes=("nowhere",)),
    "green of": lambda p: p._replace(green_kwh=p.energy_kwh * 1.1 + 1),
    "nan kWh": lambda p: p._replace(energy_kwh=math.nan),
    "kWh is less than": lambda p: p._replace(energy_kwh=-1.0, green_kwh=-1.0),
    "holds nan kW": lambda p: p._replace(green_held_kw=math.nan),
}


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.sampled_from(sorted(SPOILT)), st.randoms(use_true_random=False))
def test_a_spoilt_placement_is_refused_by_name(
    world: World, complaint: str, dice: random.Random
) -> None:
    snapshot = world.snapshot()
    made = plan(snapshot, CHEAP)
    assume(made.placements)
    assert check(snapshot, made) == []
    spoilt = dice.choice(made.placements)
    rest = [SPOILT[complaint](p) if p is spoilt else p for p in made.placements]
    found = check(snapshot, replace(made, placements=tuple(rest)))
    assert any(v.startswith(f"{spoilt.job_id}: ") and complaint in v for v in found), found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), st.randoms(use_true_random=False))
def test_sums_are_those_of_a_slow_count(world: World, dice: random.Random) -> None:
    """All jobs run in one pool, at times drawn by chance."""
    snapshot = world.snapshot()
    nodes = [node for node in snapshot.nodes if node.lifecycle is NodeLifecycle.READY]
    assume(nodes and snapshot.jobs)
    placements = tuple(_anyhow(snapshot, dice.choice(nodes), dice))
    made = Plan(placements=placements, explanations=(), objective_yuan=0, bound_yuan=0, gap=0)
    slots = {str(snapshot.slot_at(slot)) for slot in range(snapshot.slots)}
    found = {told for violation in check(snapshot, made) if (told := _told(violation, slots))}
    assert found == set(SlowCount(snapshot, placements).exceeded())


def _anyhow(snapshot: Snapshot, node: Node, dice: random.Random) -> Iterator[Placement]:
    for job in snapshot.jobs:
        start_s, run_s = dice.choice([0.0, 100.0, 1000.0]), dice.choice([5.0, 900.0, 20000.0])
        start_at = snapshot.now_at + timedelta(seconds=start_s)
        yield Placement(
            job_id=job.id,
            cluster=node.cluster,
            accelerator=node.accelerator,
            start_at=start_at,
            end_at=start_at + timedelta(seconds=run_s),
            now=False,
            nodes=(),
            energy_kwh=0.0,
            green_kwh=0.0,
            green_held_kw=0.0,
            cost_yuan=0.0,
            carbon_kg=0.0,
        )


def _told(violation: str, slots: set[str]) -> str:
    """What is exceeded in one of the slots, if it is that which the checker objects to."""
    where, _, rest = violation.partition(f"{UTC}: ")
    if not rest or where.rpartition(" at ")[2] + UTC not in slots:
        return ""
    kinds = ("accelerators", "cores", "power cap", "green held", "GB")
    return f"{where}{UTC}: {next(kind for kind in kinds if kind in rest)}"
