"""The keys of a world file, with their units and defaults; see ``docs/replay-data.md``."""

from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from scheduler.domain.job import AcceleratorOption
from scheduler.domain.plausibility import SITE_RANGES
from scheduler.replay.traces.trace import accelerators_of

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Pue = Annotated[float, Field(ge=SITE_RANGES["pue"].least, le=SITE_RANGES["pue"].most)]
CarbonG = Annotated[float, Field(ge=0, le=SITE_RANGES["grid_carbon_g_per_kwh"].most)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _InZone(Section):
    time_zone: str = Field(default="UTC", description="of times without an offset")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone; write e.g. Asia/Shanghai") from error
        return value


class FileKeys(_InZone):
    """Values over time from a CSV file; each holds until the next stamp."""

    path: Path = Field(description="CSV, packed if it ends in .gz; from the world file's folder")
    time_column: str = Field(default="time", description="ISO 8601, growing")
    column: str = Field(default="value", description="the values")
    times: Finite = Field(default=1.0, description="each value is multiplied by this")
    shift_h: Finite = Field(
        default=0.0, description="the world's time t takes the value of the file's t + shift"
    )


class BandKeys(_InZone):
    """Time-of-use price: bands by local hour, each a multiple of a flat price."""

    table: Path = Field(description="CSV in the form of an agent's tariff table")
    province: str = Field(description="whose rows of the table apply")
    flat_yuan_per_kwh: Positive = Field(description="price to the door in a flat hour")
    time_zone: str = Field(default="Asia/Shanghai", description="of the hours in the table")


class _OneOf(Section):
    """Exactly one of the keys must be given."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = list(type(self).model_fields)
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise ValueError(f"has {told}; give exactly one of {', '.join(kinds)}")
        return self


class PriceKeys(_OneOf):
    """Price to the door, one of three ways."""

    yuan_per_kwh: Finite | None = Field(default=None, description="the same at all times")
    bands: BandKeys | None = None
    file: FileKeys | None = Field(default=None, description="in yuan/kWh")


class GreenKeys(_OneOf):
    """Green supply for the cluster, one of two ways."""

    kw: NotNegative | None = Field(default=None, description="the same at all times")
    file: FileKeys | None = Field(
        default=None,
        description="in kW; of a share in percent, `times` is the capacity in kW / 100",
    )


class PoolKeys(Section):
    """Nodes of one kind; all figures are of one node."""

    model: str = Field(min_length=1, max_length=64, description="of the accelerators")
    nodes: Annotated[int, Field(ge=1, le=100_000)]
    gpus: Annotated[int, Field(ge=0, le=64)] = 8
    cpus: Positive = 128.0
    memory_gb: Positive = 1024.0
    gpu_power_kw: NotNegative = Field(description="of one accelerator with its share of the host")
    cpu_power_kw: NotNegative = Field(
        default=0.01, description="of one core, for workers without accelerators"
    )


class LinkKeys(Section):
    """The way for jobs' data."""

    peer: str = Field(min_length=1, description="region or cluster at the other end")
    bandwidth_gbps: Positive
    transfer_yuan_per_gb: NotNegative = 0.0


class ClusterKeys(Section):
    """A western site."""

    province: str = Field(min_length=1)
    pools: Annotated[tuple[PoolKeys, ...], Field(min_length=1)]
    price: PriceKeys
    green: GreenKeys = GreenKeys(kw=0.0)
    pue: Pue = 1.2
    grid_carbon_g_per_kwh: CarbonG = Field(description="of the energy that is not green")
    power_cap_kw: Positive | None = Field(default=None, description="at the door; default: none")
    rtt_ms: dict[str, NotNegative] = Field(
        default_factory=dict,
        description="round trip by region; without one, a job with "
        "max_rtt_ms from there does not run here",
    )
    links: tuple[LinkKeys, ...] = ()


class RegionKeys(Section):
    """An origin region, and what running there would have cost."""

    label: str = ""
    price_yuan_per_kwh: Positive = 0.70
    pue: Pue = 1.4
    grid_carbon_g_per_kwh: CarbonG = 550.0


class SlurmKeys(_InZone):
    """What ``sacct`` does not say of its jobs."""

    region: str = Field(description="where the jobs come from")
    time_zone: str = Field(default="Asia/Shanghai", description="of sacct's times")
    partitions: dict[str, str] = Field(
        default_factory=dict, description="another region for the jobs of a partition"
    )
    gres: dict[str, str] = Field(
        default_factory=dict,
        description="models and speeds that stand for a type of gres/gpu, e.g. A800:1;910B:0.7",
    )
    max_delay_s: NotNegative = 0.0
    interruptible: bool = False

    @field_validator("gres")
    @classmethod
    def _speeds(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            accelerators_of(text)
        return value

    def models(self) -> dict[str, tuple[AcceleratorOption, ...]]:
        return {kind: accelerators_of(text) for kind, text in self.gres.items()}


class WorldKeys(Section):
    """The whole file."""

    start_at: AwareDatetime = Field(description="of the simulated clock, with its zone")
    days: Annotated[float, Field(gt=0, le=1000)] = Field(description="how far prices are known")
    step_s: Annotated[float, Field(ge=60, le=3600)] = Field(
        default=900.0, description="of prices and supply"
    )
    regions: dict[Name, RegionKeys]
    clusters: dict[Name, ClusterKeys]
    slurm: SlurmKeys | None = Field(default=None, description="only for sacct's output")
