"""What a plan has left of the one before."""

from datetime import timedelta

import pytest

from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PlannedStart
from scheduler.planner.stability import Changed, changed
from tests.fakes.jobs import NOW

HOUR = timedelta(hours=1)
PLANNED = {"j": PlannedStart("qingyang", "A800", NOW + HOUR)}


def placement(job_id: str = "j", **changes: object) -> Placement:
    made: dict[str, object] = {
        "job_id": job_id,
        "cluster": "qingyang",
        "accelerator": "A800",
        "start_at": NOW + HOUR,
        "end_at": NOW + 2 * HOUR,
        "now": False,
        "nodes": (),
        "energy_kwh": 1.0,
        "green_kwh": 0.0,
        "green_held_kw": 0.0,
        "cost_yuan": 0.4,
        "carbon_kg": 0.5,
    }
    return Placement(**{**made, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("placements", "found"),
    [
        ([placement()], Changed(1, 0, 0)),
        ([placement(cluster="zhongwei")], Changed(1, 1, 0)),
        ([placement(accelerator="H800")], Changed(1, 1, 0)),
        ([placement(start_at=NOW + HOUR / 4)], Changed(1, 1, 0)),
        ([], Changed(1, 1, 0)),
        ([placement(start_at=NOW, now=True, nodes=("qy-1",))], Changed(1, 0, 1)),
        ([placement(), placement("new", cluster="zhongwei")], Changed(1, 0, 0)),
    ],
    ids=["stands", "elsewhere", "on another model", "at another time", "given up", "now", "new"],
)
def test_what_became_of_a_start_planned_for_later(
    placements: list[Placement], found: Changed
) -> None:
    assert changed(PLANNED, NOW, placements) == found


def test_a_start_whose_time_has_passed_was_no_promise_to_keep() -> None:
    assert changed(PLANNED, NOW + 2 * HOUR, []) == Changed(0, 0, 0)
    assert changed(PLANNED, NOW + HOUR, []) == Changed(1, 1, 0)


def test_the_share_is_of_all_that_lay_ahead() -> None:
    previous = {str(n): PlannedStart("qingyang", "A800", NOW + HOUR) for n in range(4)}
    placements = [
        placement("0"),
        placement("1", start_at=NOW, now=True, nodes=("qy-1",)),
        placement("2", cluster="zhongwei"),
    ]
    assert changed(previous, NOW, placements).moved_share == 0.5
    assert changed({}, NOW, placements).moved_share == 0.0
