"""The hours to come of the scene of ``canned``."""

from tests.fakes.canned import span, stamp
from westward.v1 import node_pb2, timeline_pb2


def timeline(slots: int = 96) -> timeline_pb2.TimelineResponse:
    """A day from 10:00 in Shanghai on: a full hub that empties, and one that waits for the sun."""
    hours = [n / 4 for n in range(slots)]
    sun = [max(0.0, 900 - 30 * (h - 4) ** 2) + max(0.0, 900 - 30 * (h - 28) ** 2) for h in hours]
    busy = [32.0 if h < 6 else 8.0 if h < 9.5 else 0.0 for h in hours]
    ahead = [16.0 if 2 <= h < 3.5 or 5 <= h < 5.5 else 4.0 if h > 12 else 0.0 for h in hours]
    runs = [span(120, 210), span(300, 330)]
    deferred = timeline_pb2.PlannedJob(
        job_id="1k7dq3m8t9zz", job_name="nightly-embeddings", tenant="vision", region="beijing",
        cluster="zhongwei", accelerator="A800", gpus=16, runs=runs,
    )  # fmt: skip
    later = timeline_pb2.PlannedJob(
        job_id="1k7dq3m8t9a1", job_name="report", tenant="vision", region="shanghai",
        cluster="zhongwei", runs=[span(735, 1500)],
    )  # fmt: skip
    return timeline_pb2.TimelineResponse(
        now_at=stamp(1),
        power_clock=node_pb2.PowerClock(speedup=60),
        start_at=stamp(0),
        slot_s=900,
        clusters=[
            _ahead("qingyang", 32, busy, [0.0] * slots, [600.0] * slots),
            _ahead("zhongwei", 16, [0.0] * slots, ahead, sun),
        ],
        starts=[deferred, later],
        starts_total=7,
    )


def _ahead(
    name: str, gpus: int, busy: list[float], planned: list[float], green_kw: list[float]
) -> timeline_pb2.ClusterTimeline:
    load = [(b + p) * 20 for b, p in zip(busy, planned, strict=True)]
    hours = [n // 4 for n in range(len(busy))]
    return timeline_pb2.ClusterTimeline(
        name=name, gpus_total=gpus, gpus_busy=busy, gpus_planned=planned, load_kw=load,
        green_supply_kw=green_kw,
        green_allocated_kw=[min(one, other) for one, other in zip(load, green_kw, strict=True)],
        price_yuan_per_kwh=[{0: 0.199, 2: 0.597}.get((h - 2) // 4, 0.398) for h in hours],
        grid_carbon_g_per_kwh=[570.0] * len(busy), pue=[1.2] * len(busy),
    )  # fmt: skip
