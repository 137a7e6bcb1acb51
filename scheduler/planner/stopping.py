"""What it costs to stop an attempt that goes on later."""

from policies.weights import Weights
from scheduler.domain.job import JobSpec
from scheduler.planner.snapshot import RunningAttempt, Snapshot


def under_way(attempt: RunningAttempt, snapshot: Snapshot) -> bool:
    """Whether it is being stopped and may be expected to be gone soon. What is long past its grace
    hangs somewhere, and nothing waits for it."""
    late_s = (snapshot.now_at - attempt.expected_end_at).total_seconds()
    return attempt.leaving and late_s < snapshot.slot_s


def unsaved_s(attempt: RunningAttempt, snapshot: Snapshot) -> float:
    """Seconds of its run that are lost if it does not end within its grace: those since its last
    checkpoint, or all if it saves only when told to stop."""
    ran_s = max(0.0, (snapshot.now_at - attempt.started_at).total_seconds())
    every_s = attempt.spec.checkpoint_interval_s
    return ran_s % every_s if every_s > 0 else ran_s


def likely_lost_s(attempt: RunningAttempt, snapshot: Snapshot, weights: Weights) -> float:
    """Seconds of its run that a stop loses on average."""
    return weights.stop_fails_share * unsaved_s(attempt, snapshot)


def stop_yuan(
    attempt: RunningAttempt, snapshot: Snapshot, weights: Weights, stage_s: float = 0.0
) -> float:
    """What the accelerators' time is worth in which the job does not get on.

    Args:
        stage_s: until its data have arrived again.
    """
    spec = attempt.spec
    lost_s = likely_lost_s(attempt, snapshot, weights)
    idle_s = spec.stop_grace_s + spec.restart_s + stage_s
    return weights.lost_yuan_per_gpu_hour * weights.size(spec) * (lost_s + idle_s) / 3600


def planned_stop(spec: JobSpec, weights: Weights) -> tuple[float, float]:
    """What a stop that is planned ahead costs: once, and per hour of the run that it ends. The same
    as above, with all of a checkpoint's interval unsaved."""
    per_h = weights.lost_yuan_per_gpu_hour * weights.size(spec)
    every_s = spec.checkpoint_interval_s
    lost_s = spec.stop_grace_s + spec.restart_s + weights.stop_fails_share * every_s
    return per_h * lost_s / 3600, 0.0 if every_s > 0 else per_h * weights.stop_fails_share
