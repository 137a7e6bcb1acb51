"""The bound against the exact optimum of the linear program: never above, and close below."""

import pytest

from bench.instances import Mode, Recipe, Size, build
from bench.planner.lp import lp_yuan, model_of
from bench.planner.targets import LP
from scheduler.planner.pipeline import plan

TINY = Size(name="tiny", jobs=150, nodes=16, slots=24, slot_s=3600.0, clusters=4, pools=5)


@pytest.mark.parametrize(("mode", "load"), [(Mode.FLOW, 0.65), (Mode.BACKLOG, 0.9)])
def test_the_bound_is_close_below_the_linear_program(mode: Mode, load: float) -> None:
    snapshot = build(Recipe(size=TINY, mode=mode, chunk=4, load=load, seed=1)).snapshot
    made, optimum = plan(snapshot), lp_yuan(model_of(snapshot))
    assert made.bound_yuan <= optimum * (1 + 1e-9)
    assert made.bound_yuan >= optimum * (1 - LP)
    assert made.objective_yuan >= optimum * (1 - 1e-9)


def test_the_bound_rises_to_what_overload_is_worth() -> None:
    """Three times as much work as there is room for: prices are a multiple of what energy costs."""
    crowd = Size(name="crowd", jobs=100, nodes=12, slots=12, slot_s=3600.0, clusters=2, pools=3)
    snapshot = build(Recipe(size=crowd, mode=Mode.FLOW, load=3.0, seed=1)).snapshot
    assert plan(snapshot).bound_yuan >= 0.95 * lp_yuan(model_of(snapshot))
