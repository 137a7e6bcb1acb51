"""When a waiting job should start, and how sure that is."""

from scheduler.domain.job import Job
from scheduler.domain.reason import ReasonCode
from scheduler.domain.why import Expected, Moved, Obstacles, Sureness
from scheduler.planner.snapshot import PlannedStart

# Time alone changes nothing about these: the job asks for what there is not.
FOR_GOOD = frozenset(
    {
        ReasonCode.NO_SUCH_ACCELERATOR,
        ReasonCode.TOO_BIG,
        ReasonCode.RESIDENCY,
        ReasonCode.LATENCY,
        ReasonCode.DEADLINE,
        ReasonCode.DATA,
    }
)
# Who can tell when a cluster reports, or a way is measured?
UNTOLD = frozenset({ReasonCode.NO_CLUSTER, ReasonCode.LATENCY_UNKNOWN, ReasonCode.NOT_PLANNED_YET})


def expected(
    job: Job, planned: PlannedStart | None, obstacles: Obstacles | None, moved: Moved | None
) -> Expected:
    """From the job's place in the plan, or from what keeps it from one.

    Args:
        moved: how far starts have lain from plans.
    """
    if obstacles is not None and obstacles.making_room:
        return Expected(sureness=Sureness.MAKING_ROOM)
    if planned is not None:
        return Expected(
            sureness=Sureness.PLANNED,
            start_at=planned.start_at,
            cluster=planned.cluster,
            accelerator=planned.accelerator,
            moved=moved,
        )
    if obstacles is None or obstacles.reason.code in UNTOLD:
        return Expected(sureness=Sureness.UNKNOWN)
    deadline_at = job.spec.deadline_at
    late = deadline_at is not None and deadline_at <= obstacles.until_at
    if late or obstacles.reason.code in FOR_GOOD:
        return Expected(sureness=Sureness.NEVER_AS_IT_IS)
    return Expected(sureness=Sureness.NOT_BEFORE, start_at=obstacles.until_at)
