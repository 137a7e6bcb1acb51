"""What is remembered of a placement: the pauses of one that is only planned."""

from datetime import timedelta

import pytest

from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.job import Job, JobState
from scheduler.domain.span import Span
from scheduler.planner.plan import Placement
from scheduler.planning.values import placement_record
from scheduler.rpc.convert_placements import placement_to_pb
from tests.fakes.jobs import NOW, WHY, a_spec

HOUR = timedelta(hours=1)
PAUSE = Span(NOW + HOUR, NOW + 3 * HOUR)


@pytest.mark.parametrize(
    ("attempt_id", "runs"),
    [
        (None, [(NOW, NOW + HOUR), (NOW + 3 * HOUR, NOW + 4 * HOUR)]),
        ("j1-1", [(NOW, NOW + 4 * HOUR)]),
    ],
)
def test_pauses_are_told_until_the_first_run_starts(
    attempt_id: str | None, runs: list[tuple[object, object]]
) -> None:
    placement = Placement(
        job_id="j1", cluster="qingyang", accelerator="A800", start_at=NOW, end_at=NOW + 4 * HOUR,
        now=False, nodes=(), energy_kwh=2.0, green_kwh=1.0, green_held_kw=0.0, cost_yuan=1.0,
        carbon_kg=1.0, pauses=(PAUSE,),
    )  # fmt: skip
    explanation = Explanation(
        job_id="j1", decided_at=NOW, outcome=Outcome.PLANNED, reason=WHY, candidates=()
    )
    job = Job(
        id="j1", spec=a_spec(), state=JobState.PENDING, reason=WHY, version=1, created_at=NOW,
        updated_at=NOW,
    )  # fmt: skip
    told = placement_to_pb(job, placement_record(placement, attempt_id, explanation, 7))
    spans = [
        (r.start_at.ToDatetime(NOW.tzinfo), r.end_at.ToDatetime(NOW.tzinfo)) for r in told.runs
    ]
    assert spans == runs
