"""Changes of the world that somebody thinks of: a snapshot in, the snapshot as it would be out."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from scheduler.domain.fleet import Node, NodeLifecycle, Rtt, Site
from scheduler.domain.series import Quantile, Series
from scheduler.planner.changes_drain import without
from scheduler.planner.sites import AXIS_SLOTS_MAX
from scheduler.planner.snapshot import Snapshot

NODES_MOST = 10_000
RTT_MOST_MS = 10_000.0
# A way that somebody only thinks of counts as measured often enough to be judged by.
SAMPLES = 1000
# Names told in an error, those first that come first.
NAMED_MOST = 12


class ChangeError(Exception):
    """A change that cannot be made of this world: which field, and what to do."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(field, description)
        self.field = field
        self.description = description


class Quantity(StrEnum):
    """What a site tells over time."""

    PRICE = "price"
    GREEN = "green"


class Operation(StrEnum):
    """What becomes of each value."""

    MULTIPLY = "*"
    SET = "="
    ADD = "+"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastChange:
    """Of a cluster's price (yuan per kWh) or green supply (kW), in the slots that begin from
    ``from_at`` on and before ``until_at``; None: for ever."""

    cluster: str
    quantity: Quantity
    operation: Operation
    value: float
    from_at: datetime | None = None
    until_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """A cluster, or a node, is emptied."""

    name: str


@dataclass(frozen=True, slots=True)
class RttChange:
    """Every measurement of the way between a region and a cluster."""

    region: str
    cluster: str
    ms: float


@dataclass(frozen=True, slots=True)
class AddedNodes:
    """More nodes like those that the cluster has of an accelerator."""

    cluster: str
    count: int
    accelerator: str


Change = ForecastChange | Drain | RttChange | AddedNodes


def changed(snapshot: Snapshot, changes: Sequence[Change]) -> Snapshot:
    """The snapshot after the changes, made one after the other.

    Raises:
        ChangeError: one of them cannot be made; its field is within ``changes[i]``.
    """
    for i, change in enumerate(changes):
        try:
            snapshot = _made(snapshot, change)
        except ChangeError as error:
            raise ChangeError(f"changes[{i}].{error.field}", error.description) from None
    return snapshot


def _made(snapshot: Snapshot, change: Change) -> Snapshot:
    match change:
        case ForecastChange():
            return _forecast(snapshot, change)
        case Drain():
            return _drained(snapshot, change)
        case RttChange():
            return _rtt(snapshot, change)
        case AddedNodes():
            return _more_nodes(snapshot, change)


def _drained(snapshot: Snapshot, change: Drain) -> Snapshot:
    names = {node.id for node in snapshot.nodes if change.name in (node.cluster, node.id)}
    if not names:
        clusters = _known("cluster", (node.cluster for node in snapshot.nodes))
        told = f"{change.name!r} is no cluster and no node; {clusters}, or see `westward nodes`"
        raise ChangeError("drain", told)
    nodes = tuple(
        replace(node, lifecycle=NodeLifecycle.DRAINING) if node.id in names else node
        for node in snapshot.nodes
    )
    return without(replace(snapshot, nodes=nodes), names)


def _forecast(snapshot: Snapshot, change: ForecastChange) -> Snapshot:
    field = change.quantity.value
    site = _site(snapshot, change.cluster, f"{field}.cluster")
    if not math.isfinite(change.value):
        raise ChangeError(f"{field}.value", f"{change.value} is no figure; give a finite one")
    if change.operation is Operation.MULTIPLY and change.value < 0:
        told = f"{change.value:g} times would turn its sign; give 0 or more"
        raise ChangeError(f"{field}.value", told)
    begin, end = change.from_at, change.until_at
    if begin is not None and end is not None and end <= begin:
        told = f"{end:%H:%M} is not after {begin:%H:%M}; give a time after it"
        raise ChangeError(f"{field}.until_at", told)
    least = 0.0 if change.quantity is Quantity.GREEN else -math.inf

    def one(value: float) -> float:
        return max(_APPLIED[change.operation](value, change.value), least)

    if change.quantity is Quantity.GREEN:
        site = replace(site, green_supply_kw=_applied(site.green_supply_kw, one, change, snapshot))
    else:
        price = _applied(site.price_yuan_per_kwh, one, change, snapshot)
        site = replace(site, price_yuan_per_kwh=price)
    return _with_site(snapshot, site)


_APPLIED: dict[Operation, Callable[[float, float], float]] = {
    Operation.MULTIPLY: lambda value, by: value * by,
    Operation.SET: lambda _, to: to,
    Operation.ADD: lambda value, more: value + more,
}


def _applied(
    series: Series, one: Callable[[float], float], change: ForecastChange, snapshot: Snapshot
) -> Series:
    """A series with each value changed; within hours, as the planner reads it: slot by slot."""
    if change.from_at is None and change.until_at is None:
        quantiles = tuple(Quantile(q.q, tuple(map(one, q.values))) for q in series.quantiles)
        return replace(series, values=tuple(map(one, series.values)), quantiles=quantiles)
    if not series.values:
        return series
    times = [snapshot.slot_at(slot) for slot in range(AXIS_SLOTS_MAX)]
    within = [
        (change.from_at is None or at >= change.from_at)
        and (change.until_at is None or at < change.until_at)
        for at in times
    ]

    def over_slots(values: tuple[float, ...]) -> tuple[float, ...]:
        sampled = replace(series, values=values, quantiles=()).sample(times)
        return tuple(one(v) if hit else v for v, hit in zip(sampled, within, strict=True))

    quantiles = tuple(Quantile(q.q, over_slots(q.values)) for q in series.quantiles)
    return replace(
        series,
        start_at=snapshot.start_at,
        step_s=snapshot.slot_s,
        values=over_slots(series.values),
        quantiles=quantiles,
    )


def _rtt(snapshot: Snapshot, change: RttChange) -> Snapshot:
    site = _site(snapshot, change.cluster, "rtt.cluster")
    if change.region not in snapshot.regions:
        known = _known("region", snapshot.regions)
        raise ChangeError("rtt.region", f"{change.region!r} is no region; {known}")
    if not 0 < change.ms <= RTT_MOST_MS:
        raise ChangeError("rtt.ms", f"{change.ms:g} is not above 0 and up to {RTT_MOST_MS:g} ms")
    ms = change.ms
    rtt = Rtt(change.region, ms, ms, ms, 0.0, SAMPLES)
    if (known_rtt := site.rtt.get(change.region)) is not None:
        samples = max(known_rtt.samples, SAMPLES)
        rtt = replace(known_rtt, p50_ms=ms, p95_ms=ms, p99_ms=ms, samples=samples)
    return _with_site(snapshot, replace(site, rtt={**site.rtt, change.region: rtt}))


def _more_nodes(snapshot: Snapshot, change: AddedNodes) -> Snapshot:
    _site(snapshot, change.cluster, "add_nodes.cluster")
    if not 0 < change.count <= NODES_MOST:
        raise ChangeError("add_nodes.count", f"{change.count} is not 1 to {NODES_MOST} nodes")
    own = [node for node in snapshot.nodes if node.cluster == change.cluster]
    alike = [node for node in own if node.accelerator == change.accelerator]
    if not alike:
        known = _known("accelerator", (node.accelerator or "cpu" for node in own))
        told = f"{change.cluster} has no node with {change.accelerator!r}; there, {known}"
        raise ChangeError("add_nodes.accelerator", told)
    like = replace(
        min(alike, key=lambda node: (node.lifecycle is not NodeLifecycle.READY, node.id)),
        head=False,
        lifecycle=NodeLifecycle.READY,
        cpu_load=0.0,
    )
    taken = {node.id for node in snapshot.nodes}
    fresh: list[Node] = []
    number = 0
    while len(fresh) < change.count:
        number += 1
        name = f"{change.cluster}-what-if-{number}"
        if name not in taken:
            fresh.append(replace(like, id=name))
    nodes = tuple(sorted([*snapshot.nodes, *fresh], key=lambda node: node.id))
    return replace(snapshot, nodes=nodes)


def _site(snapshot: Snapshot, cluster: str, field: str) -> Site:
    site = snapshot.sites.get(cluster)
    if site is None:
        known = _known("cluster", snapshot.sites)
        raise ChangeError(field, f"{cluster!r} is no cluster; {known}")
    return site


def _with_site(snapshot: Snapshot, site: Site) -> Snapshot:
    return replace(snapshot, sites={**snapshot.sites, site.cluster: site})


def _known(what: str, names: Iterable[str]) -> str:
    """What there is to choose from."""
    found = sorted({*names})
    more = ", …" if len(found) > NAMED_MOST else ""
    told = ", ".join(found[:NAMED_MOST]) + more
    return f"known {what}s: {told}" if found else f"no {what} is known yet"
