"""The checker objects to every way in which a legal plan can be spoilt."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from policies import latency
from scheduler import checker
from scheduler.checker import check
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import DataInput
from scheduler.planner.pipeline import plan
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import Snapshot
from tests.scenario.world import NOON, World, link


def _snapshot() -> Snapshot:
    world = World().hub("qingyang", nodes=2, province="gansu", links=(link("shanghai", 1.0),))
    world.hub("horinger", model="910B", rtt_ms=40).hub("zhongwei", reachable=False)
    world.busy("qingyang-0", gpus=4, minutes=60)
    world.job("near", gpus=8, max_rtt_ms=20, must_be_in=("gansu",), deadline_minutes=90)
    world.job("green", gpus=2, workers=2, min_green_share=0.5, models={"A800": 1.0})
    world.job("data", data=(DataInput(10.0, "shanghai"),), must_not_be_in=("horinger",))
    return world.snapshot()


def _spoil(job_id: str, **changes: object) -> Callable[[Plan], Plan]:
    def spoil(made: Plan) -> Plan:
        placements = tuple(
            p._replace(**changes) if p.job_id == job_id else p  # type: ignore[arg-type]
            for p in made.placements
        )
        return replace(made, placements=placements)

    return spoil


def _of(made: Plan, job_id: str) -> Placement:
    return next(p for p in made.placements if p.job_id == job_id)


def _twice(made: Plan) -> Plan:
    return replace(made, placements=(*made.placements, made.placements[0]))


def _stranger(made: Plan) -> Plan:
    return replace(made, placements=(*made.placements, made.placements[0]._replace(job_id="x")))


def _untold(made: Plan) -> Plan:
    return replace(made, explanations=made.explanations[1:])


def _mistold(made: Plan) -> Plan:
    first = replace(made.explanations[0], outcome=Outcome.UNPLACED)
    return replace(made, explanations=(first, *made.explanations[1:]))


def _overbound(made: Plan) -> Plan:
    return replace(made, bound_yuan=made.objective_yuan + 1)


HOUR = timedelta(hours=1)
SPOILT: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "twice": (_twice, "placed 2 times"),
    "stranger": (_stranger, "not pending"),
    "untold": (_untold, "not explained"),
    "mistold": (_mistold, "is explained as"),
    "overbound": (_overbound, "exceeds the objective"),
    "unknown cluster": (_spoil("near", cluster="atlantis"), "not a known cluster"),
    "silent cluster": (_spoil("near", cluster="zhongwei"), "not reachable"),
    "too far": (_spoil("near", cluster="horinger", accelerator="910B"), "40 ms"),
    "wrong place": (_spoil("near", cluster="horinger", accelerator="910B"), "must be in"),
    "excluded place": (_spoil("data", cluster="horinger", accelerator="910B"), "must not be in"),
    "no such pool": (_spoil("near", accelerator="910B"), "no ready node"),
    "not accepted": (_spoil("green", cluster="horinger", accelerator="910B"), "does not accept"),
    "past": (_spoil("near", start_at=NOON - HOUR, end_at=NOON), "before now"),
    "late": (_spoil("near", start_at=NOON + HOUR, end_at=NOON + 2 * HOUR), "after its deadline"),
    "beyond": (_spoil("data", start_at=NOON + 9 * HOUR), "after the horizon"),
    "short": (_spoil("near", end_at=NOON + HOUR / 2), "needs 3600.0 s"),
    "not now": (_spoil("near", now=False), "now is False"),
    "gang split": (_spoil("green", nodes=("qingyang-0",)), "1 nodes for 2 workers"),
    "foreign node": (_spoil("near", nodes=("horinger-0",)), "not a ready node"),
    "busy node": (_spoil("near", nodes=("qingyang-0",)), "given away now"),
    "grey": (_spoil("green", green_kwh=0.1), "green kWh <"),
    "too green": (_spoil("near", green_kwh=1e6), "green of"),
    "unheld": (_spoil("green", green_held_kw=0.0), "holds 0.0 kW"),
    "free energy": (_spoil("near", energy_kwh=0.0, green_kwh=0.0), "less than"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_plan_is_refused(name: str) -> None:
    snapshot, (spoil, complaint) = _snapshot(), SPOILT[name]
    made = plan(snapshot)
    assert check(snapshot, made) == []
    assert len(made.placements) == 3
    assert any(complaint in violation for violation in check(snapshot, spoil(made)))


def test_sums_over_pools_power_green_and_links() -> None:
    """The plan stays, the world shrinks."""
    snapshot = _snapshot()
    made = plan(snapshot)
    site = snapshot.sites["qingyang"]

    def shrunk(**changes: object) -> list[str]:
        sites = {**snapshot.sites, "qingyang": replace(site, **changes)}  # type: ignore[arg-type]
        return check(replace(snapshot, sites=sites), made)

    dark = replace(site.green_supply_kw, values=(0.5,))
    assert any("of green held" in v for v in shrunk(green_supply_kw=dark))
    assert any("green kWh promised" in v for v in shrunk(green_supply_kw=dark))
    assert any("power cap" in v for v in shrunk(power_cap_kw=5.0))
    # The link is slower, the run is planned with the time it takes: too much for one slot.
    crowd = World().hub("qingyang", links=(link("shanghai", 1.0),))
    crowd.job("a", minutes=1, data=(DataInput(100.0, "shanghai"),))
    alone = plan(crowd.snapshot())
    crowd.job("b", minutes=1, data=(DataInput(100.0, "shanghai"),))
    both = plan(crowd.snapshot())
    first = alone.placements[0]
    moved = tuple(first._replace(job_id=p.job_id) for p in both.placements)
    found = check(crowd.snapshot(), replace(both, placements=moved))
    assert any(v.startswith("link shanghai-qingyang") for v in found)


def test_later_slots_are_counted_too() -> None:
    world = World().hub("qingyang", gpus=2).job("job", count=2, gpus=2, earliest_minutes=30)
    made = plan(world.snapshot())
    first = min(made.placements, key=lambda p: p.start_at)
    moved = tuple(first._replace(job_id=p.job_id) for p in made.placements)
    found = check(world.snapshot(), replace(made, placements=moved))
    assert any("4.0 accelerators > 2" in violation for violation in found)


def test_both_ask_for_as_many_samples() -> None:
    assert checker.RTT_SAMPLES_MIN == latency.SAMPLES_MIN
