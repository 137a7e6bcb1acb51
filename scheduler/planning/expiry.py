"""Which pending jobs have waited too long."""

from collections.abc import Iterable
from datetime import datetime

from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planning.values import least_s
from scheduler.state.jobs import Change


def expired(jobs: Iterable[Job], now_at: datetime) -> list[Change]:
    """Fails pending jobs that can no longer meet their deadline on any accelerator."""
    changes: list[Change] = []
    for job in jobs:
        deadline_at = job.spec.deadline_at
        if job.state is not JobState.PENDING or deadline_at is None:
            continue
        needs_s = least_s(job)
        # In seconds: a date cannot hold the end of what takes for ever.
        if needs_s > (deadline_at - now_at).total_seconds():
            told = (
                f"the deadline {deadline_at:%Y-%m-%d %H:%M} UTC can no longer be met: "
                f"the job needs {needs_s / 60:.1f} min"
            )
            reason = Reason(ReasonCode.DEADLINE, told)
            changes.append(
                Change(job_id=job.id, event=Event.EXPIRE, actor="scheduler", reason=reason)
            )
    return changes
