"""Explanations, placements and rounds: domain → wire."""

from scheduler.domain.explanation import Candidate, Explanation, Saving
from scheduler.domain.job import Job
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.domain.span import Span
from scheduler.rpc.convert_jobs import reason_to_pb, stamp, state_to_pb, workers_to_pb
from westward.v1 import placement_pb2, timeline_pb2


def candidate_to_pb(candidate: Candidate) -> placement_pb2.Candidate:
    """One row of the table of candidates."""
    return placement_pb2.Candidate(
        cluster=candidate.cluster,
        accelerator=candidate.accelerator,
        feasible=candidate.feasible,
        chosen=candidate.chosen,
        start_at=stamp(candidate.start_at) if candidate.start_at else None,
        end_at=stamp(candidate.end_at) if candidate.end_at else None,
        rtt_p95_ms=candidate.rtt_p95_ms,
        green_share=candidate.green_share,
        energy_kwh=candidate.energy_kwh,
        carbon_kg=candidate.carbon_kg,
        terms=[placement_pb2.CostTerm(name=name, yuan=yuan) for name, yuan in candidate.terms],
        total_yuan=candidate.total_yuan,
        reason=reason_to_pb(candidate.reason),
    )


def saving_to_pb(saving: Saving) -> placement_pb2.Saving:
    """What the choice saves against the origin region."""
    return placement_pb2.Saving(
        origin_yuan=saving.origin_yuan,
        yuan=saving.yuan,
        origin_carbon_kg=saving.origin_carbon_kg,
        carbon_kg=saving.carbon_kg,
        origin_kwh=saving.origin_kwh,
        kwh=saving.kwh,
    )


def explanation_to_pb(explanation: Explanation) -> placement_pb2.Explanation:
    """Why a job is where it is."""
    return placement_pb2.Explanation(
        job_id=explanation.job_id,
        round_id=explanation.round_id,
        decided_at=stamp(explanation.decided_at),
        outcome=placement_pb2.Outcome.Value(f"OUTCOME_{explanation.outcome.value}"),
        reason=reason_to_pb(explanation.reason),
        candidates=[candidate_to_pb(candidate) for candidate in explanation.candidates],
        binding=[
            placement_pb2.BindingConstraint(
                name=binding.name,
                shadow_price_yuan=binding.shadow_price_yuan,
                message=binding.message,
            )
            for binding in explanation.binding
        ],
        saving=saving_to_pb(explanation.saving) if explanation.saving else None,
        round_objective_yuan=explanation.round_objective_yuan,
        round_bound_yuan=explanation.round_bound_yuan,
        round_gap=explanation.round_gap,
        waited=reason_to_pb(explanation.waited) if explanation.waited else None,
        first_planned_at=(
            stamp(explanation.first_planned_at) if explanation.first_planned_at else None
        ),
    )


def placement_to_pb(job: Job, record: PlacementRecord) -> placement_pb2.Placement:
    """A committed or planned placement with what its job is called."""
    return placement_pb2.Placement(
        job_id=job.id,
        job_name=job.spec.name,
        tenant=job.spec.tenant,
        region=job.spec.region,
        job_state=state_to_pb(job.state),
        committed=record.committed,
        attempt_id=record.attempt_id or "",
        cluster=record.cluster,
        accelerator=record.accelerator,
        workers=workers_to_pb(record.nodes),
        start_at=stamp(record.start_at),
        end_at=stamp(record.end_at),
        energy_kwh=record.energy_kwh,
        green_share=record.green_share,
        cost_yuan=record.cost_yuan,
        carbon_kg=record.carbon_kg,
        saving=saving_to_pb(record.saving) if record.saving else None,
        round_id=record.round_id,
        runs=[span_to_pb(run) for run in record.runs],
    )


def span_to_pb(span: Span) -> timeline_pb2.Span:
    """A stretch of time."""
    return timeline_pb2.Span(start_at=stamp(span.start_at), end_at=stamp(span.end_at))


def round_to_pb(record: RoundRecord) -> placement_pb2.Round:
    """One planning round."""
    return placement_pb2.Round(
        id=record.id,
        at=stamp(record.at),
        trigger=record.trigger,
        jobs=record.jobs,
        placed=record.placed,
        planned=record.planned,
        unplaced=record.unplaced,
        objective_yuan=record.objective_yuan,
        bound_yuan=record.bound_yuan,
        gap=record.gap,
        wall_ms=record.wall_ms,
        stages=[placement_pb2.Stage(name=name, ms=ms) for name, ms in record.stages],
        reasons=record.reasons,
        interruptions=record.interruptions,
        running=record.running,
        nodes=record.nodes,
        clusters=record.clusters,
        moved=record.moved,
        kept=record.kept,
        quick=record.quick,
    )
