"""The scheduler's configuration: one YAML file, each key overridable by the environment."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url

from scheduler.domain.fleet import Region

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Times that are reckoned from these have to lie in the calendar, which begins in year 1 and ends in
# 9999: so much is taken from the power clock, or added to it.
KEEP_MOST_DAYS = 36_500.0
SLOT_MOST_S = 86_400.0
SPEEDUP_MOST = 1e6
# Ids of jobs tell the time in 139 years from 2020 on.
CLOCK_YEARS = range(2020, 2150)
Days = Annotated[float, Field(gt=0, le=KEEP_MOST_DAYS)]
# A third of a lease is left to end what runs, and a worker whose leash broke takes up to 5 s.
LEASE_TTL_MIN_S = 15.0
# Their values are not told in errors.
SECRETS = frozenset({"token", "database_url"})


def _of_our_time(at: datetime) -> datetime:
    if at.year not in CLOCK_YEARS:
        first, last = CLOCK_YEARS[0], CLOCK_YEARS[-1]
        raise ValueError(f"the year should lie between {first} and {last}")
    return at


class ConfigError(Exception):
    """The configuration cannot be used; the message names each key, its value and what it takes."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegionConfig(_Section):
    """An origin region."""

    gateway: str = Field(description="host:port of the region's `westward gateway`")
    label: str = Field(default="", description="name for people, e.g. 上海")
    price_yuan_per_kwh: Positive = Field(default=0.70, description="what energy costs there")
    pue: Annotated[float, Field(ge=1, le=3)] = Field(
        default=1.4, description="of a data centre there"
    )
    grid_carbon_g_per_kwh: Annotated[float, Field(ge=0, le=2000)] = Field(
        default=550.0, description="carbon intensity of the grid there"
    )


class TlsConfig(_Section):
    """Server certificate; without this section the scheduler speaks plain text."""

    cert: Path = Field(description="PEM file with the certificate chain")
    key: Path = Field(description="PEM file with the private key")


class ClockConfig(_Section):
    """The power clock. Leave it alone outside of demos: it runs with real time by default."""

    speedup: Annotated[float, Field(gt=0, le=SPEEDUP_MOST)] = Field(
        default=1.0, description="seconds of the power clock per real second"
    )
    starts_at: Annotated[AwareDatetime, AfterValidator(_of_our_time)] | None = Field(
        default=None, description="what it shows when the scheduler starts"
    )


class KeepConfig(_Section):
    """How long what has ended is kept, in days of the power clock; 36500 at most."""

    jobs_days: Days = Field(
        default=365.0,
        description="jobs with their events and attempts; their working directories go with the "
        "last job that names them",
    )
    logs_days: Days = Field(default=30.0, description="what the processes of jobs wrote")
    rounds_days: Days = Field(default=30.0, description="planning rounds")
    events_days: Days = Field(
        default=90.0, description="what happened to nodes, clusters and rounds"
    )


class MetricsConfig(_Section):
    """Figures for Prometheus. Whoever reaches the port may read them: no token is asked for."""

    listen: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] | None = Field(
        default=None,
        description="host:port to serve /metrics on, e.g. 127.0.0.1:9464; unset: nowhere",
    )


class SchedulerConfig(BaseSettings):
    """Every key can also be set as WESTWARD_SCHEDULER_<KEY> (nested: __)."""

    model_config = SettingsConfigDict(
        env_prefix="WESTWARD_SCHEDULER_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    listen: str = Field(default="127.0.0.1:7443", description="host:port to serve gRPC on")
    database_url: str = Field(
        default="sqlite:///westward.db",
        description="SQLAlchemy URL: sqlite:///FILE or postgresql+psycopg://…",
    )
    regions: dict[str, RegionConfig] = Field(
        default_factory=dict, description="the origin regions that jobs may name"
    )
    # Headers carry nothing but printable ASCII; an empty one would ask for no token at all.
    token: Annotated[str, Field(pattern=r"^[ -~]+$")] | None = Field(
        default=None, description="bearer token that every caller must send"
    )
    tls: TlsConfig | None = None
    checkpoint_uri: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://\S+$")] | None = Field(
        default=None,
        description="fsspec URI below which interruptible jobs keep their checkpoints; unset: "
        "beside an SQLite database, which only hosts that share its disk can use",
    )
    slot_s: Annotated[float, Field(gt=0, le=SLOT_MOST_S)] = Field(
        default=900.0, description="length of a planning slot, power clock; a day at most"
    )
    horizon_slots: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=96, description="how many slots a plan looks ahead"
    )
    round_interval_s: Positive = Field(
        default=10.0, description="longest pause between two rounds, real time; events plan sooner"
    )
    report_interval_s: Positive = Field(
        default=5.0, description="how often agents report, real time"
    )
    lease_ttl_s: Annotated[float, Field(ge=LEASE_TTL_MIN_S, allow_inf_nan=False)] = Field(
        default=30.0, description="how long an attempt lives unheard, real time; at least 15"
    )
    series_trusted_hours: Positive = Field(
        default=36.0,
        description="of prices, green supply, PUE and carbon that a source has not told anew for "
        "longer, real time, green supply counts as none and the others are marked as old",
    )
    policies: Path | None = Field(
        default=None,
        description="policy file: weights, clusters, tenants, maintenance; a change counts from "
        "the next round on",
    )
    keep: KeepConfig = KeepConfig()
    metrics: MetricsConfig = MetricsConfig()
    clock: ClockConfig = ClockConfig()

    def checkpoints_at(self) -> str | None:
        """Where jobs keep their checkpoints that name no place; None: they have to."""
        if self.checkpoint_uri is not None:
            return self.checkpoint_uri.rstrip("/")
        database = make_url(self.database_url).database
        if not self.database_url.startswith("sqlite") or database is None:
            return None
        return (Path(database).absolute().parent / "checkpoints").as_uri()

    def domain_regions(self) -> dict[str, Region]:
        """The regions as the planner knows them."""
        return {
            name: Region(
                name=name,
                gateway=r.gateway,
                price_yuan_per_kwh=r.price_yuan_per_kwh,
                pue=r.pue,
                grid_carbon_g_per_kwh=r.grid_carbon_g_per_kwh,
                label=r.label,
            )
            for name, r in self.regions.items()
        }


def load(path: Path | None) -> SchedulerConfig:
    """Reads the file, if any, and the environment above it.

    Raises:
        ConfigError: no such file, not YAML, or a key that is unknown or out of range.
    """
    keys = _read(path) if path is not None else {}

    class FromFile(SchedulerConfig):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (env_settings, init_settings)

    try:
        return FromFile(**keys)
    except ValidationError as error:
        raise ConfigError(_told(error, path)) from error
    except ValueError as error:
        raise ConfigError(f"{path or 'environment'}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """The keys of a file."""
    if not path.is_file():
        raise ConfigError(f"no configuration file at {path}")
    try:
        # Not its text: the errors of that quote the line, which may hold the token.
        with path.open(encoding="utf-8") as file:
            keys = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if keys is None:
        return {}
    if not isinstance(keys, dict):
        kind = type(keys).__name__
        raise ConfigError(f"{path}: holds {kind}, not a mapping of keys; write `key: value`")
    return {str(key): value for key, value in keys.items()}


def _told(error: ValidationError, path: Path | None) -> str:
    lines = [f"{path or 'environment'}: {error.error_count()} thing(s) to mend"]
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        value: Any = "***" if item["loc"][0] in SECRETS else item.get("input")
        lines.append(f"  {where} = {value!r}: {item['msg']}")
    return "\n".join(lines)
