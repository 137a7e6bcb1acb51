"""A small instance that asks for more than there is, its plan, and what the bench says of it."""

import pytest

from bench.instances import Instance, Mode, Recipe, Size, build
from bench.planner.case import measured
from bench.planner.result import Case
from scheduler.planner.pipeline import Round, plan_round
from scheduler.planner.plan import Plan

TINY = Size(name="tiny", jobs=60, nodes=12, slots=12, slot_s=3600.0, clusters=3, pools=4)
FULL = Recipe(size=TINY, mode=Mode.BACKLOG, load=1.5)


@pytest.fixture(scope="session")
def full() -> Instance:
    return build(FULL)


@pytest.fixture(scope="session")
def full_round(full: Instance) -> Round:
    return plan_round(full.snapshot)


@pytest.fixture(scope="session")
def full_plan(full_round: Round) -> Plan:
    return full_round.plan


@pytest.fixture(scope="session")
def case() -> Case:
    return measured(FULL)
