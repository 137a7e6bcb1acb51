"""Which pending jobs have waited too long."""

from datetime import datetime

from scheduler.domain.job import Job, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.planning.calendar import Calendar
from scheduler.planning.values import least_s
from scheduler.state.jobs import Change

# A calendar's times are rounded; whether it is too late is judged exactly.
ROUNDED_S = 0.01


class Expiry:
    """Until when each pending job can begin and still meet its deadline."""

    def __init__(self) -> None:
        self._latest_s: Calendar[float] = Calendar()
        self._jobs: dict[str, Job] = {}

    def follow(self, job: Job) -> None:
        """Takes in what became of a job."""
        self._jobs.pop(job.id, None)
        latest_s = None
        if job.state is JobState.PENDING and job.spec.deadline_at is not None:
            self._jobs[job.id] = job
            latest_s = job.spec.deadline_at.timestamp() - least_s(job)
        self._latest_s.put(job.id, latest_s)

    def expired(self, now_at: datetime) -> list[Change]:
        """Fails those that can no longer meet their deadline on any accelerator."""
        late = self._latest_s.until(now_at.timestamp() + ROUNDED_S)
        changes = (_change(self._jobs[job_id], now_at) for job_id in late)
        return [change for change in changes if change is not None]


def _change(job: Job, now_at: datetime) -> Change | None:
    deadline_at = job.spec.deadline_at
    assert deadline_at is not None, "only such jobs have a latest begin"
    needs_s = least_s(job)
    # In seconds: a date cannot hold the end of what takes for ever.
    if needs_s <= (deadline_at - now_at).total_seconds():
        return None
    told = (
        f"the deadline {deadline_at:%Y-%m-%d %H:%M} UTC can no longer be met: "
        f"the job needs {needs_s / 60:.1f} min"
    )
    reason = Reason(ReasonCode.DEADLINE, told)
    return Change(job_id=job.id, event=Event.EXPIRE, actor="scheduler", reason=reason)
