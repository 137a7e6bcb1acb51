"""A new rule is one policy in the list: it forbids, costs and couples, and is explained."""

import numpy as np

from policies.base import PairFilter, Policy, Rows
from policies.registry import POLICIES
from policies.scene import Bools, Floats, Pairs, Scene
from scheduler.domain.reason import ReasonCode
from tests.scenario.world import World


def _not_in_zhongwei(scene: Scene) -> Bools:
    return scene.judge(
        lambda spec: spec.name, lambda spec: [p.cluster != "zhongwei" for p in scene.pools]
    )


def _toll(scene: Scene, pairs: Pairs) -> Floats:
    pays = np.array([pool.cluster == "qingyang" for pool in scene.pools])[pairs.pool]
    return np.where(pays, 100.0, 0.0)


def _one_at_a_time(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    return (
        Rows(
            name="gate",
            code=ReasonCode.CAPACITY,
            unit="job",
            groups=("everywhere",),
            of_class=np.ones((len(scene.classes), 1)),
            of_pool=np.ones((len(scene.pools), 1)),
            group_of_pool=np.zeros(len(scene.pools), dtype=np.int64),
            profile=np.ones((1, scene.axis)),
            capacity=np.ones((1, scene.axis)),
        ),
    )


GATE = Policy(
    name="gate",
    pair_filters=(
        PairFilter(ReasonCode.RESIDENCY, _not_in_zhongwei, lambda *_: "Zhongwei is closed today."),
    ),
    pair_yuan=_toll,
    rows=_one_at_a_time,
)


def test_a_new_rule_needs_nothing_but_itself() -> None:
    world = World().hub("qingyang").hub("horinger").hub("zhongwei", price=0.01)
    planned = world.job("job", count=2, minutes=15).plan(policies=(*POLICIES, GATE))
    assert sorted(planned.where().values()) == ["horinger 12:00", "horinger 12:15"]
    second = next(e for e in planned.plan.explanations if "12:15" in e.reason.message)
    told = {c.cluster: c for c in second.candidates}
    assert told["zhongwei"].reason.message == "Zhongwei is closed today."
    assert dict(told["qingyang"].terms)["gate"] == 100.0
    assert second.binding[0].name == "gate/everywhere/2026-11-20T12:00"


def test_names_are_unique() -> None:
    names = [policy.name for policy in POLICIES]
    assert len(names) == len(set(names))


def _one_per_tenant(scene: Scene, _: Pairs) -> tuple[Rows, ...]:
    return (
        Rows(
            name="purse",
            code=ReasonCode.CAPACITY,
            unit="job",
            groups=("all tenants",),
            of_class=np.ones((len(scene.classes), 1)),
            of_pool=np.ones((len(scene.pools), 1)),
            group_of_class=np.zeros(len(scene.classes), dtype=np.int64),
            profile=np.ones((1, scene.axis)),
            capacity=np.ones((1, scene.axis)),
        ),
    )


def test_a_rule_may_couple_classes_wherever_they_run() -> None:
    world = World().hub("qingyang").hub("horinger").job("job", count=3, minutes=15)
    purse = Policy(name="purse", rows=_one_per_tenant)
    planned = world.plan(policies=(*POLICIES, purse))
    starts = sorted(place.split()[1] for place in planned.where().values())
    assert starts == ["12:00", "12:15", "12:30"]
    told = {e.reason.message for e in planned.plan.explanations}
    assert any("Purse at all tenants: 1 > 0 job left" in message for message in told)
