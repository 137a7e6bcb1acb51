"""What the work of an ended attempt was good for."""

import signal
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.job import Attempt, AttemptState, JobSpec
from scheduler.domain.progress import settled
from tests.fakes.jobs import NOW, a_spec, an_attempt

# On an H800 the fake job is twice as fast.
SPEC = replace(a_spec(), interruptible=True)


def ended(state: AttemptState, ran_s: float, **changes: Any) -> Attempt:
    return an_attempt(
        "j",
        state=state,
        accelerator="H800",
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=ran_s),
        expected_end_at=NOW + timedelta(seconds=200),
        energy_kwh=4.0,
        **changes,
    )


def figures(spec: JobSpec, attempt: Attempt) -> tuple[float, float, float]:
    after = settled(spec, attempt, done_s=float(attempt.number - 1))
    return after.kept_s, after.lost_s, after.lost_kwh


STOPPED, FAILED, LOST = AttemptState.STOPPED, AttemptState.FAILED, AttemptState.LOST
SAVING = replace(SPEC, checkpoint_interval_s=30.0)


@pytest.mark.parametrize(
    ("spec", "attempt", "expected"),
    [
        # Told to stop and ended in time: everything is kept.
        (SPEC, ended(STOPPED, 100, exit_code=0), (200, 0, 0)),
        (SPEC, ended(STOPPED, 100, exit_code=-signal.SIGTERM), (200, 0, 0)),
        # Killed past its grace, or torn away: nothing, or what its own checkpoints hold.
        (SPEC, ended(STOPPED, 100, exit_code=-signal.SIGKILL), (0, 200, 2.0)),
        (SPEC, ended(LOST, 100), (0, 200, 2.0)),
        (SAVING, ended(LOST, 100), (180, 20, 0.2)),
        (SAVING, ended(FAILED, 100, exit_code=1), (180, 20, 0.2)),
        # A resumed one spends its restart first, which is lost.
        (replace(SPEC, restart_s=10.0), ended(STOPPED, 100, exit_code=0, number=2), (180, 20, 0.2)),
        (replace(SPEC, restart_s=10.0), ended(STOPPED, 4, exit_code=0, number=2), (0, 8, 0.08)),
        # What cannot be resumed loses all, and a success nothing.
        (a_spec(), ended(STOPPED, 100, exit_code=0), (0, 200, 2.0)),
        (a_spec(), ended(AttemptState.SUCCEEDED, 100, exit_code=0), (200, 0, 0)),
        # It overran: no more energy is counted than was planned.
        (SPEC, ended(LOST, 1000), (0, 2000, 4.0)),
    ],
)
def test_what_is_kept_and_lost(
    spec: JobSpec, attempt: Attempt, expected: tuple[float, float, float]
) -> None:
    assert figures(spec, attempt) == pytest.approx(expected)


def test_what_never_ran_has_nothing_to_lose() -> None:
    assert figures(SPEC, an_attempt("j", state=STOPPED, ended_at=NOW)) == (0, 0, 0)


@given(
    state=st.sampled_from([state for state in AttemptState if state.final]),
    ran_s=st.floats(-10, 1e6),
    exit_code=st.none() | st.integers(-64, 255),
    interval_s=st.floats(0, 1e5),
    restart_s=st.floats(0, 1e5),
    interruptible=st.booleans(),
)
def test_all_work_is_either_kept_or_lost(
    *,
    state: AttemptState,
    ran_s: float,
    exit_code: int | None,
    interval_s: float,
    restart_s: float,
    interruptible: bool,
) -> None:
    spec = replace(
        SPEC,
        interruptible=interruptible,
        checkpoint_interval_s=interval_s,
        restart_s=restart_s,
    )
    attempt = ended(state, ran_s, exit_code=exit_code, number=2)
    kept_s, lost_s, lost_kwh = figures(spec, attempt)
    assert kept_s >= 0
    assert lost_s >= 0
    assert kept_s + lost_s == pytest.approx(2 * max(0.0, ran_in_s(attempt)))
    assert 0 <= lost_kwh <= attempt.energy_kwh


def ran_in_s(attempt: Attempt) -> float:
    started_at: datetime | None = attempt.started_at
    assert started_at is not None
    assert attempt.ended_at is not None
    return (attempt.ended_at - started_at).total_seconds()
