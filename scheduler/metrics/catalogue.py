"""Every figure that is exported: its name, kind, labels and meaning.

Names end in their unit as Prometheus has it (base units: seconds, watts, joules, grams, bytes), and
counters in ``_total``. A label ``reason`` is the code that explanations and events carry.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a figure behaves."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, as Prometheus is told of it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    told: str


G, C, H = Kind.GAUGE, Kind.COUNTER, Kind.HISTOGRAM
CLUSTER = ("cluster",)

METRICS: tuple[Metric, ...] = (
    Metric("westward_rounds_total", C, ("kind",), "planning rounds that were stored: whole, quick"),
    Metric("westward_rounds_failed_total", C, (), "rounds that came to nothing; the log says why"),
    Metric("westward_round_seconds", H, ("kind",), "how long a round took, until it was committed"),
    Metric("westward_round_stage_seconds_total", C, ("stage",), "time in the planner's stages"),
    Metric("westward_round_gap_ratio", G, (), "distance from the bound of the last whole round"),
    Metric("westward_round_placed_total", C, (), "jobs that rounds gave an attempt"),
    Metric(
        "westward_round_starts_moved_total", C, (),
        "later starts that a round put elsewhere although their time had not passed",
    ),
    Metric("westward_round_starts_kept_total", C, (), "later starts that a round left or bettered"),
    Metric(
        "westward_round_interruptions_total", C, ("kind",),
        "running attempts that rounds wanted stopped: PREEMPT, MIGRATE, PAUSE",
    ),
    Metric("westward_jobs", G, ("state",), "jobs that have not ended"),
    Metric("westward_jobs_pending", G, ("reason",), "pending jobs by why they wait"),
    Metric("westward_jobs_ended_total", C, ("state",), "jobs that have ended"),
    Metric("westward_job_events_total", C, ("event",), "changes of jobs, SUBMIT among them"),
    Metric("westward_attempts", G, ("state",), "attempts that have not ended"),
    Metric("westward_attempts_ended_total", C, ("state", "reason"), "attempts that have ended"),
    Metric(
        "westward_run_cost_yuan_total", C, ("where",),
        "energy and moving data of what ran, as planned: west, and had it run at its origin",
    ),
    Metric("westward_run_carbon_grams_total", C, ("where",), "CO2 of the same runs"),
    Metric("westward_run_energy_joules_total", C, ("where",), "energy of the same runs, with PUE"),
    Metric("westward_cluster_up", G, CLUSTER, "1 while its head agent is heard"),
    Metric("westward_cluster_serving", G, CLUSTER, "1 while it can start attempts as well"),
    Metric("westward_cluster_price_yuan_per_kilowatthour", G, CLUSTER, "price of energy now"),
    Metric("westward_cluster_green_supply_watts", G, CLUSTER, "green supply now"),
    Metric(
        "westward_cluster_green_allocated_watts", G, CLUSTER,
        "of the green supply, what attempts draw",
    ),
    Metric("westward_cluster_load_watts", G, CLUSTER, "draw of the attempts there, PUE included"),
    Metric("westward_cluster_power_cap_watts", G, CLUSTER, "its cap, where there is one"),
    Metric("westward_cluster_accelerators", G, CLUSTER, "accelerators of nodes that are not lost"),
    Metric("westward_cluster_accelerators_busy", G, CLUSTER, "accelerators that attempts hold"),
    Metric("westward_cluster_leases", G, CLUSTER, "attempts that live under a lease"),
    Metric(
        "westward_cluster_lease_seconds", G, CLUSTER,
        "until those leases have expired, if the cluster is not heard again",
    ),
    Metric(
        "westward_rtt_p95_seconds", G, ("cluster", "region"),
        "round trip to the region, 95th percentile",
    ),
    Metric("westward_agents", G, ("cluster", "lifecycle"), "nodes by what their agents show"),
    Metric("westward_event_loop_lag_seconds", H, (), "how late the event loop is"),
    Metric("westward_planner_resident_memory_bytes", G, (), "memory of the planner's process"),
)  # fmt: skip
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}


def rows() -> list[str]:
    """The table of ``docs/metrics.md``."""
    head = ["| name | kind | labels | meaning |", "|---|---|---|---|"]
    return head + [f"| `{m.name}` | {m.kind} | {_labels(m)} | {m.told} |" for m in METRICS]


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels) or "–"
