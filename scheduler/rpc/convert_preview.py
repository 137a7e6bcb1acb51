"""Questions about the plan, and their answers: wire → domain, domain → wire."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from scheduler.domain.explanation import Outcome, Saving
from scheduler.domain.job import Job, JobSpec
from scheduler.planner import changes
from scheduler.planner.changes import Change, ChangeError, Operation, Quantity
from scheduler.planning.preview import Previewed, PreviewedJob
from scheduler.planning.preview_effects import Effect, Standing, Totals
from scheduler.rpc.convert_jobs import stamp, when
from scheduler.rpc.convert_placements import explanation_to_pb, saving_to_pb
from westward.v1 import placement_pb2, preview_pb2, what_if_pb2

_OPERATIONS = {
    what_if_pb2.OPERATION_MULTIPLY: Operation.MULTIPLY,
    what_if_pb2.OPERATION_SET: Operation.SET,
    what_if_pb2.OPERATION_ADD: Operation.ADD,
}
# The worst of several is what people must know.
_WORST_FIRST = (Outcome.UNPLACED, Outcome.PLANNED, Outcome.PLACED)


def jobs_to_pb(
    made: Previewed, groups: Sequence[Sequence[JobSpec]]
) -> list[placement_pb2.PreviewedJob]:
    """One for each group of jobs, in the order asked."""
    rest = iter(made.jobs)
    return [_job_to_pb(list(islice(rest, len(group)))) for group in groups]


def _job_to_pb(jobs: Sequence[PreviewedJob]) -> placement_pb2.PreviewedJob:
    outcomes = [job.explanation.outcome for job in jobs]
    worst = next(outcome for outcome in _WORST_FIRST if outcome in outcomes)
    message = placement_pb2.PreviewedJob(
        explanation=explanation_to_pb(jobs[0].explanation),
        outcome=placement_pb2.Outcome.Value(f"OUTCOME_{worst.value}"),
        chunks=len(jobs),
        chunks_now=outcomes.count(Outcome.PLACED),
        chunks_later=outcomes.count(Outcome.PLANNED),
    )
    # Nobody knows of it yet: the id is of this answer alone.
    message.explanation.job_id = ""
    places = [job.placement for job in jobs if job.placement is not None]
    if not places:
        return message
    first = min(places, key=lambda place: place.start_at)
    energy_kwh = sum(place.energy_kwh for place in places)
    green_kwh = sum(place.green_kwh for place in places)
    message.cluster, message.accelerator = first.cluster, first.accelerator
    message.start_at.CopyFrom(stamp(first.start_at))
    message.end_at.CopyFrom(stamp(max(place.end_at for place in places)))
    message.energy_kwh = energy_kwh
    message.green_share = green_kwh / energy_kwh if energy_kwh > 0 else 0.0
    message.cost_yuan = sum(place.cost_yuan for place in places)
    message.carbon_kg = sum(place.carbon_kg for place in places)
    savings = [job.explanation.saving for job in jobs]
    if all(savings) and len(places) == len(jobs):
        message.saving.CopyFrom(saving_to_pb(_sum([s for s in savings if s is not None])))
    return message


def _sum(savings: Sequence[Saving]) -> Saving:
    return Saving(
        origin_yuan=sum(s.origin_yuan for s in savings),
        yuan=sum(s.yuan for s in savings),
        origin_carbon_kg=sum(s.origin_carbon_kg for s in savings),
        carbon_kg=sum(s.carbon_kg for s in savings),
        origin_kwh=sum(s.origin_kwh for s in savings),
        kwh=sum(s.kwh for s in savings),
    )


def effects_to_pb(found: Iterable[Effect], jobs: Mapping[str, Job]) -> list[preview_pb2.Effect]:
    """Effects with what their jobs are called; ``jobs`` may lack those that have ended since."""
    return [_effect_to_pb(effect, jobs.get(effect.job_id)) for effect in found]


def _effect_to_pb(effect: Effect, job: Job | None) -> preview_pb2.Effect:
    return preview_pb2.Effect(
        job_id=effect.job_id,
        job_name=job.spec.name if job else "",
        tenant=job.spec.tenant if job else "",
        kind=preview_pb2.EffectKind.Value(f"EFFECT_KIND_{effect.kind.value}"),
        before=_standing_to_pb(effect.before),
        after=_standing_to_pb(effect.after),
        later_s=effect.later_s,
    )


def _standing_to_pb(standing: Standing | None) -> preview_pb2.Standing:
    if standing is None:
        return preview_pb2.Standing()
    return preview_pb2.Standing(
        cluster=standing.cluster,
        accelerator=standing.accelerator,
        start_at=stamp(standing.start_at),
        cost_yuan=standing.cost_yuan,
        runs=standing.runs,
    )


def totals_to_pb(made: Totals) -> what_if_pb2.PlanTotals:
    """A plan in sum."""
    return what_if_pb2.PlanTotals(
        now=made.now,
        later=made.later,
        unplaced=made.unplaced,
        cost_yuan=made.cost_yuan,
        energy_kwh=made.energy_kwh,
        green_share=made.green_share,
        carbon_kg=made.carbon_kg,
        utilisation=made.utilisation,
        stopped=made.stopped,
        gap=made.gap,
    )


def change_from_pb(message: what_if_pb2.WorldChange) -> Change:
    """A change; whether it can be made, the world decides.

    Raises:
        ChangeError: it is none.
    """
    match message.WhichOneof("change"):
        case "drain":
            return changes.Drain(message.drain)
        case "price":
            return _forecast(message.price, Quantity.PRICE)
        case "green":
            return _forecast(message.green, Quantity.GREEN)
        case "rtt":
            return changes.RttChange(message.rtt.region, message.rtt.cluster, message.rtt.ms)
        case "add_nodes":
            more = message.add_nodes
            return changes.AddedNodes(more.cluster, more.count, more.accelerator)
        case None:
            known = "drain, price, green, rtt or add_nodes"
            raise ChangeError("change", f"is empty; say what changes: {known}")


def _forecast(message: what_if_pb2.ForecastChange, quantity: Quantity) -> changes.ForecastChange:
    operation = _OPERATIONS.get(message.operation)
    if operation is None:
        told = "is not said; multiply, set or add"
        raise ChangeError(f"{quantity.value}.operation", told)
    return changes.ForecastChange(
        cluster=message.cluster,
        quantity=quantity,
        operation=operation,
        value=message.value,
        from_at=_time("from_at", message.from_at) if message.HasField("from_at") else None,
        until_at=_time("until_at", message.until_at) if message.HasField("until_at") else None,
    )


def _time(field: str, stamped: Timestamp) -> datetime:
    try:
        return when(stamped)
    except ValueError as error:
        raise ChangeError(field, str(error)) from error
