"""A job's origin region must be within its largest round-trip time, at the 95th percentile."""

import math

from policies.base import PairFilter, Policy
from policies.scene import Bools, Scene
from scheduler.domain.fleet import Rtt, Site
from scheduler.domain.job import JobSpec
from scheduler.domain.reason import ReasonCode

# The p95 of fewer samples (by nearest rank) is the largest of them: one outlier would decide.
SAMPLES_MIN = 20


def measured(site: Site, region: str) -> Rtt | None:
    """What is known of the way to a region; None without a sound measurement."""
    rtt = site.rtt.get(region)
    if rtt is None or rtt.samples < SAMPLES_MIN or not math.isfinite(rtt.p95_ms):
        return None
    return rtt


def _asked(spec: JobSpec) -> tuple[str, float | None]:
    return spec.region, spec.max_rtt_ms


def _known(scene: Scene) -> Bools:
    sites = [scene.site_of(p).site for p in range(len(scene.pools))]

    def allowed(spec: JobSpec) -> list[bool]:
        limited = spec.max_rtt_ms is not None
        return [not limited or measured(site, spec.region) is not None for site in sites]

    return scene.judge(_asked, allowed)


def _why_unknown(scene: Scene, klass: int, pool: int) -> str:
    spec = scene.classes[klass].spec
    rtt = scene.site_of(pool).site.rtt.get(spec.region)
    have = rtt.samples if rtt else 0
    return (
        f"The round trip to {spec.region} has {have} fresh samples of the {SAMPLES_MIN} it takes "
        f"to judge it by; the job allows {spec.max_rtt_ms:g} ms (p95)."
    )


def _near(scene: Scene) -> Bools:
    sites = [scene.site_of(p).site for p in range(len(scene.pools))]

    def allowed(spec: JobSpec) -> list[bool]:
        most = math.inf if spec.max_rtt_ms is None else spec.max_rtt_ms
        ways = [measured(site, spec.region) for site in sites]
        return [way is None or way.p95_ms <= most for way in ways]

    return scene.judge(_asked, allowed)


def _why_far(scene: Scene, klass: int, pool: int) -> str:
    spec = scene.classes[klass].spec
    rtt = scene.site_of(pool).site.rtt[spec.region]
    return (
        f"{rtt.p95_ms:.1f} ms > {spec.max_rtt_ms:g} ms: the round trip to {spec.region} "
        f"(p95 of {rtt.samples} samples) is longer than the job allows."
    )


POLICY = Policy(
    name="latency",
    pair_filters=(
        PairFilter(ReasonCode.LATENCY_UNKNOWN, _known, _why_unknown),
        PairFilter(ReasonCode.LATENCY, _near, _why_far),
    ),
)
