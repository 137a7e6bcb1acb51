"""The lines of the demo at the widths that people have."""

import pytest
from rich.console import Console

from examples.demo import story
from tests.fakes import canned
from westward.v1 import job_pb2

RUNNING, *_ = canned.jobs()
STARTS = (
    "Starts now at qingyang/A800: 0.575 kWh at 0.360 yuan/kWh, 100% green, 27.0 ms (p95) to "
    "shenzhen. 0.21 yuan in all, 0.04 yuan less than zhongwei/A800, the next best."
)


def told(columns: int, state: job_pb2.JobState.ValueType, message: str) -> str:
    console = Console(width=columns, color_system=None, highlight=False)
    job = job_pb2.Job(state=state, reason=canned.reason("CHOSEN", message))
    job.spec.name, job.updated_at.seconds = "nightly-evaluation", 3600
    job.attempts.extend(RUNNING.attempts)
    with console.capture() as captured:
        story.transition(console, job_pb2.WatchResponse(job=job))
    return captured.get().rstrip("\n")


@pytest.mark.parametrize(
    ("columns", "end"),
    [
        (80, "0.575 kWh at 0.360 yuan/kWh"),
        (110, "0.575 kWh at 0.360 yuan/kWh, 100% green"),
        (300, "the next best."),
    ],
)
def test_a_change_is_one_line_of_whole_clauses(columns: int, end: str) -> None:
    line = told(columns, job_pb2.JOB_STATE_ASSIGNED, STARTS)
    assert len(line) <= columns
    assert "nightly-evaluation assigned  qingyang 0.575 kWh" in line
    assert line.endswith(end)


def test_the_longest_state_does_not_touch_the_cluster() -> None:
    line = told(110, job_pb2.JOB_STATE_UNREACHABLE, "silent")
    assert line.endswith("unreachable qingyang silent")


def test_what_does_not_fit_ends_with_a_clause() -> None:
    said = "attempt 1 of 3 failed: exit code 75; attempt 2 may start in 2.1 s"
    assert story.fitting(said, 36) == "attempt 1 of 3 failed: exit code 75"
    assert story.fitting(said, 34) == "attempt 1 of 3 failed"
    assert story.fitting(said, len(said)) == said
