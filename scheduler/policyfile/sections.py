"""What may stand in a policy file."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from policies.rules import Rules
from scheduler.domain.rules import ClusterRule, Maintenance, TenantRule, WaitingClass
from scheduler.policyfile.weights import NotNegative, Positive, Section, WeightsSection

_WEIGHTS = WeightsSection()
Name = Annotated[str, Field(min_length=1, max_length=128)]
# Of what is declared: far enough from the ends of the calendar for any zone.
YEARS = (2000, 2199)


def _of_our_time(at: datetime) -> datetime:
    if not YEARS[0] <= at.year <= YEARS[1]:
        fix = "for good is until 2199" if at.year > YEARS[1] else "give a later one"
        raise ValueError(f"{at.isoformat()} is not of the years {YEARS[0]} to {YEARS[1]}: {fix}")
    return at


Time = Annotated[AwareDatetime, AfterValidator(_of_our_time)]


class ClusterSection(Section):
    """What holds for one cluster; by default what holds for all."""

    price_adder_yuan_per_kwh: Annotated[
        float, Field(strict=True, ge=-10, le=10, allow_inf_nan=False)
    ] = Field(
        default=0.0, description="added to its tariff, e.g. a grid fee, or below zero a subsidy"
    )
    preference_yuan_per_gpu_hour: Annotated[
        float, Field(strict=True, ge=-1000, le=1000, allow_inf_nan=False)
    ] = Field(
        default=0.0,
        description="charged for each accelerator-hour of a run there, beside all it really "
        "costs; below zero it draws jobs to the cluster",
    )
    nongreen_yuan_per_kwh: NotNegative | None = Field(
        default=None, description="in place of the weight of that name"
    )
    moving_yuan: NotNegative | None = Field(
        default=None, description="of moving an attempt away; in place of the weight of that name"
    )


class WaitingSection(Section):
    """Classes by priority, with what waiting costs there: as it is, not scaled by urgency."""

    from_priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = Field(
        description="the class is that of this priority and those above, up to the next class"
    )
    defer_yuan_per_gpu_hour: NotNegative = Field(
        default=_WEIGHTS.defer_yuan_per_gpu_hour, description="waiting that the job allows"
    )
    late_yuan_per_gpu_hour: Positive = Field(
        default=_WEIGHTS.late_yuan_per_gpu_hour, description="waiting that it does not allow"
    )


class TenantSection(Section):
    """What holds for one tenant; by default what holds for all."""

    quota_gpus: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="most accelerators at any time, all clusters together; default: no limit",
    )
    weight: Positive = Field(default=1.0, description="its weight among those who share")
    nongreen_yuan_per_kwh: NotNegative | None = Field(
        default=None,
        description="what energy that is not green costs it, at least the weight of that name",
    )
    waiting: tuple[WaitingSection, ...] = ()

    @model_validator(mode="after")
    def _each_priority_once(self) -> Self:
        priorities = [item.from_priority for item in self.waiting]
        if len({*priorities}) < len(priorities):
            raise ValueError(f"waiting has from_priority {priorities}: name each one once")
        return self

    def rule(self) -> TenantRule:
        """As the policies know it."""
        classes = sorted(self.waiting, key=lambda item: item.from_priority)
        waiting = tuple(WaitingClass(**item.model_dump()) for item in classes)
        return TenantRule(**self.model_dump(exclude={"waiting"}), waiting=waiting)


class MaintenanceSection(Section):
    """When nothing may run, and where: a whole cluster, its nodes of one model, or one node."""

    cluster: Name = Field(description="whose nodes they are")
    node: Name | None = Field(default=None, description="one node; default: all of the cluster")
    accelerator: Name | None = Field(default=None, description="only nodes with this model")
    from_at: Time = Field(alias="from", description="ISO 8601 with its zone, from 2000 on")
    to_at: Time = Field(alias="to", description="ISO 8601 with its zone, up to 2199")
    why: Name = Field(description="told to those who wait")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.to_at <= self.from_at:
            raise ValueError(f"to = {self.to_at} is not after from = {self.from_at}: swap them?")
        if self.node is not None and self.accelerator is not None:
            raise ValueError(
                f"node = {self.node!r} and accelerator = {self.accelerator!r}: name one of them"
            )
        return self


class PolicyFile(Section):
    """The whole file."""

    weights: WeightsSection = _WEIGHTS
    forecast_quantile: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        default=0.5,
        description="where forecasts tell how sure they are, plan on prices, PUE and carbon that "
        "are not exceeded with this probability, and on green supply that is not undercut with it; "
        "0.5: on the forecasts themselves",
    )
    clusters: dict[Name, ClusterSection] = Field(default_factory=dict)
    tenants: dict[Name, TenantSection] = Field(default_factory=dict)
    maintenance: tuple[MaintenanceSection, ...] = ()

    @model_validator(mode="after")
    def _tenants_value_green_more(self) -> Self:
        usual = self.weights.nongreen_yuan_per_kwh
        for name, tenant in self.tenants.items():
            own = tenant.nongreen_yuan_per_kwh
            if own is not None and own < usual:
                raise ValueError(
                    f"tenants.{name}.nongreen_yuan_per_kwh = {own:g} is below "
                    f"weights.nongreen_yuan_per_kwh = {usual:g}, which everyone pays: raise the "
                    "one or lower the other"
                )
        return self

    def rules(self) -> Rules:
        """As the policies know them."""
        return Rules(
            weights=self.weights.weights(),
            clusters={name: ClusterRule(**c.model_dump()) for name, c in self.clusters.items()},
            tenants={name: tenant.rule() for name, tenant in self.tenants.items()},
            maintenance=tuple(Maintenance(**m.model_dump()) for m in self.maintenance),
            forecast_quantile=self.forecast_quantile,
        )
