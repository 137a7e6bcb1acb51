"""A job as people write it: the fields, their ranges, and what they become on the wire."""

import shlex
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from scheduler.client import units
from westward.v1 import job_pb2


def _argv(value: object) -> object:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise ValueError(
                f"{value!r}: {str(error).lower()}; close it, or write a list"
            ) from None
    return value


def _speeds(value: object) -> object:
    if isinstance(value, list):
        wrong = next((item for item in value if not isinstance(item, str)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is not a model; write [A800, H800] or {{A800: 1.0}}")
        return dict.fromkeys(value, 1.0)
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _schema(*kinds: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema(kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)})


_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_WRITTEN: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_SPEED: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}

_DURATION_TEXT = {**_TEXT, "minLength": 1, "pattern": units.DURATION_PATTERN}
PositiveSeconds = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False),
    BeforeValidator(units.duration_s),
    _schema({"type": "number", "exclusiveMinimum": 0}, _DURATION_TEXT),
]
Seconds = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False),
    BeforeValidator(units.duration_s),
    _schema({"type": "number", "minimum": 0}, _DURATION_TEXT),
]
Moment = Annotated[
    datetime | timedelta,
    BeforeValidator(units.moment),
    _schema({**_TEXT, "pattern": units.MOMENT_PATTERN}),
]
Share = Annotated[
    float,
    Field(allow_inf_nan=False),
    BeforeValidator(units.share),
    _schema(
        {"type": "number", "minimum": 0, "maximum": 1},
        {**_TEXT, "pattern": units.PERCENT_PATTERN},
    ),
]
Argv = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(_argv),
    _schema({**_TEXT, "minLength": 1}, {"type": "array", "items": _WRITTEN, "minItems": 1}),
]
Speeds = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    BeforeValidator(_speeds),
    _schema({"type": "object", "additionalProperties": _SPEED}, _TEXTS),
]
Env = Annotated[dict[str, str], _schema({"type": "object", "additionalProperties": _WRITTEN})]
Places = Annotated[list[str], BeforeValidator(_one_or_more), _schema(_TEXT, _TEXTS)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PerWorker(_Part):
    """What each worker needs, on one node."""

    gpus: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="Whole accelerators.", examples=[8]
    )
    cpus: Amount = Field(default=1.0, description="CPU cores.", examples=[16])
    memory_gb: Amount = Field(default=1.0, description="Memory in GB.", examples=[64])


class RayDriver(_Part):
    """A Ray driver of your own, started once through Ray's Jobs API."""

    entrypoint: str = Field(
        min_length=1,
        description="Shell command that starts the driver.",
        examples=["python tune.py"],
    )


class Data(_Part):
    """Data that the job reads; it must have arrived before the start."""

    size_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        description="Size in GB.", examples=[120]
    )
    at: str = Field(description="The region or cluster where it lies.", examples=["shanghai"])


class Array(_Part):
    """Many tasks of one shape; the command sees WESTWARD_TASK_INDEX."""

    tasks: Annotated[int, Field(ge=1, le=100_000)] = Field(
        description="How many; the duration is that of one.", examples=[5000]
    )
    chunk_tasks: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=10_000,
        description="Tasks that are placed as one unit; its workers take them one by one.",
        examples=[1000],
    )
    task_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Tries of a task before it counts as failed.", examples=[3]
    )


class JobRequest(_Part):
    """A Westward job. Exactly one of `command` and `ray` says what to run."""

    name: str = Field(
        min_length=1,
        max_length=128,
        description="For people; need not be unique.",
        examples=["llama-sft"],
    )
    tenant: str = Field(
        min_length=1, description="Who pays. May come from WESTWARD_TENANT.", examples=["vision"]
    )
    region: str = Field(
        min_length=1, description="Origin region; latency is measured to it.", examples=["shanghai"]
    )
    command: Argv | None = Field(
        default=None,
        description="Program and arguments, started once per worker.",
        examples=["python train.py --epochs 3"],
    )
    ray: RayDriver | None = Field(default=None)
    env: Env = Field(
        default_factory=dict,
        description="Environment of every worker.",
        examples=[{"OMP_NUM_THREADS": "8"}],
    )
    working_dir: str | None = Field(
        default=None,
        min_length=1,
        examples=["./src"],
        description="Directory to ship, relative to this file; at most 64 MiB compressed.",
    )
    workers: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=1, description="Size of the gang: all workers run, or none.", examples=[2]
    )
    per_worker: PerWorker = Field(default=PerWorker(), examples=["{gpus: 8}"])
    accelerators: Speeds = Field(
        default_factory=dict,
        examples=[{"A800": 1.0, "H800": 1.8}],
        description="Models the job accepts, with its speed on each; 2 halves the duration. "
        "Empty: any model.",
    )
    duration: PositiveSeconds = Field(
        description="Expected duration at speed 1: seconds, or 30m, 1h30m, 2d.", examples=["1h30m"]
    )
    earliest_start: Moment | None = Field(
        default=None,
        description="Not before: ISO 8601 with a zone, or +2h after submission.",
        examples=["+2h"],
    )
    deadline: Moment | None = Field(
        default=None,
        description="Must have ended by: ISO 8601 with a zone, or +8h after submission.",
        examples=["+8h"],
    )
    max_delay: Seconds = Field(
        default=0.0,
        examples=["6h"],
        description="How long the start may be put off for a cheaper or greener hour. "
        "0: starts as soon as it fits.",
    )
    interruptible: bool = Field(
        default=False,
        description="May be stopped, with SIGTERM and stop_grace, and resumed elsewhere from its "
        "checkpoint.",
        examples=[True],
    )
    stop_grace: PositiveSeconds = Field(
        default=5.0, description="Between SIGTERM and SIGKILL.", examples=["30s"]
    )
    checkpoint_uri: str | None = Field(
        default=None,
        description="Where checkpoints are kept, any fsspec URI; every attempt is told it as "
        "WESTWARD_CHECKPOINT_URI. Empty: a place that the scheduler chooses.",
        examples=["s3://bucket/llama-sft"],
    )
    checkpoint_interval: Seconds = Field(
        default=0.0,
        description="How often the job saves one by itself. 0: only when told to stop.",
        examples=["10m"],
    )
    restart: Seconds = Field(
        default=0.0,
        description="What a resumed attempt needs before it gets on.",
        examples=["2m"],
    )
    on_unreachable: Literal["retry", "wait"] = Field(
        default="retry",
        description="When the cluster falls silent: retry elsewhere once the lease is over, or "
        "wait for the cluster.",
        examples=["wait"],
    )
    array: Array | None = Field(default=None, examples=["{tasks: 5000, task_attempts: 2}"])
    max_rtt_ms: Amount | None = Field(
        default=None,
        examples=[20],
        description="Largest round-trip time in ms (95th percentile) to the origin region.",
    )
    min_green_share: Share | None = Field(
        default=None,
        examples=["80%"],
        description="Smallest green share of the energy of the run: 0.8 or 80%.",
    )
    green_matching: Literal["slot", "run"] = Field(
        default="slot",
        description="Where the green share holds: in every slot of the run, or over the run as a "
        "whole, the green energy first.",
        examples=["run"],
    )
    data: list[Data] = Field(default_factory=list, examples=["[{size_gb: 120, at: shanghai}]"])
    must_be_in: Places = Field(
        default_factory=list, description="Clusters or provinces; any of them.", examples=["Gansu"]
    )
    must_not_be_in: Places = Field(
        default_factory=list, description="Clusters or provinces.", examples=["zhongwei"]
    )
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Higher goes first when capacity is short.", examples=[10]
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="Attempts before the job fails for good.", examples=[3]
    )

    @property
    def needs_clock(self) -> bool:
        """Whether a time in it is relative to the submission."""
        return any(isinstance(at, timedelta) for at in (self.earliest_start, self.deadline))

    def to_spec(
        self, *, now_at: datetime | None = None, working_dir_sha256: str = ""
    ) -> job_pb2.JobSpec:
        """The job on the wire.

        Args:
            now_at: the scheduler's power clock; what relative times are counted from.
            working_dir_sha256: of the uploaded working directory; empty for none.

        Raises:
            ValueError: a time is relative and ``now_at`` is None, or so late that no calendar
                holds it.
        """
        shape = self.per_worker
        spec = job_pb2.JobSpec(
            name=self.name,
            tenant=self.tenant,
            region=self.region,
            env=self.env,
            working_dir_sha256=working_dir_sha256,
            workers=self.workers,
            per_worker=job_pb2.WorkerShape(
                gpus=shape.gpus, cpus=shape.cpus, memory_gb=shape.memory_gb
            ),
            accelerators=[
                job_pb2.AcceleratorOption(model=model, relative_speed=speed)
                for model, speed in self.accelerators.items()
            ],
            expected_duration_s=self.duration,
            earliest_start_at=_timestamp("earliest_start", self.earliest_start, now_at),
            deadline_at=_timestamp("deadline", self.deadline, now_at),
            max_delay_s=self.max_delay,
            interruptible=self.interruptible,
            max_rtt_ms=self.max_rtt_ms,
            min_green_share=self.min_green_share,
            green_matching=job_pb2.GreenMatching.Value(
                f"GREEN_MATCHING_{self.green_matching.upper()}"
            ),
            data=[job_pb2.DataInput(size_gb=d.size_gb, location=d.at) for d in self.data],
            must_be_in=self.must_be_in,
            must_not_be_in=self.must_not_be_in,
            priority=self.priority,
            max_attempts=self.max_attempts,
            on_unreachable=job_pb2.OnUnreachable.Value(
                f"ON_UNREACHABLE_{self.on_unreachable.upper()}"
            ),
            stop_grace_s=self.stop_grace,
            checkpoint_uri=self.checkpoint_uri or "",
            checkpoint_interval_s=self.checkpoint_interval,
            restart_s=self.restart,
        )
        if self.array is not None:
            spec.array.tasks = self.array.tasks
            spec.array.chunk_tasks = self.array.chunk_tasks
            spec.array.task_attempts = self.array.task_attempts
        if self.command is not None:
            spec.command.argv.extend(self.command)
        if self.ray is not None:
            spec.ray.entrypoint = self.ray.entrypoint
        return spec


def _timestamp(
    field: str, at: datetime | timedelta | None, now_at: datetime | None
) -> Timestamp | None:
    if at is None:
        return None
    if isinstance(at, timedelta):
        if now_at is None:
            raise ValueError("a relative time needs the scheduler's clock: pass now_at")
        try:
            at = now_at + at
        except OverflowError as error:
            told = f"{field}: {at} after {now_at} lies beyond the year 9999; write less"
            raise ValueError(told) from error
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one document of a job file."""
    schema = JobRequest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Westward job"
    # The tenant may come from the settings of whoever submits.
    schema["required"].remove("tenant")
    schema["oneOf"] = [{"required": ["command"]}, {"required": ["ray"]}]
    return schema
