"""Way for those that are left without a place."""

import numpy as np
import pytest

from policies.registry import POLICIES
from policies.scene import Ints
from policies.weights import Weights
from scheduler.planner.candidates import find_candidates
from scheduler.planner.kernels.placing import clear_way
from scheduler.planner.model import Model, build_model
from scheduler.planner.places import Places, Residual, nowhere, objective_yuan
from scheduler.planner.scene import build_scene
from scheduler.planner.search import _tightness
from scheduler.planner.way import make_way
from tests.scenario.world import World


def model_of(world: World) -> Model:
    scene = build_scene(world.snapshot(), Weights())
    return build_model(scene, find_candidates(scene, POLICIES))


def crowd(slots: int) -> Model:
    """One node; a job that must run at once, and three of a slot each with all the time."""
    world = World(slots=slots).hub("qingyang", gpus=4)
    for n in range(3):
        world.job(f"calm{n}", gpus=4, minutes=10 + n)
    return model_of(world.job("urgent", gpus=4, minutes=14, deadline_minutes=15))


def lined_up(model: Model) -> tuple[Places, Ints]:
    """All but the urgent one, one after the other from the first slot on; and who is left out."""
    places = nowhere(model)
    urgent = int(np.argmax(_tightness(model)))
    calm = np.flatnonzero(places.klass != urgent)
    places.pair[calm] = model.problem.classes["low"][places.klass[calm]]
    places.slot[calm] = np.arange(len(calm))
    return places, np.flatnonzero(places.klass == urgent)


def way_in(model: Model, places: Places, left_out: Ints) -> Places:
    none = np.zeros(model.problem.capacity.shape)
    return make_way(model, none, places, left_out, 1 - _tightness(model))


def test_who_has_time_makes_way_for_who_has_none() -> None:
    model = crowd(slots=8)
    places, left_out = lined_up(model)
    before = places.pair.copy(), places.slot.copy()
    made = way_in(model, places, left_out)
    assert (made.pair >= 0).all()
    assert made.slot[left_out].tolist() == [0]
    moved = np.flatnonzero((made.pair != before[0]) | (made.slot != before[1]))
    assert len(moved) == 2, "the urgent one and who stood in its way"
    assert (Residual(model, made).left >= -1e-9).all()
    everybody = np.arange(len(model.jobs))
    assert objective_yuan(model, made, everybody) < objective_yuan(model, places, everybody)
    assert (places.pair == before[0]).all(), "what was given stays as it was"


def test_nobody_moves_where_there_is_no_other_place() -> None:
    model = crowd(slots=3)
    places, left_out = lined_up(model)
    made = way_in(model, places, left_out)
    assert made.pair.tolist() == places.pair.tolist()
    assert made.slot.tolist() == places.slot.tolist()


@pytest.mark.parametrize("taken_by_all", [True, False])
def test_a_way_that_cannot_be_cleared_leaves_everything_as_it_was(*, taken_by_all: bool) -> None:
    model = crowd(slots=8)
    places, left_out = lined_up(model)
    residual = Residual(model, places)
    before = residual.left.copy()
    i = int(model.problem.classes["low"][places.klass[left_out[0]]])
    placed = np.flatnonzero(places.pair >= 0)
    near = placed[places.slot[placed] == 0] if taken_by_all else placed[places.slot[placed] > 0]
    gone = np.zeros(len(near), dtype=np.int64)
    cleared = clear_way(
        model.problem, residual.left, i, 0, places.pair[near], places.slot[near], gone
    )
    assert cleared == taken_by_all
    assert gone.tolist() == [int(taken_by_all)] * len(near)
    if not cleared:
        assert residual.left == pytest.approx(before)
