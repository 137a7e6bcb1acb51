"""Values of the domain as rows of the tables, and back."""

import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from scheduler.domain.job import Attempt, AttemptState, Job, JobEvent, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.store.codec import SAVING, SPEC
from scheduler.store.tables import ATTEMPTS, JOBS

Values = dict[str, Any]

# What a transition changes of a job and of the attempt that it continues.
JOB_CHANGES = (
    "state",
    "reason_code",
    "reason_message",
    "version",
    "updated_at",
    "not_before_at",
    "cluster",
)
ATTEMPT_CHANGES = (
    "state",
    "expected_end_at",
    "started_at",
    "ended_at",
    "exit_code",
    "reason_code",
    "reason_message",
    "kept_s",
    "lost_s",
    "lost_kwh",
    "tasks_done",
)
UPDATE_JOB = (
    sa.update(JOBS)
    .where(JOBS.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(name) for name in JOB_CHANGES})
)
UPDATE_ATTEMPT = (
    sa.update(ATTEMPTS)
    .where(ATTEMPTS.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(name) for name in ATTEMPT_CHANGES})
)


def of_job(value: Job) -> Values:
    """A row of jobs."""
    return {
        "id": value.id,
        "tenant": value.spec.tenant,
        "name": value.spec.name,
        "region": value.spec.region,
        "state": value.state.value,
        **_of_reason(value.reason),
        "version": value.version,
        "created_at": value.created_at,
        "updated_at": value.updated_at,
        "idempotency_key": value.idempotency_key,
        "not_before_at": value.not_before_at,
        "cluster": value.attempt.cluster if value.attempt else None,
        "spec": SPEC.encode(value.spec),
        "array_id": value.array_id,
        "working_dir_sha256": value.spec.working_dir_sha256,
    }


def of_job_change(value: Job) -> Values:
    """The parameters of ``UPDATE_JOB``."""
    return {
        "of_id": value.id,
        "state": value.state.value,
        **_of_reason(value.reason),
        "version": value.version,
        "updated_at": value.updated_at,
        "not_before_at": value.not_before_at,
        "cluster": value.attempt.cluster if value.attempt else None,
    }


def job(row: Row[Any], attempts: tuple[Attempt, ...]) -> Job:
    """The job of a row of jobs."""
    return Job(
        id=row.id,
        spec=SPEC.decode(row.spec),
        state=JobState(row.state),
        reason=Reason(ReasonCode(row.reason_code), row.reason_message),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        idempotency_key=row.idempotency_key,
        attempts=attempts,
        not_before_at=row.not_before_at,
        array_id=row.array_id,
    )


def of_attempt(value: Attempt, made: PlacementRecord | None) -> Values:
    """A row of attempts, with the figures of the placement that made it."""
    return {
        "id": value.id,
        "job_id": value.job_id,
        "number": value.number,
        "epoch": value.epoch,
        "cluster": value.cluster,
        "accelerator": value.accelerator,
        "nodes": json.dumps(value.nodes),
        "assigned_at": value.assigned_at,
        **_of_attempt_state(value),
        "round_id": made.round_id if made else None,
        "planned_start_at": made.start_at if made else None,
        "planned_end_at": made.end_at if made else None,
        "energy_kwh": made.energy_kwh if made else value.energy_kwh,
        "green_share": made.green_share if made else None,
        "cost_yuan": made.cost_yuan if made else None,
        "carbon_kg": made.carbon_kg if made else None,
        "saving": SAVING.encode(made.saving) if made and made.saving else None,
    }


def of_attempt_change(value: Attempt) -> Values:
    """The parameters of ``UPDATE_ATTEMPT``."""
    return {"of_id": value.id, **_of_attempt_state(value)}


def _of_attempt_state(value: Attempt) -> Values:
    reason = _of_reason(value.reason) if value.reason else {}
    return {
        "state": value.state.value,
        "expected_end_at": value.expected_end_at,
        "started_at": value.started_at,
        "ended_at": value.ended_at,
        "exit_code": value.exit_code,
        "reason_code": reason.get("reason_code"),
        "reason_message": reason.get("reason_message"),
        "kept_s": value.kept_s,
        "lost_s": value.lost_s,
        "lost_kwh": value.lost_kwh,
        "tasks_done": value.tasks_done or None,
    }


def attempt(row: Row[Any]) -> Attempt:
    """The attempt of a row of attempts."""
    return Attempt(
        id=row.id,
        job_id=row.job_id,
        number=row.number,
        epoch=row.epoch,
        state=AttemptState(row.state),
        cluster=row.cluster,
        accelerator=row.accelerator,
        nodes=tuple(json.loads(row.nodes)),
        assigned_at=row.assigned_at,
        expected_end_at=row.expected_end_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        reason=Reason(ReasonCode(row.reason_code), row.reason_message) if row.reason_code else None,
        energy_kwh=row.energy_kwh or 0.0,
        kept_s=row.kept_s,
        lost_s=row.lost_s,
        lost_kwh=row.lost_kwh,
        tasks_done=row.tasks_done or b"",
    )


def placement(row: Row[Any]) -> PlacementRecord:
    """The placement of a row of attempts that a round made."""
    return PlacementRecord(
        job_id=row.job_id,
        attempt_id=row.id,
        cluster=row.cluster,
        accelerator=row.accelerator,
        nodes=tuple(json.loads(row.nodes)),
        start_at=row.planned_start_at,
        end_at=row.planned_end_at,
        energy_kwh=row.energy_kwh,
        green_share=row.green_share,
        cost_yuan=row.cost_yuan,
        carbon_kg=row.carbon_kg,
        saving=SAVING.decode(row.saving) if row.saving else None,
        round_id=row.round_id,
    )


def of_event(value: JobEvent, version: int) -> Values:
    """A row of events; the database numbers it."""
    return {
        "job_id": value.job_id,
        "version": version,
        "at": value.at,
        "actor": value.actor,
        "event": value.event,
        "from_state": value.from_state.value,
        "to_state": value.to_state.value,
        **_of_reason(value.reason),
        "attempt_id": value.attempt_id,
    }


def event(row: Row[Any]) -> JobEvent:
    """The event of a row of events."""
    return JobEvent(
        id=row.id,
        job_id=row.job_id,
        at=row.at,
        actor=row.actor,
        event=row.event,
        from_state=JobState(row.from_state),
        to_state=JobState(row.to_state),
        reason=Reason(ReasonCode(row.reason_code), row.reason_message),
        attempt_id=row.attempt_id,
    )


def numbered(value: JobEvent, id_: int) -> JobEvent:
    """The event with the number that the database gave it."""
    return replace(value, id=id_)


def of_round(value: RoundRecord) -> Values:
    """A row of rounds."""
    return {
        "id": value.id,
        "at": value.at,
        "trigger": value.trigger,
        "jobs": value.jobs,
        "placed": value.placed,
        "planned": value.planned,
        "unplaced": value.unplaced,
        "objective_yuan": value.objective_yuan,
        "bound_yuan": value.bound_yuan,
        "gap": value.gap,
        "wall_ms": value.wall_ms,
        "stages": json.dumps(value.stages),
        "reasons": json.dumps(value.reasons),
        "interruptions": json.dumps(value.interruptions),
        "running": value.running,
        "nodes": value.nodes,
        "clusters": value.clusters,
        "moved": value.moved,
        "kept": value.kept,
        "quick": value.quick,
    }


def round_record(row: Row[Any]) -> RoundRecord:
    """The round of a row of rounds."""
    return RoundRecord(
        id=row.id,
        at=row.at,
        trigger=row.trigger,
        jobs=row.jobs,
        placed=row.placed,
        planned=row.planned,
        unplaced=row.unplaced,
        objective_yuan=row.objective_yuan,
        bound_yuan=row.bound_yuan,
        gap=row.gap,
        wall_ms=row.wall_ms,
        stages=tuple((name, ms) for name, ms in json.loads(row.stages)),
        reasons=json.loads(row.reasons),
        interruptions=json.loads(row.interruptions),
        running=row.running,
        nodes=row.nodes,
        clusters=row.clusters,
        moved=row.moved,
        kept=row.kept,
        quick=row.quick,
    )


def _of_reason(value: Reason) -> Values:
    # A job's own output may be in the message; PostgreSQL's text holds no NUL.
    return {"reason_code": value.code.value, "reason_message": value.message.replace("\0", "�")}
