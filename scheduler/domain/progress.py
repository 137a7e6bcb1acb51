"""What the work of an ended attempt was good for: pure.

Progress is not measured but counted, in seconds at relative speed 1: an interruptible job that is
told to stop and ends within its grace has kept all it did; one that is torn away keeps what its
last checkpoint holds, and without checkpoints of its own nothing.
"""

import math
from dataclasses import replace
from signal import SIGKILL

from scheduler.domain.job import Attempt, AttemptState, JobSpec


def settled(spec: JobSpec, attempt: Attempt, *, done_s: float) -> Attempt:
    """The ended attempt with what it kept and lost, and the energy that the lost work took.
    ``done_s`` is what attempts before it had kept: one that goes on from there restarts first.

    Times run in the power clock. A success has kept everything: nothing is left to do after it.
    """
    if attempt.started_at is None or attempt.ended_at is None:
        return attempt
    ran_s = max(0.0, (attempt.ended_at - attempt.started_at).total_seconds())
    speed = spec.speed_on(attempt.accelerator) or 1.0
    overhead_s = min(ran_s, spec.restart_s if done_s > 0 else 0.0)
    kept_run_s = _kept_s(spec, attempt, ran_s - overhead_s)
    lost_run_s = ran_s - kept_run_s
    planned_s = (attempt.expected_end_at - attempt.assigned_at).total_seconds()
    lost_share = min(1.0, lost_run_s / planned_s) if planned_s > 0 else 0.0
    return replace(
        attempt,
        kept_s=kept_run_s * speed,
        lost_s=lost_run_s * speed,
        lost_kwh=attempt.energy_kwh * lost_share,
    )


def _kept_s(spec: JobSpec, attempt: Attempt, worked_s: float) -> float:
    """Of ``worked_s`` seconds of the run, those whose result is safe."""
    if attempt.state is AttemptState.SUCCEEDED:
        return worked_s
    if not spec.interruptible:
        return 0.0
    if attempt.state is AttemptState.STOPPED and attempt.exit_code not in (None, -SIGKILL):
        return worked_s
    if spec.checkpoint_interval_s > 0:
        return worked_s - math.fmod(worked_s, spec.checkpoint_interval_s)
    return 0.0
