"""What an observation means for a job, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.dispatch.verdict import Seen, Verdict, judge, lost
from scheduler.domain.job import Attempt, AttemptState, Command, Job, JobSpec, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.retry import BACKOFF_MOST_S, UNCOUNTED_MOST
from scheduler.domain.transitions import TRANSITIONS, Event

AT = datetime(2026, 6, 18, 3, 0, tzinfo=UTC)
SPEC = JobSpec(
    name="train", tenant="lab", region="shanghai", work=Command(("true",)), expected_duration_s=60
)


def job(state: JobState = JobState.RUNNING, number: int = 1) -> Job:
    attempts = tuple(
        Attempt(
            id=f"j-{n}",
            job_id="j",
            number=n,
            epoch=n,
            state=AttemptState.ASSIGNED,
            cluster="qingyang",
            accelerator="A800",
            nodes=("qy-1",),
            assigned_at=AT - timedelta(minutes=5),
            expected_end_at=AT,
        )
        for n in range(1, number + 1)
    )
    return Job(
        id="j",
        spec=SPEC,
        state=state,
        reason=Reason(ReasonCode.OK, ""),
        version=1,
        created_at=AT,
        updated_at=AT,
        attempts=attempts,
    )


def seen(state: AttemptState, number: int = 1, code: ReasonCode | None = None) -> Seen:
    reason = Reason(code, "as told") if code else None
    return Seen(attempt_id=f"j-{number}", epoch=number, state=state, exit_code=1, reason=reason)


@pytest.mark.parametrize(
    ("before", "observed", "code", "event"),
    [
        (JobState.ASSIGNED, AttemptState.STARTING, None, None),
        (JobState.ASSIGNED, AttemptState.RUNNING, None, Event.START),
        (JobState.RUNNING, AttemptState.RUNNING, None, None),
        (JobState.UNREACHABLE, AttemptState.STARTING, None, Event.REGAIN_CONTACT),
        (JobState.UNREACHABLE, AttemptState.RUNNING, None, Event.START),
        (JobState.RUNNING, AttemptState.SUCCEEDED, ReasonCode.OK, Event.SUCCEED),
        (JobState.RUNNING, AttemptState.FAILED, ReasonCode.NONZERO_EXIT, Event.FAIL_RETRY),
        (JobState.RUNNING, AttemptState.FAILED, ReasonCode.COMMAND_NOT_FOUND, Event.FAIL_FINAL),
        (JobState.RUNNING, AttemptState.STOPPED, ReasonCode.STOPPED, Event.FAIL_RETRY),
        (JobState.CANCELLING, AttemptState.STOPPED, ReasonCode.STOPPED, Event.STOPPED),
        (JobState.CANCELLING, AttemptState.SUCCEEDED, ReasonCode.OK, Event.STOPPED),
        (JobState.CANCELLING, AttemptState.RUNNING, None, None),
        (JobState.PREEMPTING, AttemptState.RUNNING, None, None),
        (JobState.PREEMPTING, AttemptState.STOPPED, ReasonCode.STOPPED, Event.STOPPED),
        (JobState.PREEMPTING, AttemptState.SUCCEEDED, ReasonCode.OK, Event.SUCCEED),
        (JobState.PREEMPTING, AttemptState.FAILED, ReasonCode.RAY_LOST, Event.FAIL_RETRY),
        (JobState.SUSPENDING, AttemptState.STOPPED, ReasonCode.LEASE_EXPIRED, Event.STOPPED),
        (JobState.SUSPENDING, AttemptState.FAILED, ReasonCode.NONZERO_EXIT, Event.FAIL_RETRY),
        (JobState.SUSPENDED, AttemptState.RUNNING, None, None),
        (JobState.SUCCEEDED, AttemptState.FAILED, ReasonCode.NONZERO_EXIT, None),
        (JobState.PENDING, AttemptState.RUNNING, None, None),
    ],
)
def test_observation_becomes_event(
    before: JobState, observed: AttemptState, code: ReasonCode | None, event: Event | None
) -> None:
    verdict = judge(job(before), seen(observed, code=code), at=AT, speedup=1)
    assert (verdict.event if verdict else None) == event
    if verdict is not None:
        assert (before, verdict.event) in TRANSITIONS


def test_an_older_attempt_tells_nothing() -> None:
    stale = seen(AttemptState.FAILED, number=1, code=ReasonCode.NONZERO_EXIT)
    assert judge(job(number=2), stale, at=AT, speedup=1) is None


def test_the_last_attempt_is_final_and_says_so() -> None:
    failed = seen(AttemptState.FAILED, number=3, code=ReasonCode.NONZERO_EXIT)
    verdict = judge(job(number=3), failed, at=AT, speedup=1)
    assert verdict is not None
    assert verdict.event is Event.FAIL_FINAL
    assert verdict.reason.message == "attempt 3 of 3 failed: as told; no attempts left"


def after_sick_ones(number: int, spec: JobSpec = SPEC) -> Verdict:
    """The verdict on attempt ``number``, with a sick accelerator like all before it."""
    sick = Reason(ReasonCode.ACCELERATOR_SICK, "as told")
    known = replace(job(number=number), spec=spec)
    earlier = [replace(a, state=AttemptState.FAILED, reason=sick) for a in known.attempts[:-1]]
    known = replace(known, attempts=(*earlier, known.attempts[-1]))
    again = seen(AttemptState.FAILED, number=number, code=ReasonCode.ACCELERATOR_SICK)
    verdict = judge(known, again, at=AT, speedup=1)
    assert verdict is not None
    return verdict


def test_attempts_on_sick_accelerators_are_not_counted_but_put_off() -> None:
    waits_s = []
    for number in (1, 2, 8):
        verdict = after_sick_ones(number)
        assert verdict.event is Event.FAIL_RETRY
        assert verdict.not_before_at is not None
        waits_s.append((verdict.not_before_at - AT).total_seconds())
    assert waits_s[0] == 0 < waits_s[1] < 10
    assert waits_s[2] > 60


def test_what_is_not_counted_has_an_end() -> None:
    assert UNCOUNTED_MOST == 20  # as docs/leases.md says
    most = SPEC.max_attempts + UNCOUNTED_MOST
    assert after_sick_ones(most - 1).event is Event.FAIL_RETRY
    last = after_sick_ones(most)
    assert last.event is Event.FAIL_FINAL
    assert last.reason.message == f"attempt {most} of {most} failed: as told; no attempts left"


@pytest.mark.parametrize("number", [1024, 1025, 5000])
def test_no_story_is_too_long_for_a_verdict(number: int) -> None:
    assert after_sick_ones(number).event is Event.FAIL_FINAL
    verdict = after_sick_ones(number, replace(SPEC, max_attempts=number + 1))
    assert verdict.not_before_at is not None
    assert (verdict.not_before_at - AT).total_seconds() <= 1.25 * BACKOFF_MOST_S


def test_the_back_off_is_counted_in_the_power_clock() -> None:
    failed = seen(AttemptState.FAILED, code=ReasonCode.NONZERO_EXIT)
    slow = judge(job(), failed, at=AT, speedup=1)
    fast = judge(job(), failed, at=AT, speedup=60)
    assert slow is not None
    assert fast is not None
    assert slow.not_before_at is not None
    assert fast.not_before_at is not None
    slow_s = (slow.not_before_at - AT).total_seconds()
    fast_s = (fast.not_before_at - AT).total_seconds()
    assert fast_s == pytest.approx(slow_s * 60, rel=1e-4)
    assert 1.5 <= slow_s <= 2.5


def test_an_end_never_lies_before_the_start_even_if_the_agent_says_so() -> None:
    liar = replace(
        seen(AttemptState.SUCCEEDED, code=ReasonCode.OK), ended_at=AT - timedelta(days=400)
    )
    verdict = judge(job(), liar, at=AT, speedup=1)
    assert verdict is not None
    assert verdict.attempt.ended_at == job().attempts[0].assigned_at


def test_a_lost_attempt_is_retried_with_the_reason() -> None:
    reason = Reason(ReasonCode.LEASE_EXPIRED, "qingyang was silent")
    verdict = lost(job(JobState.UNREACHABLE), reason, at=AT, speedup=1)
    assert verdict is not None
    assert verdict.event is Event.FAIL_RETRY
    assert verdict.attempt.state is AttemptState.LOST
    assert "qingyang was silent" in verdict.reason.message


def test_a_job_that_is_over_cannot_be_lost() -> None:
    reason = Reason(ReasonCode.LEASE_EXPIRED, "")
    assert lost(job(JobState.SUCCEEDED), reason, at=AT, speedup=1) is None


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (datetime(9999, 12, 31, tzinfo=UTC), AT),
        (datetime(1970, 1, 1, tzinfo=UTC), AT - timedelta(minutes=5)),
        (AT - timedelta(minutes=1), AT - timedelta(minutes=1)),
        (None, AT),
    ],
)
def test_an_agents_clock_is_believed_between_the_assignment_and_now(
    told: datetime | None, believed: datetime
) -> None:
    started = replace(seen(AttemptState.RUNNING), started_at=told)
    verdict = judge(job(JobState.ASSIGNED), started, at=AT, speedup=1.0)
    assert verdict is not None
    assert verdict.attempt.started_at == believed
    ended = replace(seen(AttemptState.SUCCEEDED), ended_at=told)
    verdict = judge(job(), ended, at=AT, speedup=1.0)
    assert verdict is not None
    assert verdict.attempt.ended_at == believed
