"""Whether a failed attempt gets a successor: a pure function with a code and a sentence."""

import hashlib
from dataclasses import dataclass

from scheduler.domain.job import AttemptState, Job
from scheduler.domain.reason import INFRASTRUCTURE, Reason, ReasonCode

BACKOFF_FIRST_S = 2.0
BACKOFF_MOST_S = 120.0
DOUBLINGS_MOST = 10
# Not retried: the next attempt would fail in the same way.
HOPELESS = frozenset({ReasonCode.COMMAND_NOT_FOUND, ReasonCode.TASKS_FAILED})
# Attempts that ended so never ran: they do not count against the job.
UNCOUNTED = frozenset({ReasonCode.ACCELERATOR_SICK})
# So many, at the longest back-off over half an hour of them: after that somebody should know.
UNCOUNTED_MOST = 20


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """``delay_s`` is in seconds of real time, before the next attempt may be planned."""

    retry: bool
    delay_s: float
    reason: Reason


def decide(job: Job, failure: Reason) -> RetryDecision:
    """Decides after the newest attempt failed with ``failure``. Attempts that were preempted,
    moved or suspended do not count against the job, nor do the first ``UNCOUNTED_MOST`` that never
    ran because they were given a sick accelerator.

    Back-off doubles from 2 s to 120 s, with jitter of ±25 % drawn from the attempt's id, so that
    a decision can be repeated; failures of the infrastructure go without it the first time.
    """
    number = len(job.attempts)
    # One that was stopped because we asked is no failure of the job.
    stopped = sum(
        attempt.state is AttemptState.STOPPED
        and (attempt.reason is None or attempt.reason.code is not ReasonCode.LEASE_EXPIRED)
        for attempt in job.attempts[:-1]
    )
    failures = number - stopped
    reasons = [failure, *(a.reason for a in job.attempts[:-1] if a.reason is not None)]
    uncounted = sum(one.code in UNCOUNTED for one in reasons)
    most = job.spec.max_attempts + stopped + min(uncounted, UNCOUNTED_MOST)
    if failure.code in HOPELESS:
        text = f"attempt {number} failed: {failure.message}; it would fail again"
        return RetryDecision(False, 0.0, Reason(failure.code, text))
    if number >= most:
        text = f"attempt {number} of {most} failed: {failure.message}; no attempts left"
        return RetryDecision(False, 0.0, Reason(failure.code, text))
    # A story may be so long that the power itself is no number any more.
    delay_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, DOUBLINGS_MOST))
    if failure.code in INFRASTRUCTURE and failures == 1:
        delay_s = 0.0
    digest = hashlib.sha256(f"{job.id}-{number}".encode()).digest()
    delay_s *= 0.75 + 0.5 * digest[0] / 255
    text = (
        f"attempt {number} of {most} failed: {failure.message}; "
        f"attempt {number + 1} may start in {delay_s:.1f} s"
    )
    return RetryDecision(True, delay_s, Reason(failure.code, text))
