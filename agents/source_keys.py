"""The sections of the agent's configuration that name a source of values over time."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class Section(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Http(Section):
    """A service that answers GET with JSON."""

    url: Url = Field(description="what to GET")
    values: str = Field(
        description="JSONPath of the values, in the order of time, e.g. $.data[*].price; a single "
        "one without `times` is the value now"
    )
    times: str | None = Field(
        default=None,
        description="JSONPath of the time each value begins: ISO 8601, or seconds since 1970",
    )
    every_s: Positive = Field(default=300.0, description="how often to ask, real time")
    token_file: Path | None = Field(default=None, description="file with a bearer token")

    @field_validator("values", "times")
    @classmethod
    def _json_path(cls, value: str | None) -> str | None:
        # Costs time and memory that an agent without such a source does not spend.
        from jsonpath_ng.exceptions import JSONPathError  # noqa: PLC0415
        from jsonpath_ng.parser import parse  # noqa: PLC0415

        try:
            if value is not None:
                parse(value)
        except JSONPathError as error:
            raise ValueError(f"{value!r} is not a JSONPath: {error}") from error
        return value


class Prometheus(Section):
    """A query to Prometheus, or to what speaks its HTTP API."""

    url: Url = Field(description="of the server, e.g. http://127.0.0.1:9090")
    query: str = Field(
        min_length=1, description="PromQL; it must have one value now, else sum or select"
    )
    every_s: Positive = Field(default=60.0, description="how often to ask, real time")
    token_file: Path | None = Field(default=None, description="file with a bearer token")


class Feed(Section):
    """Values over time: exactly one of `file`, `http` and `prometheus`."""

    file: Path | None = Field(default=None, description="CSV, read anew for every report")
    http: Http | None = None
    prometheus: Prometheus | None = None
    scale: Positive = Field(
        default=1.0, description="what its values are multiplied by, e.g. 0.001 for yuan/MWh"
    )
    time_zone: str = Field(
        default="Asia/Shanghai", description="of times that carry no offset, and of hours"
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not a time zone; write e.g. Asia/Shanghai") from error
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "Feed":
        named = [key for key in self._sources() if getattr(self, key) is not None]
        if len(named) != 1:
            told = " and ".join(named) or "none"
            raise ValueError(f"give exactly one of {', '.join(self._sources())}; there is {told}")
        return self

    def _sources(self) -> tuple[str, ...]:
        return ("file", "http", "prometheus")


class Price(Feed):
    """Price to the door, yuan/kWh: a time-of-use table, or a feed."""

    table: Path | None = Field(
        default=None,
        description="CSV: province, season, effective, band, hours_local_start_inclusive, "
        "multiplier_on_flat",
    )
    province: str | None = Field(
        default=None, description="whose rows of the table apply; default: head.province"
    )
    flat_yuan_per_kwh: Positive | None = Field(
        default=None, description="price in a flat hour; needed with a table"
    )
    holidays: tuple[date, ...] = Field(
        default=(), description="days on which the table's rows of season `holiday` hold"
    )

    @model_validator(mode="after")
    def _flat_price(self) -> "Price":
        if self.table is not None and self.flat_yuan_per_kwh is None:
            raise ValueError("a table needs flat_yuan_per_kwh, the price in a flat hour")
        return self

    def _sources(self) -> tuple[str, ...]:
        return ("table", *super()._sources())


class Green(Feed):
    """Green supply for this cluster, kW: a typical day or a forecast, with what is metered now."""

    unit: Literal["kw", "share"] = Field(
        default="kw", description="of its values; a share, 0 to 1, is of the cluster's load"
    )
    actual: Feed | None = Field(
        default=None, description="what is supplied now, in the same unit; it overrides the slot"
    )
    load: Feed | None = Field(
        default=None, description="the cluster's metered draw at the door, kW; needed for a share"
    )

    @model_validator(mode="after")
    def _load_of_share(self) -> "Green":
        if self.unit == "share" and self.load is None:
            raise ValueError("a share needs `load`, the cluster's metered draw at the door")
        return self


class MeteredPue(Section):
    """Facility kW / IT kW: a feed of the quotient, or both meters."""

    pue: Feed | None = Field(default=None, description="feed of the quotient itself")
    facility: Feed | None = Field(default=None, description="draw at the door, kW")
    it: Feed | None = Field(default=None, description="draw of the IT behind it, kW")

    @model_validator(mode="after")
    def _one_way(self) -> "MeteredPue":
        if (self.pue is None) == (self.facility is None) or (self.facility is None) != (
            self.it is None
        ):
            raise ValueError("give either pue, or facility and it")
        return self
