"""Plan, then submit with the token: it is refused, or a round of that moment does what was told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.planner.snapshot import PendingJob, PlannedStart, Snapshot
from scheduler.planning.preview import Preview
from scheduler.rounds.thought import think
from scheduler.rpc.preview_token import Answer, answer_of, objection, read, written
from tests.property.test_planner_legal import CHEAP
from tests.scenario.world import World, spec_of

SPECS = st.fixed_dictionaries(
    {
        "minutes": st.sampled_from([7.0, 30.0, 95.0]),
        "gpus": st.sampled_from([1, 2, 4, 8]),
        "delay_minutes": st.sampled_from([0.0, 60.0, 300.0]),
        "priority": st.sampled_from([0, 0, 50]),
        "min_green_share": st.sampled_from([None, None, 0.5]),
        "interruptible": st.booleans(),
    }
)
PRICES = st.lists(st.sampled_from([0.1, 0.3, 0.9]), min_size=1, max_size=9)


@st.composite
def crowds(draw: st.DrawFn) -> World:
    """A few hubs, little room, some who run and some who wait."""
    world = World(slots=12)
    for name in ("qingyang", "horinger", "zhongwei")[: draw(st.integers(1, 3))]:
        world.hub(name, gpus=8, price=draw(PRICES), green_kw=draw(st.sampled_from([0.0, 2.0, 9.0])))
    for node in world.nodes:
        if draw(st.booleans()):
            spec = {"gpus": draw(st.sampled_from([2, 4])), "interruptible": draw(st.booleans())}
            world.busy(node.id, minutes=draw(st.sampled_from([5.0, 40.0])), **spec)
    for n in range(draw(st.integers(0, 4))):
        world.job(f"job{n}", count=draw(st.integers(1, 2)), **draw(SPECS))
    return world


def after_a_round(world: World) -> Snapshot:
    """What the planner sees when a round has planned those who still wait."""
    snapshot = world.snapshot()
    made = think(snapshot, CHEAP)
    previous = {
        p.job_id: PlannedStart(p.cluster, p.accelerator, p.start_at) for p in made.plan.placements
    }
    return replace(snapshot, previous=previous, prices=made.prices)


def asked(
    snapshot: Snapshot, spec: dict[str, Any], planned: PlannedStart | None = None
) -> Answer | None:
    question = Preview(((spec_of(**spec),),), on_others=False, planned=planned)
    return answer_of(question.answer(snapshot, think, CHEAP).jobs[0].placement)


def let_in(snapshot: Snapshot, spec: dict[str, Any], planned: PlannedStart) -> Snapshot:
    """The next round sees the job planned as it was told."""
    job = PendingJob(id="~", spec=spec_of(**spec), submitted_at=snapshot.now_at)
    previous = {**snapshot.previous, "~": planned}
    return replace(snapshot, jobs=(*snapshot.jobs, job), previous=previous)


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(crowds(), SPECS, st.sampled_from([0.0, 40.0, 1000.0]))
def test_a_token_never_surprises(world: World, spec: dict[str, Any], think_s: float) -> None:
    snapshot = after_a_round(world)
    answer = asked(snapshot, spec)
    if answer is None:
        return
    token = read(written(spec_of(**spec), answer, snapshot.now_at)[0])
    later = replace(snapshot, now_at=snapshot.now_at + timedelta(seconds=think_s))
    now = asked(later, spec, token.planned)
    if objection(token.told, now, later.now_at, world.slot_s):
        return
    assert now is not None
    assert now.cluster == token.told.cluster
    assert now.now or not token.told.now
    placements = think(let_in(later, spec, token.planned), CHEAP).plan.placements
    assert answer_of(next((p for p in placements if p.job_id == "~"), None)) == now
