"""Every weight of the objective, in yuan, with its meaning and default."""

from dataclasses import dataclass

from scheduler.domain.job import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Energy itself has no weight: it costs its kWh × PUE × tariff.

    GPU-hours of a job without accelerators are counted as ``cores / cpus_per_gpu``. A job's
    urgency scales what waiting and missing a place cost it: 1 at priority 0, and one more for
    every ten steps of priority; below 0 it falls as 1 / (1 + steps / 10).

    Attributes:
        nongreen_yuan_per_kwh: on energy at the door that no green supply covers.
        carbon_yuan_per_kg: on what the energy that no green supply covers emits, beside its price.
        defer_yuan_per_gpu_hour: of waiting that the job allows (its ``max_delay_s``); enough to
            break ties towards the earlier slot, small against any tariff band.
        late_yuan_per_gpu_hour: of waiting that it does not allow; about an accelerator's rent.
        late_yuan_per_run_gpu_hour: once, for starting later than the job allows, per GPU-hour of
            its run: above what any tariff could save on that hour, so that lateness never pays.
        unplaced_yuan_per_gpu_hour: for a job without a place, per GPU-hour of its run, on top of
            the dearest place it could have had.
        unplaced_yuan_per_job: the same, once, so that the smallest job counts.
        above_share_yuan_per_gpu_hour: so much less than lateness costs otherwise, it costs a job
            whose tenant holds its fair share already, while other tenants wait; at most nine
            tenths of it.
        cpus_per_gpu: cores that weigh as much as one accelerator.
        preempt_priority_step: how much higher a job's priority must be than that of what stops
            for it.
        preempting_yuan: of stopping one attempt for another job, beside what it loses.
        moving_yuan: of moving one attempt elsewhere, beside what it loses; small savings never
            move anything.
        lost_yuan_per_gpu_hour: of the time that a stopped attempt does not get on, or must repeat:
            its grace, its restart, its data's way, what it has not saved; about the rent.
        stop_fails_share: of the stops, how many do not end within their grace and lose what was
            not saved before.
        moves_most: attempts that are moved at a time.
        replan_yuan_per_gpu_hour: of a run whose planned start is changed, before it has come:
            what expectations are worth; a twentieth of what an hour of energy costs.
    """

    nongreen_yuan_per_kwh: float = 0.05
    carbon_yuan_per_kg: float = 0.0
    defer_yuan_per_gpu_hour: float = 0.01
    late_yuan_per_gpu_hour: float = 10.0
    late_yuan_per_run_gpu_hour: float = 2.0
    unplaced_yuan_per_gpu_hour: float = 10.0
    unplaced_yuan_per_job: float = 1.0
    above_share_yuan_per_gpu_hour: float = 5.0
    cpus_per_gpu: float = 16.0
    preempt_priority_step: int = 1
    preempting_yuan: float = 1.0
    moving_yuan: float = 1.0
    lost_yuan_per_gpu_hour: float = 10.0
    stop_fails_share: float = 0.1
    moves_most: int = 4
    replan_yuan_per_gpu_hour: float = 0.02

    def size(self, spec: JobSpec) -> float:
        """Accelerators of the gang, or what its cores weigh."""
        return float(spec.gpus or spec.workers * spec.per_worker.cpus / self.cpus_per_gpu)


def urgency(priority: int) -> float:
    """How much a job's priority scales the cost of its waiting."""
    return 1 + priority / 10 if priority >= 0 else 1 / (1 - priority / 10)
