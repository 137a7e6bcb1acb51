"""Jobs on the wire and in the domain. Imports only the domain and the stubs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from scheduler.domain.arrays import TaskCounts
from scheduler.domain.job import (
    AcceleratorOption,
    ArraySpec,
    Attempt,
    AttemptState,
    Command,
    DataInput,
    GreenMatching,
    Job,
    JobEvent,
    JobSpec,
    JobState,
    OnUnreachable,
    RayEntrypoint,
    WorkerShape,
)
from scheduler.domain.log import LogPiece, LogStream
from scheduler.domain.reason import Reason
from scheduler.domain.transitions import Event
from scheduler.domain.validation import Violation
from westward.v1 import job_pb2

# What a field that was left unset stands for, where that is not its zero.
DEFAULT_WORKERS = 1
DEFAULT_CPUS = 1.0
DEFAULT_MEMORY_GB = 1.0
DEFAULT_SPEED = 1.0
DEFAULT_ATTEMPTS = 3
DEFAULT_STOP_GRACE_S = 5.0
DEFAULT_CHUNK_TASKS = 10_000
DEFAULT_TASK_ATTEMPTS = 1
NANOS = 1_000_000_000


class MalformedError(Exception):
    """A message that no domain value can be made of."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


def stamp(at: datetime) -> Timestamp:
    """An aware time on the wire."""
    message = Timestamp()
    message.FromDatetime(at)
    return message


def when(message: Timestamp) -> datetime:
    """A time from the wire, aware, in UTC, to the microsecond.

    Raises:
        ValueError: it lies outside the years 1 to 9999, or its nanos outside a second.
    """
    if not 0 <= message.nanos < NANOS:
        raise ValueError(f"nanos {message.nanos} are not within 0 to 999999999")
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{message.seconds} s is outside the years 1 to 9999") from error


def spec_from_pb(message: job_pb2.JobSpec) -> JobSpec:
    """The spec that a client sent, not yet judged by ``validation``.

    Raises:
        MalformedError: a time that is none, or fields that this version does not know: to ignore
            a limit that the user has set would be to break it.
    """
    faults = []
    if _knows_more(message):
        faults += [Violation(path, _UNKNOWN) for path in _unknown_fields(message, "")]
    times: dict[str, datetime | None] = {}
    for field in ("earliest_start_at", "deadline_at"):
        try:
            times[field] = when(getattr(message, field)) if message.HasField(field) else None
        except ValueError as error:
            faults.append(Violation(field, f"{error}; give a time in seconds since 1970"))
    if faults:
        raise MalformedError(faults)
    return JobSpec(
        name=message.name,
        tenant=message.tenant,
        region=message.region,
        work=_work(message),
        expected_duration_s=message.expected_duration_s,
        env=dict(message.env),
        working_dir_sha256=message.working_dir_sha256 or None,
        workers=message.workers or DEFAULT_WORKERS,
        per_worker=WorkerShape(
            message.per_worker.gpus,
            message.per_worker.cpus or DEFAULT_CPUS,
            message.per_worker.memory_gb or DEFAULT_MEMORY_GB,
        ),
        accelerators=tuple(
            AcceleratorOption(option.model, option.relative_speed or DEFAULT_SPEED)
            for option in message.accelerators
        ),
        earliest_start_at=times["earliest_start_at"],
        deadline_at=times["deadline_at"],
        max_delay_s=message.max_delay_s,
        interruptible=message.interruptible,
        max_rtt_ms=message.max_rtt_ms if message.HasField("max_rtt_ms") else None,
        min_green_share=message.min_green_share if message.HasField("min_green_share") else None,
        green_matching=_green_matching(message.green_matching),
        data=tuple(DataInput(item.size_gb, item.location) for item in message.data),
        must_be_in=tuple(message.must_be_in),
        must_not_be_in=tuple(message.must_not_be_in),
        priority=message.priority,
        max_attempts=message.max_attempts or DEFAULT_ATTEMPTS,
        on_unreachable=_on_unreachable(message.on_unreachable),
        stop_grace_s=message.stop_grace_s or DEFAULT_STOP_GRACE_S,
        checkpoint_uri=message.checkpoint_uri or None,
        checkpoint_interval_s=message.checkpoint_interval_s,
        restart_s=message.restart_s,
        array=_array(message.array) if message.HasField("array") else None,
    )


def spec_to_pb(spec: JobSpec) -> job_pb2.JobSpec:
    """A valid spec on the wire; every default is spelt out."""
    message = job_pb2.JobSpec(
        name=spec.name,
        tenant=spec.tenant,
        region=spec.region,
        env=spec.env,
        working_dir_sha256=spec.working_dir_sha256 or "",
        workers=spec.workers,
        per_worker=job_pb2.WorkerShape(
            gpus=spec.per_worker.gpus,
            cpus=spec.per_worker.cpus,
            memory_gb=spec.per_worker.memory_gb,
        ),
        accelerators=[
            job_pb2.AcceleratorOption(model=option.model, relative_speed=option.relative_speed)
            for option in spec.accelerators
        ],
        expected_duration_s=spec.expected_duration_s,
        earliest_start_at=stamp(spec.earliest_start_at) if spec.earliest_start_at else None,
        deadline_at=stamp(spec.deadline_at) if spec.deadline_at else None,
        max_delay_s=spec.max_delay_s,
        interruptible=spec.interruptible,
        max_rtt_ms=spec.max_rtt_ms,
        min_green_share=spec.min_green_share,
        green_matching=job_pb2.GreenMatching.Value(f"GREEN_MATCHING_{spec.green_matching}"),
        data=[job_pb2.DataInput(size_gb=d.size_gb, location=d.location) for d in spec.data],
        must_be_in=spec.must_be_in,
        must_not_be_in=spec.must_not_be_in,
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        on_unreachable=job_pb2.OnUnreachable.Value(f"ON_UNREACHABLE_{spec.on_unreachable}"),
        stop_grace_s=spec.stop_grace_s,
        checkpoint_uri=spec.checkpoint_uri or "",
        checkpoint_interval_s=spec.checkpoint_interval_s,
        restart_s=spec.restart_s,
    )
    if spec.array is not None:
        message.array.tasks = spec.array.tasks
        message.array.chunk_tasks = spec.array.chunk_tasks
        message.array.task_attempts = spec.array.task_attempts
        message.array.first_task = spec.array.first_task
    if isinstance(spec.work, Command):
        message.command.argv.extend(spec.work.argv)
        message.command.SetInParent()
    else:
        message.ray.entrypoint = spec.work.entrypoint
        message.ray.SetInParent()
    return message


def job_to_pb(job: Job) -> job_pb2.Job:
    """A job with its attempts. Where it is planned to run is not the job's to know."""
    return job_pb2.Job(
        id=job.id,
        spec=spec_to_pb(job.spec),
        state=state_to_pb(job.state),
        reason=reason_to_pb(job.reason),
        version=job.version,
        created_at=stamp(job.created_at),
        updated_at=stamp(job.updated_at),
        attempts=[attempt_to_pb(attempt) for attempt in job.attempts],
        array_id=job.array_id or "",
        done_s=job.done_s,
    )


def task_counts_to_pb(counts: TaskCounts) -> job_pb2.TaskCounts:
    """How many tasks are in which state, for the wire."""
    return job_pb2.TaskCounts(
        total=counts.total,
        running=counts.running,
        succeeded=counts.succeeded,
        failed=counts.failed,
        unfinished=counts.unfinished,
    )


def attempt_to_pb(attempt: Attempt) -> job_pb2.Attempt:
    """One attempt."""
    return job_pb2.Attempt(
        id=attempt.id,
        number=attempt.number,
        epoch=attempt.epoch,
        state=attempt_state_to_pb(attempt.state),
        cluster=attempt.cluster,
        accelerator=attempt.accelerator,
        workers=workers_to_pb(attempt.nodes),
        assigned_at=stamp(attempt.assigned_at),
        started_at=stamp(attempt.started_at) if attempt.started_at else None,
        ended_at=stamp(attempt.ended_at) if attempt.ended_at else None,
        exit_code=attempt.exit_code,
        reason=reason_to_pb(attempt.reason) if attempt.reason else None,
        kept_s=attempt.kept_s,
        lost_s=attempt.lost_s,
        lost_kwh=attempt.lost_kwh,
    )


def event_to_pb(event: JobEvent) -> job_pb2.JobEvent:
    """One transition; a job's first comes from no state."""
    born = event.event == Event.SUBMIT.value
    return job_pb2.JobEvent(
        id=event.id,
        job_id=event.job_id,
        at=stamp(event.at),
        actor=event.actor,
        event=event.event,
        from_state=job_pb2.JOB_STATE_UNSPECIFIED if born else state_to_pb(event.from_state),
        to_state=state_to_pb(event.to_state),
        reason=reason_to_pb(event.reason),
        attempt_id=event.attempt_id or "",
    )


def log_piece_to_pb(piece: LogPiece) -> job_pb2.LogsResponse:
    """Bytes that a worker wrote."""
    return job_pb2.LogsResponse(
        attempt_id=piece.attempt_id,
        rank=piece.rank,
        stream=log_stream_to_pb(piece.stream),
        offset=piece.offset,
        data=piece.data,
    )


def reason_to_pb(reason: Reason) -> job_pb2.Reason:
    """Code and sentence."""
    return job_pb2.Reason(code=reason.code.value, message=reason.message)


def workers_to_pb(nodes: Sequence[str]) -> list[job_pb2.Worker]:
    """Workers by rank, each with its node."""
    return [job_pb2.Worker(rank=rank, node_id=node) for rank, node in enumerate(nodes)]


def state_to_pb(state: JobState) -> job_pb2.JobState.ValueType:
    """The state of the same name."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state.value}")


def state_from_pb(state: job_pb2.JobState.ValueType) -> JobState:
    """The state of the same name.

    Raises:
        MalformedError: unspecified, or newer than this version.
    """
    return JobState(_name(job_pb2.JobState, state, "JOB_STATE_", "state"))


def attempt_state_to_pb(state: AttemptState) -> job_pb2.AttemptState.ValueType:
    """The state of the same name."""
    return job_pb2.AttemptState.Value(f"ATTEMPT_STATE_{state.value}")


def log_stream_to_pb(stream: LogStream) -> job_pb2.LogStream.ValueType:
    """The stream of the same name."""
    return job_pb2.LogStream.Value(f"LOG_STREAM_{stream.value}")


def log_stream_from_pb(stream: job_pb2.LogStream.ValueType) -> LogStream:
    """The stream of the same name.

    Raises:
        MalformedError: unspecified, or newer than this version.
    """
    return LogStream(_name(job_pb2.LogStream, stream, "LOG_STREAM_", "stream"))


_UNKNOWN = "this version does not know this field; drop it, or upgrade the scheduler"


def _work(message: job_pb2.JobSpec) -> Command | RayEntrypoint:
    if message.WhichOneof("work") == "ray":
        return RayEntrypoint(message.ray.entrypoint)
    return Command(tuple(message.command.argv))


def _on_unreachable(value: job_pb2.OnUnreachable.ValueType) -> OnUnreachable:
    if value == job_pb2.ON_UNREACHABLE_UNSPECIFIED:
        return OnUnreachable.RETRY
    return OnUnreachable(_name(job_pb2.OnUnreachable, value, "ON_UNREACHABLE_", "on_unreachable"))


def _green_matching(value: job_pb2.GreenMatching.ValueType) -> GreenMatching:
    if value == job_pb2.GREEN_MATCHING_UNSPECIFIED:
        return GreenMatching.SLOT
    return GreenMatching(_name(job_pb2.GreenMatching, value, "GREEN_MATCHING_", "green_matching"))


def _array(message: job_pb2.ArraySpec) -> ArraySpec:
    return ArraySpec(
        tasks=message.tasks,
        chunk_tasks=message.chunk_tasks or DEFAULT_CHUNK_TASKS,
        task_attempts=message.task_attempts or DEFAULT_TASK_ATTEMPTS,
        first_task=message.first_task,
    )


def _name(kind: Any, value: int, prefix: str, field: str) -> str:
    known = {number: name.removeprefix(prefix) for name, number in kind.items() if number}
    if value not in known:
        text = f"{value} is not known; one of {', '.join(known.values())}"
        raise MalformedError([Violation(field, text)])
    return str(known[value])


def _knows_more(message: job_pb2.JobSpec) -> bool:
    """Whether it has fields that the stubs do not know; found at the speed of C."""
    known = job_pb2.JobSpec()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() != message.ByteSize()


def _unknown_fields(message: Message, path: str) -> Iterator[str]:
    """Paths of fields that the stubs do not know, by number."""
    unknown = UnknownFieldSet(message)
    for at in range(len(unknown)):
        yield f"{path}field {unknown[at].field_number}"
    for descriptor, value in message.ListFields():
        kind = descriptor.message_type
        if kind is None or kind.GetOptions().map_entry:
            continue
        if isinstance(value, Message):
            yield from _unknown_fields(value, f"{path}{descriptor.name}.")
        else:
            for at, item in enumerate(value):
                yield from _unknown_fields(item, f"{path}{descriptor.name}[{at}].")
