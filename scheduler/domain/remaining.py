"""What is left to do of a job that has run before: pure."""

from scheduler.domain.job import JobSpec

# A job that has done all that was expected and still has not ended needs some more: nobody knows
# how much, but at least so much of it is planned for.
LEFT_LEAST_SHARE = 0.05


def left_s(spec: JobSpec, done_s: float) -> float:
    """Work that is left, in seconds at relative speed 1, when ``done_s`` of it are kept."""
    least_s = LEFT_LEAST_SHARE * spec.expected_duration_s
    return max(spec.expected_duration_s - done_s, least_s)


def run_s(spec: JobSpec, done_s: float, speed: float) -> float:
    """Seconds that the next attempt takes at a relative speed, once its data are there. One that
    goes on from a checkpoint needs the job's ``restart_s`` before it gets on."""
    return left_s(spec, done_s) / speed + (spec.restart_s if done_s > 0 else 0.0)
