"""What jobs of the canned scene wait for, and what their starts would cost."""

from google.protobuf.struct_pb2 import ListValue, Value

from tests.fakes import canned
from westward.v1 import job_pb2, why_pb2


def starts() -> why_pb2.Starts:
    """A day in quarters of an hour: cheap around noon in one pool, full until then in another, and
    one that may not be."""

    def yuan(slot: int) -> Value:
        return Value(number_value=38.0 + 0.4 * abs(slot - 30))

    none = Value(null_value=0)  # type: ignore[arg-type]
    cheap = [yuan(slot) for slot in range(96)]
    return why_pb2.Starts(
        start_at=canned.stamp(0),
        slot_s=900,
        pools=[
            why_pb2.PoolStarts(
                cluster="qingyang", accelerator="A800", yuan=ListValue(values=cheap), chosen=30
            ),
            why_pb2.PoolStarts(
                cluster="zhongwei",
                accelerator="A800",
                yuan=ListValue(values=[*[none] * 24, *cheap[24:]]),
            ),
            why_pb2.PoolStarts(
                cluster="horinger",
                accelerator="H800",
                yuan=ListValue(values=[none] * 96),
                reason=canned.reason("LATENCY", "31.2 ms > 20 ms to shanghai"),
            ),
        ],
    )


def why(job_id: str) -> why_pb2.Why:
    """Too far, and too green at the one that is near; three ways out."""

    def change(field: str, old: str, new: str) -> why_pb2.WishChange:
        return why_pb2.WishChange(field=field, old=old, new=new)

    def way(cluster: str, minutes: float, *changes: why_pb2.WishChange) -> why_pb2.Relaxation:
        return why_pb2.Relaxation(
            changes=changes,
            cluster=cluster,
            accelerator="A800",
            start_at=canned.stamp(minutes),
            now=not minutes,
        )

    later = change("deadline", "2026-11-20T18:00+08:00", "2026-11-20T20:10+08:00")
    stops = way("qingyang", 1, change("priority", "0", "11"))
    stops.note = "stops 01jq8w3k2m-1 there"
    green = "qingyang/A800: 3.20 kW > 2.84 kW of green supply at 13:15."
    far = "zhongwei/A800: 24.0 ms > 20 ms to shanghai."
    return why_pb2.Why(
        job_id=job_id,
        job_state=job_pb2.JOB_STATE_PENDING,
        reason=canned.reason("GREEN", f"{green} Of 3 pools: LATENCY 2, GREEN 1."),
        evidence=[canned.reason("GREEN", green)],
        others=[why_pb2.AppliedReason(reason=canned.reason("LATENCY", far), pools=2)],
        pools=3,
        relaxations=[
            way("qingyang", 75, change("min_green_share", "80%", "71%")),
            way("zhongwei", 0, change("max_rtt_ms", "20", "24")),
            way("qingyang", 480, later),
            stops,
        ],
        expected=why_pb2.ExpectedStart(
            sureness=why_pb2.SURENESS_NOT_BEFORE, start_at=canned.stamp(2880)
        ),
        round_id=41,
        decided_at=canned.stamp(1),
    )


def planned_why(job_id: str) -> why_pb2.Why:
    """It has a place, later; plans were off by a bit."""
    return why_pb2.Why(
        job_id=job_id,
        job_state=job_pb2.JOB_STATE_PENDING,
        reason=canned.jobs()[1].reason,
        pools=3,
        sooner=True,
        fits_as_it_is=True,
        expected=why_pb2.ExpectedStart(
            sureness=why_pb2.SURENESS_PLANNED,
            start_at=canned.stamp(120),
            cluster="zhongwei",
            accelerator="A800",
            moved=why_pb2.PlanError(p50_s=0, p90_s=1500, jobs=412),
            first_planned_at=canned.stamp(90),
        ),
        round_id=41,
        decided_at=canned.stamp(1),
    )


def failed_why(job: job_pb2.Job) -> why_pb2.Why:
    """What became of its attempts."""
    return why_pb2.Why(job_id=job.id, job_state=job.state, reason=job.reason, attempts=job.attempts)
