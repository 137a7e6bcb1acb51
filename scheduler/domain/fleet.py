"""What the agents say of the world: nodes, sites and the ways to them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from scheduler.domain.series import Series


class NodeLifecycle(StrEnum):
    """How much a node is trusted with; only READY ones are given work."""

    JOINING = "JOINING"  # connected, but it has not told what it has
    READY = "READY"
    CORDONED = "CORDONED"  # an operator's wish: what runs goes on, nothing new starts
    DRAINING = "DRAINING"  # and what runs is to leave
    SUSPECT = "SUSPECT"  # silent for a few reports, or its stream has ended
    LOST = "LOST"  # silent for long


@dataclass(frozen=True, slots=True)
class Mark:
    """An operator's wish that a node gets nothing new. ``drain_until_at``, in the power clock,
    makes it one that what runs leaves too, by then at the latest."""

    at: datetime
    actor: str
    reason: str = ""
    drain_until_at: datetime | None = None

    @property
    def lifecycle(self) -> NodeLifecycle:
        drains = self.drain_until_at is not None
        return NodeLifecycle.DRAINING if drains else NodeLifecycle.CORDONED


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One host. ``gpu_power_kw`` is the draw of one accelerator under load with its share of
    the host; ``cpu_power_kw`` that of one core, for workers without accelerators.
    """

    id: str
    cluster: str
    head: bool
    accelerator: str
    gpus: int
    cpus: float
    memory_gb: float
    gpu_power_kw: float
    cpu_power_kw: float
    cpu_load: float = 0.0
    lifecycle: NodeLifecycle = NodeLifecycle.READY
    agent_version: str = ""


@dataclass(frozen=True, slots=True)
class SickAccelerator:
    """An accelerator that is there and must not be used, and the attempts it was given to."""

    id: str
    reason: str
    attempt_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHealth:
    """What a node tells for its operator alone: nothing is planned on it. Figures are None where
    they cannot be read, or 0 where they are not known; the temperature is that of the hottest."""

    sick: tuple[SickAccelerator, ...] = ()
    pflops: float = 0.0
    gpu_draw_kw: float | None = None
    gpu_load: float | None = None
    gpu_temperature_c: float | None = None
    gpu_memory_gb: float = 0.0
    disk_free_gb: float = 0.0
    gpu_source: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """The way between a cluster and a region or another cluster, for data."""

    peer: str
    bandwidth_gbps: float
    transfer_yuan_per_gb: float


@dataclass(frozen=True, slots=True)
class Rtt:
    """Round-trip times between a cluster and a region over a sliding window.

    ``jitter_ms`` is the mean change from one time to the next, ``connect_ms`` the median time that
    a TCP connection takes; ``loss`` is the share of ``loss_samples`` probes without an answer.
    """

    region: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    loss: float
    samples: int
    jitter_ms: float = 0.0
    connect_ms: float | None = None
    loss_samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What holds for a whole cluster. ``power_cap_kw`` is at the door, PUE included;
    ``grid_carbon_g_per_kwh`` is of the energy that is not green, one figure or one over time.
    """

    cluster: str
    province: str
    price_yuan_per_kwh: Series
    green_supply_kw: Series
    pue: Series
    grid_carbon_g_per_kwh: float | Series
    power_cap_kw: float | None = None
    links: tuple[Link, ...] = ()
    rtt: dict[str, Rtt] = field(default_factory=dict)
    # The head agent's stream is open and its reports are fresh.
    reachable: bool = True
    # Why it starts nothing at present although its agent is heard; empty when it does.
    not_serving: str = ""

    def carbon_g_per_kwh_at(self, when: datetime) -> float:
        """Of the energy that is not green, at a time."""
        carbon = self.grid_carbon_g_per_kwh
        return carbon.at(when) if isinstance(carbon, Series) else carbon


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """An origin region, with what running there would have cost: the baseline of every saving."""

    name: str
    gateway: str
    price_yuan_per_kwh: float
    pue: float
    grid_carbon_g_per_kwh: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A field of a report that was not believed."""

    field: str
    value: str
    reason: str
    at: datetime
