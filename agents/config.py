"""The agent's configuration: one YAML file, each key overridable by the environment."""

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agents.source_keys import Feed, Green, MeteredPue, NotNegative, Positive, Price, Section
from scheduler import yamlfile

# Becomes a folder's name and a label of a Ray node.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
HostPort = Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")]

# Keys that hold paths, wherever they stand below the section; relative ones are taken from the
# folder of the file that names them.
_PATHS = {"data_dir", "tls_ca", "table", "file", "auth_token_file", "token_file", "tool", "disk"}


class ConfigError(Exception):
    """The configuration cannot be used; the message names each key, its value and what it takes."""


class SchedulerAddress(Section):
    """Where the scheduler is and how to be let in."""

    address: HostPort = Field(description="host:port of the scheduler's gRPC service")
    tls_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed its certificate; else text"
    )
    token: str | None = Field(default=None, description="bearer token, when the scheduler asks one")


class Accelerators(Section):
    """What this node has: read from the vendor's driver or tool, or declared by its operator."""

    source: Literal["declared", "nvidia", "ascend", "cambricon", "enflame"] = Field(
        default="declared",
        description="declared: what stands here; nvidia: NVML; the others: the vendor's tool",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="as jobs name it, e.g. A800; default: as it is read",
    )
    count: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        default=None, description="whole accelerators; only declared"
    )
    gpu_power_kw: Positive | None = Field(
        default=None,
        description="draw of one under load, its share of the host included; default: its power "
        "limit and `host_share_kw`",
    )
    host_share_kw: NotNegative = Field(
        default=0.0,
        description="what the host draws beside its accelerators, per accelerator; counted in the "
        "energy of attempts",
    )
    tflops: Positive | None = Field(
        default=None, description="dense FP16 of one; default: from the table of models"
    )
    tool: Path | None = Field(
        default=None, description="the vendor's tool; default: npu-smi, cnmon or efsmi on the PATH"
    )

    @model_validator(mode="after")
    def _all_declared(self) -> "Accelerators":
        if self.source == "declared":
            needed = ("model", "count", "gpu_power_kw")
            lacking = [name for name in needed if getattr(self, name) is None]
            if lacking:
                raise ValueError(f"declared accelerators need {', '.join(lacking)}")
        elif self.count is not None:
            raise ValueError(f"count = {self.count}: leave it out, {self.source} tells it")
        return self


class Host(Section):
    """The host, where what is measured is not what jobs may use."""

    cpus: Positive | None = Field(default=None, description="cores for jobs; default: all logical")
    memory_gb: Positive | None = Field(
        default=None, description="memory for jobs; default: all, in units of 10^9 bytes"
    )
    disk: Path | None = Field(
        default=None, description="on the disk that jobs' data is kept on; default: data_dir"
    )
    cpu_power_kw: NotNegative = Field(
        default=0.01, description="draw of one core under load, for workers without accelerators"
    )


class Link(Section):
    """The way data takes between this cluster and a region or another cluster."""

    peer: str = Field(min_length=1, description="region or cluster at the other end")
    bandwidth_gbps: Positive = Field(description="gigabits per second that jobs' data may use")
    transfer_yuan_per_gb: NotNegative = Field(default=0.0, description="what a GB costs")


class Ray(Section):
    """The cluster's own Ray, reached from its head node."""

    address: HostPort = Field(description="host:port of Ray's head, on this host")
    dashboard_url: str | None = Field(
        default=None, description="of Ray's Jobs API; without it, jobs with a Ray driver fail"
    )
    auth_token_file: Path | None = Field(
        default=None, description="file with the token that this Ray cluster asks for"
    )


class Head(Section):
    """Given on one node of each cluster: what holds for the cluster, and the Ray it runs on."""

    province: str = Field(min_length=1, description="where the cluster lies, for data residency")
    price: Price
    green: Green
    pue: Annotated[float, Field(ge=1, le=3)] = Field(
        description="facility kWh / IT kWh, where and while it is not metered"
    )
    pue_metered: MeteredPue | None = None
    grid_carbon_g_per_kwh: NotNegative = Field(
        description="of the energy that is not green, where and while `grid_carbon` tells nothing"
    )
    grid_carbon: Feed | None = Field(default=None, description="the same over time, in g/kWh")
    power_cap_kw: Positive | None = Field(
        default=None, description="most the cluster may draw at the door; default: no cap"
    )
    links: tuple[Link, ...] = Field(default=(), description="ways for jobs' data")
    ray: Ray


class AgentConfig(BaseSettings):
    """Every key can also be set as WESTWARD_AGENT_<KEY> (nested: __), which overrides the file."""

    model_config = SettingsConfigDict(
        env_prefix="WESTWARD_AGENT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    node_id: Name = Field(description="unique over all nodes of all clusters")
    cluster: Name = Field(description="the cluster this node belongs to")
    scheduler: SchedulerAddress
    data_dir: Path = Field(
        default=Path("/var/lib/westward"),
        description="folder for attempts, logs and working directories; the same on every node",
    )
    accelerators: Accelerators | None = Field(default=None, description="default: none")
    host: Host = Host()
    head: Head | None = Field(default=None, description="only on the cluster's head node")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What `load` read from the file comes as arguments; the environment goes first.
        return (env_settings, init_settings)

    @property
    def node_dir(self) -> Path:
        """This node's own folder; nodes on one machine may share ``data_dir``."""
        return self.data_dir / self.node_id


def load(path: Path) -> AgentConfig:
    """Reads the file and the environment above it.

    Raises:
        ConfigError: no such file, not YAML, or a key that is missing, unknown or out of range.
    """
    try:
        keys = yamlfile.parsed(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(keys, dict):
        raise ConfigError(f"{path}: holds {type(keys).__name__}, not a mapping of keys")
    base = path.resolve().parent
    keys = {str(key): _absolute(str(key), value, base) for key, value in keys.items()}
    try:
        return AgentConfig(**keys)
    except ValidationError as error:
        raise ConfigError(_told(error, path)) from error


def _absolute(key: str, value: Any, base: Path) -> Any:
    if isinstance(value, dict):
        return {name: _absolute(str(name), below, base) for name, below in value.items()}
    # A tool without a slash is looked for on the PATH.
    if key in _PATHS and isinstance(value, str) and (key != "tool" or "/" in value):
        return str(base / value)
    return value


def _told(error: ValidationError, path: Path) -> str:
    lines = [f"{path}: {error.error_count()} thing(s) to mend"]
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"  {where}: unknown key{_suggestion(item['loc'])}")
        elif item["type"] == "missing":
            lines.append(f"  {where}: missing")
        elif item["type"] == "value_error" and isinstance(item["input"], dict):
            # Keys that do not go together.
            lines.append(f"  {where}: {item['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"  {where} = {item['input']!r}: {item['msg']}")
    return "\n".join(lines)


def _suggestion(loc: tuple[str | int, ...]) -> str:
    model: type[BaseModel] | None = AgentConfig
    for part in loc[:-1]:
        if model is not None and isinstance(part, str) and part in model.model_fields:
            model = _section_of(model.model_fields[part].annotation)
    known = list(model.model_fields) if model is not None else []
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section behind ``Section``, ``Section | None`` or ``tuple[Section, ...]``."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType, tuple) else ()
    for candidate in parts or (annotation,):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
