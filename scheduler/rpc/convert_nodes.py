"""Node messages: wire ↔ domain."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from scheduler.clock import Clock
from scheduler.dispatch.verdict import Seen
from scheduler.domain.arrays import Progress
from scheduler.domain.energy import Energy
from scheduler.domain.fleet import (
    Link,
    Mark,
    NodeHealth,
    Rejection,
    Rtt,
    SickAccelerator,
    Site,
)
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.series import Quantile, Series
from scheduler.rpc import convert_jobs
from scheduler.state.known import Identity, NodeView
from westward.v1 import job_pb2, node_pb2, placement_pb2

_STATES = {
    number: name.removeprefix("ATTEMPT_STATE_") for name, number in job_pb2.AttemptState.items()
}

# More accelerators, or attempts on one of them, no host has.
SICK_MOST = 64


class GarbledError(Exception):
    """A message that makes no sense; names the field and its value."""


def identity(hello: node_pb2.Hello) -> Identity:
    """Who the agent says it is.

    Raises:
        GarbledError: a name is missing or unfit.
    """
    for field in ("node_id", "cluster", "incarnation"):
        value = getattr(hello, field)
        if not value or len(value) > 128 or not value.isprintable() or "/" in value:
            raise GarbledError(
                f"hello.{field} = {value!r}: 1 to 128 printable characters without /"
            )
    return Identity(
        node_id=hello.node_id,
        cluster=hello.cluster,
        head=hello.head,
        agent_version=text(hello.agent_version, 64),
        incarnation=hello.incarnation,
    )


def node_facts(facts: node_pb2.NodeFacts) -> Mapping[str, Any]:
    """Names and values of ``Node`` fields."""
    return {
        "accelerator": text(facts.accelerator, 64),
        "gpus": facts.gpus,
        "cpus": facts.cpus,
        "memory_gb": facts.memory_gb,
        "gpu_power_kw": facts.gpu_power_kw,
        "cpu_power_kw": facts.cpu_power_kw,
        "cpu_load": facts.cpu_load,
    }


def node_health(facts: node_pb2.NodeFacts) -> NodeHealth:
    """What a node tells for its operator alone; a figure that is none counts as not known."""
    return NodeHealth(
        sick=tuple(
            SickAccelerator(
                text(one.id, 128),
                text(one.reason, 256),
                tuple(text(attempt_id, 128) for attempt_id in one.attempt_ids[:SICK_MOST]),
            )
            for one in facts.sick[:SICK_MOST]
        ),
        pflops=_figure(facts.pflops),
        gpu_draw_kw=_figure(facts.gpu_draw_kw) if facts.HasField("gpu_draw_kw") else None,
        gpu_load=_figure(facts.gpu_load) if facts.HasField("gpu_load") else None,
        gpu_temperature_c=(
            _figure(facts.gpu_temperature_c) if facts.HasField("gpu_temperature_c") else None
        ),
        gpu_memory_gb=_figure(facts.gpu_memory_gb),
        disk_free_gb=_figure(facts.disk_free_gb),
        gpu_source=text(facts.gpu_source, 128),
    )


def _figure(told: float) -> float:
    return told if math.isfinite(told) and told >= 0 else 0.0


def _series(name: str, series: node_pb2.Series) -> Series:
    start_at = _time(f"site.{name}.start_at", series.start_at)
    return Series(
        start_at,
        series.step_s,
        tuple(series.values),
        text(series.source, 256),
        tuple(Quantile(one.q, tuple(one.values)) for one in series.quantiles),
        _time(f"site.{name}.read_at", series.read_at) if series.HasField("read_at") else None,
        text(series.trouble, 256),
        min(series.measured, len(series.values)),
        series.from_share,
        series.standing if series.HasField("standing") else None,
    )


def site_facts(facts: node_pb2.SiteFacts) -> Mapping[str, Any]:
    """Names and values of ``Site`` fields; only what the message carries.

    Raises:
        GarbledError: a series begins at no time.
    """
    told: dict[str, Any] = {
        "province": text(facts.province, 128),
        "grid_carbon_g_per_kwh": facts.grid_carbon_g_per_kwh,
        "power_cap_kw": facts.power_cap_kw if facts.HasField("power_cap_kw") else None,
        "links": tuple(
            Link(text(link.peer, 128), link.bandwidth_gbps, link.transfer_yuan_per_gb)
            for link in facts.links
        ),
    }
    if facts.HasField("price_yuan_per_kwh"):
        told["price_yuan_per_kwh"] = _series("price_yuan_per_kwh", facts.price_yuan_per_kwh)
    if facts.HasField("green_supply_kw"):
        told["green_supply_kw"] = _series("green_supply_kw", facts.green_supply_kw)
    if facts.HasField("pue"):
        told["pue"] = _series("pue", facts.pue)
    if facts.HasField("grid_carbon"):
        told["grid_carbon_g_per_kwh"] = _series("grid_carbon", facts.grid_carbon)
    return told


def energy(facts: node_pb2.EnergyFacts) -> tuple[str, Energy]:
    """An attempt, and what it has used on one node."""
    return text(facts.attempt_id, 128), Energy(facts.kwh, facts.estimated_kwh)


def rtt(facts: node_pb2.RttFacts) -> Rtt:
    """Round-trip times to one region."""
    return Rtt(
        region=facts.region[:128],
        p50_ms=facts.p50_ms,
        p95_ms=facts.p95_ms,
        p99_ms=facts.p99_ms,
        loss=facts.loss,
        samples=facts.samples,
        jitter_ms=facts.jitter_ms,
        connect_ms=facts.connect_ms if facts.HasField("connect_ms") else None,
        loss_samples=facts.loss_samples,
    )


def rtt_facts(measured: Rtt) -> node_pb2.RttFacts:
    """The same, for the wire."""
    return node_pb2.RttFacts(
        region=measured.region,
        p50_ms=measured.p50_ms,
        p95_ms=measured.p95_ms,
        p99_ms=measured.p99_ms,
        loss=measured.loss,
        samples=measured.samples,
        jitter_ms=measured.jitter_ms,
        connect_ms=measured.connect_ms,
        loss_samples=measured.loss_samples,
    )


def rejection(refused: Rejection) -> node_pb2.FieldRejection:
    """A field that was not believed, for the wire."""
    return node_pb2.FieldRejection(field=refused.field, value=refused.value, reason=refused.reason)


def seen(attempt: node_pb2.ObservedAttempt) -> Seen:
    """An observed attempt. Of what only newer agents say, a reason code counts as WORKER_LOST and a
    state as STARTING: the attempt is there, and nothing more is known of it.

    Raises:
        GarbledError: no attempt id, no state, or a time that is none.
    """
    name = _STATES.get(attempt.state, "STARTING")
    if not attempt.attempt_id or name == "UNSPECIFIED":
        raise GarbledError(
            f"observed attempt {attempt.attempt_id!r} in state {name}: both are needed"
        )
    reason: Reason | None = None
    if attempt.HasField("reason"):
        known = attempt.reason.code in ReasonCode.__members__
        code = ReasonCode(attempt.reason.code) if known else ReasonCode.WORKER_LOST
        reason = Reason(code, attempt.reason.message[:4096].replace("\0", ""))
    return Seen(
        attempt_id=attempt.attempt_id,
        epoch=attempt.epoch,
        state=AttemptState(name),
        started_at=_when(attempt, "started_at"),
        ended_at=_when(attempt, "ended_at"),
        exit_code=attempt.exit_code if attempt.HasField("exit_code") else None,
        reason=reason,
        tasks=_progress(attempt.tasks) if attempt.HasField("tasks") else None,
    )


def _progress(told: node_pb2.TaskProgress) -> Progress:
    return Progress(told.succeeded, told.failed, told.running)


def _when(attempt: node_pb2.ObservedAttempt, field: str) -> datetime | None:
    if not attempt.HasField(field):  # type: ignore[arg-type]
        return None
    return _time(f"observed attempt {attempt.attempt_id!r}: {field}", getattr(attempt, field))


def _time(where: str, stamp: Timestamp) -> datetime:
    try:
        return convert_jobs.when(stamp)
    except ValueError as error:
        raise GarbledError(f"{where}: {error}") from error


def text(told: str, most: int) -> str:
    """What people may be shown, and databases will take."""
    return "".join(filter(str.isprintable, told[:most]))


def node_view(view: NodeView, gpus_busy: int, attempts: int) -> placement_pb2.Node:
    """A node as operators see it."""
    node = view.node
    lifecycle = placement_pb2.NodeLifecycle.Value(f"NODE_LIFECYCLE_{node.lifecycle.value}")
    return placement_pb2.Node(
        id=node.id,
        cluster=node.cluster,
        head=node.head,
        lifecycle=lifecycle,
        facts=node_pb2.NodeFacts(
            accelerator=node.accelerator,
            gpus=node.gpus,
            cpus=node.cpus,
            memory_gb=node.memory_gb,
            gpu_power_kw=node.gpu_power_kw,
            cpu_power_kw=node.cpu_power_kw,
            cpu_load=node.cpu_load,
            pflops=view.health.pflops,
            gpu_draw_kw=view.health.gpu_draw_kw,
            gpu_load=view.health.gpu_load,
            gpu_temperature_c=view.health.gpu_temperature_c,
            gpu_memory_gb=view.health.gpu_memory_gb,
            disk_free_gb=view.health.disk_free_gb,
            gpu_source=view.health.gpu_source,
            sick=[
                node_pb2.SickAccelerator(id=one.id, reason=one.reason, attempt_ids=one.attempt_ids)
                for one in view.health.sick
            ],
        ),
        gpus_busy=gpus_busy,
        silent_s=view.silent_s,
        agent_version=node.agent_version,
        rejections=[rejection(refused) for refused in view.rejections],
        attempts=attempts,
        mark=_mark(view.mark) if view.mark is not None else None,
    )


def _mark(mark: Mark) -> placement_pb2.NodeMark:
    until = mark.drain_until_at
    return placement_pb2.NodeMark(
        actor=mark.actor,
        reason=mark.reason,
        at=convert_jobs.stamp(mark.at),
        drain_until_at=convert_jobs.stamp(until) if until is not None else None,
    )


def series_states(site: Site, clock: Clock) -> Iterator[placement_pb2.SeriesState]:
    """Where a site's series come from, how old they are and whether they still tell of now."""
    now, real_now = clock.now(), datetime.now(UTC)
    for name, series in (
        ("price", site.price_yuan_per_kwh),
        ("green supply", site.green_supply_kw),
        ("PUE", site.pue),
        ("grid carbon", site.grid_carbon_g_per_kwh),
    ):
        if not isinstance(series, Series):
            continue
        age_s = None if series.read_at is None else (real_now - series.read_at).total_seconds()
        since_start_s = (now - series.start_at).total_seconds()
        yield placement_pb2.SeriesState(
            name=name,
            source=series.source,
            age_s=None if age_s is None else max(0.0, age_s),
            stale=series.doubt or series.stale(now),
            measured=since_start_s < series.measured * series.step_s,
            from_share=series.from_share,
        )


def power_clock(clock: Clock) -> node_pb2.PowerClock:
    """The power clock as of now, so that the other side can go on by itself."""
    return node_pb2.PowerClock(
        speedup=clock.speedup,
        real_at=convert_jobs.stamp(datetime.now(UTC)),
        clock_at=convert_jobs.stamp(clock.now()),
    )
