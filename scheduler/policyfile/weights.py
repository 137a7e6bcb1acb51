"""The section ``weights``: those of the objective, with their ranges."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from policies.weights import Weights

NotNegative = Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)]
_BY_DEFAULT = Weights()


class Section(BaseModel):
    """Keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WeightsSection(Section):
    """Weights of the objective; those left out are as by default."""

    nongreen_yuan_per_kwh: NotNegative = Field(
        default=_BY_DEFAULT.nongreen_yuan_per_kwh,
        description="energy at the door that no green supply covers: enough to choose the greener "
        "of two like hubs, small against a tariff band",
    )
    carbon_yuan_per_kg: NotNegative = Field(
        default=_BY_DEFAULT.carbon_yuan_per_kg,
        description="what that energy emits, slot by slot where the grid's carbon is known over "
        "time. Allowances of China's emissions trading cost about 0.07 to 0.1 yuan/kg; nothing, "
        "since data centres need none today",
    )
    defer_yuan_per_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.defer_yuan_per_gpu_hour,
        description="waiting that the job allows (`max_delay`): breaks ties towards the earlier "
        "slot, small against any tariff band",
    )
    late_yuan_per_gpu_hour: Positive = Field(
        default=_BY_DEFAULT.late_yuan_per_gpu_hour,
        description="waiting that it does not allow: about an accelerator's rent",
    )
    late_yuan_per_run_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.late_yuan_per_run_gpu_hour,
        description="once, for starting later than allowed, per accelerator-hour of the run: more "
        "than any tariff saves on that hour",
    )
    unplaced_yuan_per_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.unplaced_yuan_per_gpu_hour,
        description="having no place, per accelerator-hour of the run, on top of the dearest one: "
        "as dear as an hour of waiting for each hour of the run",
    )
    unplaced_yuan_per_job: NotNegative = Field(
        default=_BY_DEFAULT.unplaced_yuan_per_job,
        description="the same, once: the smallest job counts",
    )
    above_share_yuan_per_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.above_share_yuan_per_gpu_hour,
        description="what lateness costs *less* where the job's tenant has its fair share already "
        "and others wait: half of it",
    )
    cpus_per_gpu: Positive = Field(
        default=_BY_DEFAULT.cpus_per_gpu,
        description="cores that weigh as much as one accelerator, for jobs without",
    )
    preempt_priority_step: Annotated[int, Field(strict=True, ge=1, le=2000)] = Field(
        default=_BY_DEFAULT.preempt_priority_step,
        description="how much higher a priority must be than that of what stops for it",
    )
    preempting_yuan: NotNegative = Field(
        default=_BY_DEFAULT.preempting_yuan,
        description="stopping one attempt for another job, beside what it loses",
    )
    moving_yuan: NotNegative = Field(
        default=_BY_DEFAULT.moving_yuan,
        description="moving one attempt, beside what it loses: small savings never move anything",
    )
    lost_yuan_per_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.lost_yuan_per_gpu_hour,
        description="accelerator time in which a stopped job does not get on or repeats itself: "
        "about the rent",
    )
    stop_fails_share: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        default=_BY_DEFAULT.stop_fails_share,
        description="of the stops, how many end by SIGKILL and lose what was not saved",
    )
    moves_most: Annotated[int, Field(strict=True, ge=0, le=1000)] = Field(
        default=_BY_DEFAULT.moves_most, description="attempts that are moved at a time"
    )
    replan_yuan_per_gpu_hour: NotNegative = Field(
        default=_BY_DEFAULT.replan_yuan_per_gpu_hour,
        description="a run whose planned start is changed before it has come: what expectations "
        "are worth",
    )

    def weights(self) -> Weights:
        """As the policies know them."""
        return Weights(**self.model_dump())
