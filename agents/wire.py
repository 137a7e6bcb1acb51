"""Between what agents and scheduler say to each other and the values that the agent works with."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from agents.executor.base import Assignment, Observation
from agents.lease import GRACE_S
from scheduler.clock import PowerClock
from scheduler.domain.job import ArraySpec, Command, RayEntrypoint
from scheduler.domain.series import Series
from westward.v1 import job_pb2, node_pb2

# Ids of attempts and nodes become folder names: nothing else may reach the disk.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Of an error message, so much is told.
TROUBLE_CHARS = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


class RefusedMessageError(ValueError):
    """A message of the scheduler makes no sense; it is logged and left aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a Welcome says: the clock, where to probe (address by region), how often and far."""

    clock: PowerClock
    gateways: Mapping[str, str]
    report_interval_s: float
    slot_s: float
    horizon_s: float


def terms(welcome: node_pb2.Welcome) -> Terms:
    """Reads a Welcome, which has just come: the power clock goes on from here by this host's clock.
    What the host's clock shows does not matter, wrong as it may be, only that it goes on.

    Raises:
        RefusedMessageError: a figure that no agent could work with.
    """
    figures = {
        "power_clock.speedup": welcome.power_clock.speedup,
        "report_interval_s": welcome.report_interval_s,
        "slot_s": welcome.slot_s,
        "horizon_s": welcome.horizon_s,
    }
    for name, value in figures.items():
        if not (math.isfinite(value) and value > 0):
            raise RefusedMessageError(f"welcome.{name} is {value:g}, not more than 0")
    if welcome.horizon_s / min(welcome.slot_s, 3600.0) > 100_000:
        raise RefusedMessageError(
            f"welcome.horizon_s {welcome.horizon_s:g} is more than 100000 slots"
        )
    clock = PowerClock(
        welcome.power_clock.speedup,
        datetime.now(UTC),
        _datetime(welcome.power_clock.clock_at, "welcome.power_clock.clock_at"),
    )
    return Terms(
        clock=clock,
        gateways={gateway.region: gateway.address for gateway in welcome.gateways},
        report_interval_s=welcome.report_interval_s,
        slot_s=welcome.slot_s,
        horizon_s=welcome.horizon_s,
    )


def objection(attempt: node_pb2.DesiredAttempt) -> str | None:
    """Why an attempt cannot be run whatever one does; None for any that can be tried."""
    if not ID.fullmatch(attempt.attempt_id):
        return f"attempt_id {attempt.attempt_id!r} is not an id"
    if strange := [w.node_id for w in attempt.workers if not ID.fullmatch(w.node_id)]:
        return f"node_id {strange[0]!r} is not an id"
    if not (attempt.spec.command.argv or attempt.spec.ray.entrypoint):
        return "the spec has neither a command nor a Ray entrypoint"
    ranks = sorted(worker.rank for worker in attempt.workers)
    if not ranks or ranks != list(range(len(ranks))):
        return f"the workers' ranks are {ranks[:8]}, not 0, 1, 2, …"
    sha256 = attempt.spec.working_dir_sha256
    if sha256 and not _SHA256.fullmatch(sha256):
        return f"working_dir_sha256 {sha256!r} is not a SHA-256 in hex"
    return None


def assignment(attempt: node_pb2.DesiredAttempt, working_dir: Path | None) -> Assignment:
    """What the executor is given; zeros in the shape stand for its defaults."""
    spec = attempt.spec
    work: Command | RayEntrypoint
    if spec.WhichOneof("work") == "ray":
        work = RayEntrypoint(spec.ray.entrypoint)
    else:
        work = Command(tuple(spec.command.argv))
    nodes = {worker.rank: worker.node_id for worker in attempt.workers}
    array = None
    if spec.HasField("array"):
        array = ArraySpec(
            tasks=spec.array.tasks,
            task_attempts=spec.array.task_attempts or 1,
            first_task=spec.array.first_task,
        )
    return Assignment(
        attempt_id=attempt.attempt_id,
        job_id=attempt.job_id,
        epoch=attempt.epoch,
        number=attempt.number,
        work=work,
        nodes=tuple(nodes[rank] for rank in sorted(nodes)),
        gpus=spec.per_worker.gpus,
        cpus=spec.per_worker.cpus or 1.0,
        memory_gb=spec.per_worker.memory_gb or 1.0,
        env=dict(spec.env),
        working_dir=working_dir,
        stop_grace_s=spec.stop_grace_s or GRACE_S,
        checkpoint_uri=attempt.checkpoint_uri,
        outlives_lease=spec.on_unreachable == job_pb2.ON_UNREACHABLE_WAIT,
        array=array,
        tasks_done=attempt.tasks_done,
    )


def observed(observation: Observation, clock: PowerClock) -> node_pb2.ObservedAttempt:
    """An observation for the scheduler, its times moved to the power clock."""
    message = node_pb2.ObservedAttempt(
        attempt_id=observation.attempt_id,
        epoch=observation.epoch,
        state=job_pb2.AttemptState.Value(f"ATTEMPT_STATE_{observation.state}"),
        exit_code=observation.exit_code,
    )
    if observation.started_at_s is not None:
        message.started_at.CopyFrom(_power_time(clock, observation.started_at_s))
    if observation.ended_at_s is not None:
        message.ended_at.CopyFrom(_power_time(clock, observation.ended_at_s))
    if observation.reason is not None:
        message.reason.code = observation.reason.code
        message.reason.message = observation.reason.message
    if (tasks := observation.tasks) is not None:
        message.tasks.succeeded = tasks.succeeded
        message.tasks.failed = tasks.failed
        message.tasks.running = tasks.running
    return message


def series(values: Series) -> node_pb2.Series:
    """A series for the scheduler."""
    message = node_pb2.Series(
        step_s=values.step_s,
        values=values.values,
        source=values.source,
        quantiles=[node_pb2.Quantile(q=one.q, values=one.values) for one in values.quantiles],
        trouble=values.trouble[:TROUBLE_CHARS],
        measured=values.measured,
        from_share=values.from_share,
        standing=values.standing,
    )
    message.start_at.FromDatetime(values.start_at)
    if values.read_at is not None:
        message.read_at.FromDatetime(values.read_at)
    return message


def _power_time(clock: PowerClock, real_s: float) -> Timestamp:
    elapsed_s = real_s - clock.real_at.timestamp()
    message = Timestamp()
    message.FromDatetime(clock.clock_at + timedelta(seconds=elapsed_s * clock.speedup))
    return message


def _datetime(stamp: Timestamp, name: str) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedMessageError(f"{name} is not a time: {error}") from error
