"""Why a job waits or has ended: domain → wire."""

import grpc
from google.protobuf.struct_pb2 import ListValue, Value

from scheduler.domain.job import Job, JobState
from scheduler.domain.why import Expected, Moved, Obstacles, Relaxation, Starts, Why
from scheduler.rpc.convert_jobs import attempt_to_pb, reason_to_pb, stamp, state_to_pb
from scheduler.rpc.errors import StatusError
from westward.v1 import why_pb2


def see_it_waits(job: Job) -> None:
    """Only of a job that waits can it be asked what its starts would cost, or once more.

    Raises:
        StatusError: it does not wait.
    """
    if job.state is not JobState.PENDING:
        told = f"job {job.id} is {job.state.value}: only a job that waits can be asked about anew"
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, told)


def why_to_pb(job: Job, why: Why) -> why_pb2.Why:
    """The answer about a job."""
    made = why_pb2.Why(
        job_id=job.id,
        job_state=state_to_pb(why.state),
        reason=reason_to_pb(why.reason),
        attempts=[attempt_to_pb(attempt) for attempt in job.attempts],
    )
    if why.obstacles is not None:
        made.MergeFrom(_obstacles(why.obstacles))
    if why.expected is not None:
        made.expected.CopyFrom(_expected(why.expected))
    return made


def _obstacles(found: Obstacles) -> why_pb2.Why:
    return why_pb2.Why(
        evidence=[reason_to_pb(reason) for reason in found.evidence],
        others=[
            why_pb2.AppliedReason(reason=reason_to_pb(other.reason), pools=other.pools)
            for other in found.others
        ],
        pools=found.pools,
        relaxations=[_relaxation(one) for one in found.relaxations],
        sooner=found.sooner,
        fits_as_it_is=found.fits,
        round_id=found.round_id,
        decided_at=stamp(found.decided_at),
    )


def _relaxation(one: Relaxation) -> why_pb2.Relaxation:
    return why_pb2.Relaxation(
        changes=[why_pb2.WishChange(field=c.field, old=c.old, new=c.new) for c in one.changes],
        cluster=one.cluster,
        accelerator=one.accelerator,
        start_at=stamp(one.start_at),
        now=one.now,
        note=one.note,
    )


def _expected(told: Expected) -> why_pb2.ExpectedStart:
    first_at = told.first_planned_at
    return why_pb2.ExpectedStart(
        sureness=why_pb2.Sureness.Value(f"SURENESS_{told.sureness.value}"),
        start_at=stamp(told.start_at) if told.start_at else None,
        cluster=told.cluster,
        accelerator=told.accelerator,
        moved=_moved(told.moved) if told.moved else None,
        first_planned_at=stamp(first_at) if first_at else None,
    )


def _moved(moved: Moved) -> why_pb2.PlanError:
    return why_pb2.PlanError(p50_s=moved.p50_s, p90_s=moved.p90_s, jobs=moved.jobs)


def starts_to_pb(starts: Starts) -> why_pb2.Starts:
    """What every start would cost."""
    return why_pb2.Starts(
        start_at=stamp(starts.start_at),
        slot_s=starts.slot_s,
        pools=[
            why_pb2.PoolStarts(
                cluster=pool.cluster,
                accelerator=pool.accelerator,
                yuan=ListValue(values=[_yuan(yuan) for yuan in pool.yuan]),
                chosen=pool.chosen,
                reason=reason_to_pb(pool.reason) if pool.reason else None,
            )
            for pool in starts.pools
        ],
    )


def _yuan(yuan: float | None) -> Value:
    # Without a value it would not be a null, but nothing at all.
    return Value(null_value=0) if yuan is None else Value(number_value=yuan)  # type: ignore[arg-type]
