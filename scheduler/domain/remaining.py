"""What is left to do of a job that has run before: pure."""

import math

from scheduler.domain.job import JobSpec

# A job that has done all that was expected and still has not ended needs some more: nobody knows
# how much, but at least so much of it is planned for.
LEFT_LEAST_SHARE = 0.05
# What runs longer than expected is taken to need a quarter more of its time, again and again.
OVERRUN_GROWTH = 1.25


def left_s(spec: JobSpec, done_s: float) -> float:
    """Work that is left, in seconds at relative speed 1, when ``done_s`` of it are kept."""
    least_s = LEFT_LEAST_SHARE * spec.expected_duration_s
    return max(spec.expected_duration_s - done_s, least_s)


def run_s(spec: JobSpec, done_s: float, speed: float) -> float:
    """Seconds that the next attempt takes at a relative speed, once its data are there. One that
    goes on from a checkpoint needs the job's ``restart_s`` before it gets on."""
    return left_s(spec, done_s) / speed + (spec.restart_s if done_s > 0 else 0.0)


def ran_s(spec: JobSpec, done_s: float) -> float:
    """Seconds in which ``done_s`` of work were done, where the job is fastest."""
    options = spec.accelerators if spec.per_worker.gpus else ()
    return done_s / max((option.relative_speed for option in options), default=1.0)


def assumed_s(expected_s: float, ran_s: float) -> float:
    """How long a run is taken to last in all. Once it has lasted as long as expected, a quarter
    longer, and again whenever that is over: what has lasted long goes on long (lengths of jobs have
    heavy tails), and an estimate that grows in steps leaves plans alone in between (as the
    corrections of Tsafrir, Etsion and Feitelson 2007)."""
    expected_s = max(expected_s, 1.0)
    if ran_s < expected_s:
        return expected_s
    steps = math.floor(math.log(ran_s / expected_s, OVERRUN_GROWTH) + 1e-9) + 1
    return float(expected_s * OVERRUN_GROWTH**steps)
